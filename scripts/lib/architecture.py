"""The lint of the architecture: docs/architecture.md has a table of folders, and includes keep to it.

  - a folder includes its own headers and those of the folders that its line names
  - from another folder only public headers, which that folder's line names; `*_internal.h` never is. A line may also
    name single headers or a pattern of them: doors, for rooms of one house and for benchmarks
  - tests/X may include all of X and its sub-folders, and every public header
  - neither the folders nor the headers include each other in a circle
"""

import fnmatch
import re

TABLE = "docs/architecture.md"
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


class Folder:
    def __init__(self, name, allowed, public):
        self.name, self.allowed, self.public = name, allowed, public

    def shows(self, header):
        return any(fnmatch.fnmatch(header, pattern) for pattern in self.public) and not header.endswith("_internal.h")


def read_table():
    """The rows of the first table whose head is `| folder | may include | public headers |`, by folder."""
    rows, inside = {}, False
    with open(TABLE, encoding="utf-8") as file:
        for line in file:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if cells[:3] == ["folder", "may include", "public headers"]:
                inside = True
            elif inside and not line.startswith("|"):
                break
            elif inside and CODE.search(cells[0]):
                name = CODE.findall(cells[0])[0].rstrip("/")
                rows[name] = Folder(name, [text.rstrip("/") for text in CODE.findall(cells[1])], CODE.findall(cells[2]))
    return rows


def cycles(graph):
    """Strongly connected parts of more than one node (Tarjan), each sorted."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            part = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def folder_of(path, table):
    """The nearest folder above that the table names; for tests the folder below tests/."""
    parts = path.split("/")[:-1]
    if parts[:1] == ["tests"]:
        return "/".join(parts[:2])
    while parts and "/".join(parts) not in table:
        parts.pop()
    return "/".join(parts)


def may_include(source, header, target, table):
    doors = getattr(table.get(source), "allowed", ())
    if source == target or any(fnmatch.fnmatch(header, door) for door in doors):
        return True
    if source.startswith("tests/"):
        subject = source.removeprefix("tests/")
        return target in ("tests/support", subject) or target.startswith(subject + "/") or \
            (target in table and table[target].shows(header))
    return target in table and target in table[source].allowed and table[target].shows(header)


def violations(tracked):
    """Yields a text for each violation."""
    table = read_table()
    folders = {name: set(row.allowed) & set(table) - {name} for name, row in table.items()}
    for part in cycles(folders):
        yield f"{TABLE}: the table allows a cycle of folders: {', '.join(part)}"
    headers, used = {}, {}
    known = {name.removesuffix(".in") for name in tracked}
    for path in (name for name in tracked if name.endswith((".c", ".h"))):
        source = folder_of(path, table)
        with open(path, encoding="utf-8") as file:
            includes = [name for name in INCLUDE.findall(file.read()) if name in known]
        if path.endswith(".h"):
            headers[path] = includes
        if source not in table and not source.startswith("tests/"):
            yield f"{path}: {TABLE} has no line for this folder"
            continue
        for header in includes:
            target = folder_of(header, table)
            if target != source and not source.startswith("tests/"):
                used.setdefault(source, set()).add(target)
            if not may_include(source, header, target, table):
                why = f"{source} may not include {target}"
                if target in table and target in getattr(table.get(source), "allowed", [target]):
                    why = "not a public header"
                yield f'{path}: includes "{header}": {why}'
    for part in cycles(used):
        yield f"cycle of folders: {', '.join(part)}"
    for part in cycles(headers):
        yield f"cycle of headers: {', '.join(part)}"

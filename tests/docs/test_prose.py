"""Docs, comments and what operators read are in plain English: short sentences, the field's words, none of a private dialect.

  test_prose.py WINDROW_BINARY

What is found is listed with its place: mend the text, not the list.
"""

import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness

LONG_WORDS = 25 # a sentence with more is long
LONG_PART = 0.10 # of the sentences of a page may be; two always
LONGEST_WORDS = 45
AVERAGE_WORDS = 18
# Pages of measurements: their sentences name what was measured under which conditions.
MEASURED = {"docs/scaling.md": 0.2, "docs/benchmarks.md": 0.2}
LONGEST_MEASURED = 55

# What was written: what to write. In every text of the project.
DIALECT = {
    r"\bis left to (him|her)\b": "say who does it",
    r"\b(he|him|himself|she)\b": "it, or the name of the part",
    r"\bon_demand\b": "manual compaction",
    r"\bkin\b": "segments that share a codebook",
    r"\bkeepers?\b": "log preallocator",
    r"\bforests?\b": "segment group",
    r"\bconsumer_mark\b": "topic fingerprint",
    r"\blost_edits\b": "manifest truncation",
    r"\bis no such (item|word)\b": "is not a ...",
    r"\bmust not pay\b": "say what is skipped, and why",
    r"\bhas to rest\b": "pauses",
    r"\bof the width it gets\b": "grows with",
    r"\bclock stands?\b": "the clock is frozen",
    r"\bis (this )?no (duration|size|number|address|JSON|YAML|folder|file|word|proof)\b": "is not a ..., or invalid ...",
    r"\b(whence|thereof|hitherto|wherefore)\b": "plain words",
}
# Only where users read: code may count.
DIALECT_OF_DOCS = {r"\bso many\b": "as many as ..., or the number", r"\bthe like\b": "name them", r"\bvouch": "confirm"}

STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def tracked(ending):
    """Also where the tree is no checkout; build folders and what came from elsewhere are left out."""
    names = []
    for folder, folders, files in os.walk(harness.ROOT):
        folders[:] = [name for name in folders if not name.startswith((".", "build", "runs", "shared", "node_modules"))]
        names += [os.path.relpath(os.path.join(folder, name), harness.ROOT) for name in files if name.endswith(ending)]
    return sorted(name for name in names if not name.startswith(("bench/notes/", "tests/docs/test_prose.py")))


def read(name):
    with open(os.path.join(harness.ROOT, name), encoding="utf-8") as file:
        return file.read()


def prose(page):
    """Paragraphs without code, tables and headings; an item of a list is a paragraph."""
    text = re.sub(r"^```.*?^```|<!--.*?-->", "", read(page), flags=re.M | re.S)
    lines = []
    for line in text.splitlines():
        item = re.match(r"\s*([-*]|\d+\.) ", line)
        if line.startswith(("|", "#", "!")) or (line.startswith("    ") and not item):
            line = ""
        lines += ["", line] if item else [line]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        flat = re.sub(r"`[^`]*`", "CODE", " ".join(paragraph.split()))
        yield re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", flat)


def sentences(page):
    for paragraph in prose(page):
        for sentence in re.split(r"(?<=[.!?:;])\**\)?\s+(?=[A-Z(*\[])", paragraph):
            count = sum(1 for word in sentence.split() if re.search(r"\w", word))
            if count:
                yield count, sentence


def dialect(text, phrases):
    for pattern, better in phrases.items():
        for found in re.finditer(pattern, text, re.I):
            yield text.count("\n", 0, found.start()) + 1, found.group(0), better


class Prose(unittest.TestCase):
    def pages(self):
        """What people wrote; the program writes docs/reference/."""
        pages = [page for page in tracked(".md") if page.startswith(("docs/", "README")) and not page.startswith("docs/reference/")]
        self.assertGreater(len(pages), 15)
        return pages

    def test_sentences_of_the_docs_are_short(self):
        for page in self.pages():
            found = list(sentences(page))
            long = sorted(((count, text) for count, text in found if count > LONG_WORDS), reverse=True)
            listing = "\n".join(f"{count} words: {text}" for count, text in long)
            with self.subTest(page):
                self.assertGreater(len(found), 3)
                self.assertLessEqual(len(long), max(2, MEASURED.get(page, LONG_PART) * len(found)), f"{page} has too many long sentences:\n{listing}")
                self.assertLessEqual(max(long, default=(0, ""))[0], LONGEST_MEASURED if page in MEASURED else LONGEST_WORDS, f"{page}:\n{listing}")
                self.assertLess(sum(count for count, _ in found) / len(found), AVERAGE_WORDS, page)

    def test_no_private_dialect(self):
        problems = []
        for name in (*tracked(".md"), *tracked(".py"), *tracked(".js"), *tracked(".html"), *tracked(".yml")):
            docs = DIALECT_OF_DOCS if name.startswith(("docs/", "README")) else {}
            problems += [f"{name}:{line}: {phrase}: {better}" for line, phrase, better in dialect(read(name), DIALECT | docs)]
        for name in (*tracked(".c"), *tracked(".h")):
            text = read(name)
            for part in (*COMMENT.finditer(text), *STRING.finditer(text)):
                before = text.count("\n", 0, part.start())
                problems += [f"{name}:{before + line}: {phrase}: {better}" for line, phrase, better in dialect(part.group(0), DIALECT)]
        self.assertEqual(problems, [], "\n" + "\n".join(problems))

    def test_what_commands_say_is_plain(self):
        """What --help of every command prints, and the reference of the configuration that the program itself writes."""
        binary = harness.Environment.binary
        listed = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
        commands = re.findall(r"^  ([a-z][a-z-]+) ", listed, re.M)
        self.assertGreater(len(commands), 15)
        calls = [[command, "--help"] for command in commands] + [["check-config", "--documentation"]]
        for call in calls:
            said = subprocess.run([binary, *call], capture_output=True, text=True, timeout=60, check=False).stdout
            self.assertEqual(list(dialect(said, DIALECT | DIALECT_OF_DOCS)), [], call)


if __name__ == "__main__":
    harness.main()

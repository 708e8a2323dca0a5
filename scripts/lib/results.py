#!/usr/bin/env python3
"""What ctest wrote down about a run (--output-junit FILE), for people.

  results.py failures FILE COMMAND      each failed test, the last lines that it printed, and COMMAND that runs it alone
  results.py skipped FILE               one line: which tests did not run
  results.py table FILE [NAMES]         each test, its time and its result; NAMES: a file of names, those alone
  results.py keep FILE FOLDER           what failed tests printed, as FOLDER/NAME.log, and how many tests ran
  results.py repeated FOLDER            of a folder of such folders: the tests that failed at least once. Exit status 1 when any did
"""

import glob
import os
import re
import sys
import xml.etree.ElementTree

LAST_LINES = 40
SUMMARY = "summary"  # of one run: how many tests ran


class Test:
    def __init__(self, case):
        self.name = case.get("name")
        self.time_s = float(case.get("time"))
        self.output = (case.findtext("system-out") or "").rstrip()
        skipped = case.find("skipped")
        why = "" if skipped is None else skipped.get("message")
        # A test that cannot be started is listed among those that did not run.
        self.skipped = case.get("status") == "notrun" and why.startswith("SKIP_")
        self.failed = case.get("status") != "run" and not self.skipped
        if self.failed and why:
            self.output = f"{self.output}\n{why}".strip()

    def result(self):
        return "FAILED" if self.failed else "skipped" if self.skipped else "passed"

    def last_lines(self):
        return self.output.splitlines()[-LAST_LINES:] or ["(nothing printed)"]


def read(path):
    try:
        return [Test(case) for case in xml.etree.ElementTree.parse(path).iter("testcase")]
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        sys.exit(f"{path}: no results of a run: {error}")


def failures(path, command):
    for test in (test for test in read(path) if test.failed):
        print(f"FAILED test: {test.name} after {test.time_s:.1f} s")
        print(f"  repeat it: {command} '^{re.escape(test.name)}$'")
        print("".join(f"    {line}\n" for line in test.last_lines()), end="")


def skipped(path):
    names = sorted(test.name for test in read(path) if test.skipped)
    if names:
        print(f"{len(names)} tests did not run: {', '.join(names)}")


def reason(test):
    """Of a skipped test: the line that says why."""
    lines = [line for line in test.output.splitlines() if line.startswith("skipped: ")] or test.output.splitlines()[-1:]
    return f": {lines[-1].removeprefix('skipped: ')}" if test.skipped and lines else ""


def table(path, names=None):
    wanted = None
    if names:
        with open(names, encoding="utf-8") as file:
            wanted = set(file.read().split())
    tests = [test for test in read(path) if wanted is None or test.name in wanted]
    print("| test | seconds | result |\n|---|---|---|")
    for test in sorted(tests, key=lambda test: test.name):
        print(f"| `{test.name}` | {test.time_s:.0f} | {test.result()}{reason(test)} |")


def keep(path, folder):
    os.makedirs(folder, exist_ok=True)
    tests = read(path)
    failed = [test for test in tests if test.failed]
    for test in failed:
        with open(os.path.join(folder, f"{test.name}.log"), "w", encoding="utf-8") as file:
            file.write(f"{test.output}\n")
    text = f"{len(tests) - len(failed)} of {len(tests)} tests passed"
    with open(os.path.join(folder, SUMMARY), "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
    print(text + "".join(f"; {test.name} FAILED" for test in failed))


def repeated(folder):
    runs = len(glob.glob(os.path.join(folder, "*", SUMMARY)))
    logs = {}
    for path in sorted(glob.glob(os.path.join(folder, "*", "*.log"))):
        logs.setdefault(os.path.basename(path).removesuffix(".log"), []).append(path)
    if not logs:
        print(f"{runs} runs: no test failed")
        return runs == 0
    print("| test | failed | what it printed |\n|---|---|---|")
    for name, paths in sorted(logs.items(), key=lambda item: (-len(item[1]), item[0])):
        print(f"| `{name}` | {len(paths)} of {runs} | {' '.join(paths)} |")
    return 1


COMMANDS = {command.__name__: command for command in (failures, skipped, table, keep, repeated)}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    sys.exit(COMMANDS[sys.argv[1]](*sys.argv[2:]))

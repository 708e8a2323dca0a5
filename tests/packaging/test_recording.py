"""The recorded session of an operator can be repeated: docs/operating-session.txt has the commands of a new run, and nothing of the machine.

  test_recording.py WINDROW_BINARY BUILD_FOLDER
"""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser
import harness
import recording
from clean_root import require_namespaces

BUILD_FOLDER = sys.argv[2]
del sys.argv[2]


def commands(text):
    """And headings, without what a version changes."""
    return [re.sub(r"windrow_[0-9.]+-\d+", "windrow_VERSION", line) for line in text.splitlines() if line.startswith(("$ ", "== "))]


class Recording(unittest.TestCase):
    def setUp(self):
        with open(recording.PAGE, encoding="utf-8") as file:
            self.recorded = file.read()

    def test_nothing_of_the_machine_is_in_it(self):
        self.assertNotIn("\x1b", self.recorded)
        folders = set(re.findall(r"(?<![\w./:-])/\w+(?=/)", self.recorded))
        self.assertLessEqual(folders, {"/dev", "/etc", "/usr", "/var"})
        self.assertEqual(set(re.findall(r"127\.0\.0\.1:(\d+)", self.recorded)), {"6333", "9090", "9092"})

    def test_a_new_run_has_the_same_commands(self):
        require_namespaces()
        if browser.why_not():
            self.skipTest(browser.why_not())
        self.maxDiff = None
        self.assertEqual(commands(recording.Session(BUILD_FOLDER).record()), commands(self.recorded))


if __name__ == "__main__":
    harness.main()

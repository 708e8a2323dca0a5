"""docs/reference/ is what the program says of itself.

  test_reference.py WINDROW_BINARY
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
import reference


class Reference(unittest.TestCase):
    def test_generated_pages_are_up_to_date(self):
        self.maxDiff = None
        for name, text in reference.pages().items():
            with self.subTest(name), open(os.path.join(reference.FOLDER, name), encoding="utf-8") as file:
                self.assertEqual(file.read(), text, f"run tests/docs/reference.py {harness.Environment.binary}")


if __name__ == "__main__":
    harness.main()

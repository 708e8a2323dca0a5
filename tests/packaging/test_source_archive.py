"""The archive of the sources: the same bytes each time, and all that is tracked.

  test_source_archive.py WINDROW_BINARY
"""

import os
import subprocess
import sys
import tarfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from installed import run

SCRIPT = os.path.join(harness.ROOT, "scripts", "source-archive")


class SourceArchive(unittest.TestCase):
    def setUp(self):
        harness.require_programs("git")
        if subprocess.run(["git", "-C", harness.ROOT, "rev-parse", "HEAD"], capture_output=True, check=False).returncode != 0:
            self.skipTest("the tree is not a checkout")

    def make(self, **environment):
        folder = harness.scratch_folder("archive")
        name = run(SCRIPT, cwd=folder, env={**os.environ, **environment}).strip()
        return os.path.join(folder, name)

    def test_two_archives_have_the_same_bytes(self):
        first = self.make(TZ="UTC")
        before_s = int(time.time())
        harness.wait_for(lambda: int(time.time()) > before_s, "another second")
        second = self.make(TZ="Asia/Tokyo", LC_ALL="C")
        with open(first, "rb") as one, open(second, "rb") as other:
            self.assertEqual(one.read(), other.read())

    def test_all_that_is_tracked_is_in_it(self):
        version = run(harness.Environment.binary, "--version").split()[1]
        with tarfile.open(self.make()) as archive:
            files = {member.name for member in archive if not member.isdir()}
            self.assertEqual({member.uid for member in archive}, {0})
        tracked = run("git", "-C", harness.ROOT, "ls-tree", "-r", "--name-only", "HEAD").splitlines()
        self.assertEqual(files, {f"windrow-{version}/{name}" for name in tracked})

    def test_an_unknown_commit_is_refused(self):
        done = subprocess.run([SCRIPT, "no-such-commit"], capture_output=True, text=True, cwd=harness.scratch_folder("archive"), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no-such-commit is not a commit", done.stderr)


if __name__ == "__main__":
    harness.main()

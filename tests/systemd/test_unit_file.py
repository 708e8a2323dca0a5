"""The installed unit is one that systemd accepts, and as locked up as promised.

  test_unit_file.py WINDROW_BINARY UNIT BUILD_FOLDER
"""

import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness

UNIT, BUILD_FOLDER = sys.argv[2:4]
del sys.argv[2:4]
MOST_EXPOSED = "15" # tenths: 1.5


class UnitFile(unittest.TestCase):
    def setUp(self):
        harness.require_programs("systemd-analyze")
        self.folder = harness.scratch_folder("unit")

    def run_command(self, *command, **options):
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)

    def unit_of_this_build(self):
        """The unit as installed, but naming the program that was built: verify looks whether it is there."""
        with open(UNIT, encoding="utf-8") as file:
            text = file.read()
        text, replaced = re.subn(r"^ExecStart=\S+/windrow ", f"ExecStart={harness.Environment.binary} ", text, flags=re.M)
        self.assertEqual(replaced, 1)
        path = os.path.join(self.folder, "windrow.service")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_systemd_accepts_it(self):
        done = self.run_command("systemd-analyze", "verify", "--man=no", self.unit_of_this_build())
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_exposure_is_at_most_one_and_a_half(self):
        done = self.run_command(
            "systemd-analyze", "security", "--no-pager", "--offline=yes", f"--threshold={MOST_EXPOSED}", self.unit_of_this_build()
        )
        self.assertEqual(done.returncode, 0, done.stdout[-2000:])

    def test_install_brings_program_unit_and_example(self):
        done = self.run_command("cmake", "--install", BUILD_FOLDER, env={**os.environ, "DESTDIR": self.folder})
        self.assertEqual(done.returncode, 0, done.stderr)
        found = [os.path.join(folder, name) for folder, _, names in os.walk(self.folder) for name in names]
        for end in ("/bin/windrow", "/lib/systemd/system/windrow.service", "/windrow.yaml"):
            self.assertTrue([path for path in found if path.endswith(end)], f"{end} in {found}")

    def test_example_configuration_is_valid(self):
        example = os.path.join(harness.ROOT, "systemd", "windrow.yaml")
        done = self.run_command(harness.Environment.binary, "check-config", "-c", example)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)

    def tearDown(self):
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == "__main__":
    harness.main()

"""The installed units are such that systemd accepts them, and as locked up as promised.

  test_unit_file.py WINDROW_BINARY BUILD_FOLDER
"""

import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from installed import run

BUILD_FOLDER = sys.argv[2]
del sys.argv[2]
MOST_EXPOSED = "15" # tenths: 1.5
UNITS = ("windrow.service", "windrow@.service", "windrow-backup.service", "windrow-backup.timer")


class UnitFile(unittest.TestCase):
    def setUp(self):
        harness.require_programs("systemd-analyze")
        self.folder = harness.scratch_folder("unit")

    def run_command(self, *command, **options):
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)

    def units(self, *names):
        """Installed with a prefix below the test's folder: the programs they name are there, and verify looks."""
        run("cmake", "--install", BUILD_FOLDER, "--prefix", self.folder)
        return [os.path.join(self.folder, "lib", "systemd", "system", name) for name in names or UNITS]

    def test_systemd_accepts_them(self):
        for unit in self.units():
            done = self.run_command("systemd-analyze", "verify", "--man=no", unit)
            self.assertEqual((done.returncode, done.stderr), (0, ""), unit)

    def test_systemd_accepts_the_example_of_credentials(self):
        unit, = self.units("windrow.service")
        os.mkdir(f"{unit}.d")
        shutil.copy(os.path.join(harness.ROOT, "systemd", "credentials.conf"), f"{unit}.d")
        done = self.run_command("systemd-analyze", "verify", "--man=no", unit)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_exposure_is_at_most_one_and_a_half(self):
        for unit in self.units("windrow.service", "windrow@.service", "windrow-backup.service"):
            done = self.run_command("systemd-analyze", "security", "--no-pager", "--offline=yes", f"--threshold={MOST_EXPOSED}", unit)
            self.assertEqual(done.returncode, 0, done.stdout[-2000:])

    def test_users_and_folders_are_such_that_systemd_makes_them(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to make users and give folders away")
        self.units()
        root = os.path.join(self.folder, "root")
        os.makedirs(os.path.join(root, "etc"))
        run("systemd-sysusers", f"--root={root}", os.path.join(self.folder, "lib", "sysusers.d", "windrow.conf"))
        with open(os.path.join(root, "etc", "passwd"), encoding="utf-8") as file:
            self.assertRegex(file.read(), r"(?m)^windrow:.*:/var/lib/windrow:/usr/sbin/nologin$")
        run("systemd-tmpfiles", "--create", f"--root={root}", os.path.join(self.folder, "lib", "tmpfiles.d", "windrow.conf"))
        self.assertEqual(os.stat(os.path.join(root, "var/lib/windrow/backups")).st_mode & 0o777, 0o700)

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

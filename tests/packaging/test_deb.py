"""The Debian package: what is in it, what lintian says, that it can be made again byte for byte.

  test_deb.py WINDROW_BINARY BUILD_FOLDER
"""

import glob
import hashlib
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from installed import package, run

BUILD_FOLDER = sys.argv[2]
del sys.argv[2]
TOP_FOLDERS = {"./", "./etc/", "./etc/windrow/", "./usr/"}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


class Deb(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deb = package(BUILD_FOLDER)

    def field(self, name):
        return run("dpkg-deb", "-f", self.deb, name).strip()

    def test_files_belong_to_root_and_lie_in_usr_and_etc(self):
        for line in run("dpkg-deb", "-c", self.deb).splitlines():
            mode, owner, path = line.split()[0], line.split()[1], line.split()[5]
            self.assertEqual(owner, "root/root", line)
            self.assertIn(mode, ("drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"), line)
            self.assertTrue(path in TOP_FOLDERS or path.startswith("./usr/") or path == "./etc/windrow/windrow.yaml", line)

    def test_config_is_a_conffile(self):
        self.assertEqual(run("dpkg-deb", "-I", self.deb, "conffiles"), "/etc/windrow/windrow.yaml\n")

    def test_version_is_that_of_the_program(self):
        self.assertEqual(f"windrow {self.field('Version').split('-')[0]}\n", run(harness.Environment.binary, "--version"))

    def test_libraries_come_from_the_distribution(self):
        for library in ("libc6", "librdkafka1", "libzstd1"):
            self.assertRegex(self.field("Depends"), rf"\b{re.escape(library)} \(>= ")

    def test_container_starts_what_the_package_has(self):
        listed = {line.split()[5].removeprefix(".") for line in run("dpkg-deb", "-c", self.deb).splitlines()}
        with open(os.path.join(harness.ROOT, "share", "container", "Containerfile"), encoding="utf-8") as file:
            text = file.read()
        started = re.findall(r'"(/[^"]+)"', text)
        self.assertEqual(len(started), 2)
        self.assertEqual(set(started) - listed, set())

    def test_lintian_says_nothing_that_is_not_overridden_with_a_reason(self):
        harness.require_programs("lintian")
        done = subprocess.run(["lintian", "--pedantic", "--display-experimental", "--display-info", "--show-overrides", self.deb],
                              capture_output=True, text=True, timeout=100, check=False)
        said = done.stdout.splitlines()
        self.assertEqual([line for line in said if not line.startswith(("O: ", "N: "))], [])
        with open(os.path.join(harness.ROOT, "cmake", "debian", "lintian-overrides"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        for reason, line in zip(lines[::2], lines[1::2], strict=True):
            self.assertTrue(reason.startswith("# "), reason)
            self.assertIn(f"O: {' '.join(line.split()[:2])} ", done.stdout, "an override that nothing needs")

    def test_the_same_build_makes_the_same_package(self):
        self.assertEqual(digest(package(BUILD_FOLDER)), digest(self.deb))


class SourceArchive(unittest.TestCase):
    def make(self):
        run("cmake", "--build", BUILD_FOLDER, "--target", "dist")
        return max(glob.glob(os.path.join(BUILD_FOLDER, "windrow-*.tar.gz")), key=os.path.getmtime)

    def test_it_is_the_same_each_time_and_configures(self):
        harness.require_programs("git")
        if not os.path.exists(os.path.join(harness.ROOT, ".git")):
            self.skipTest("no checkout: the archive is made of a commit")
        before = digest(self.make())
        archive = self.make()
        self.assertEqual(digest(archive), before)
        folder = harness.scratch_folder("source")
        run("tar", "-xf", archive, "-C", folder)
        tree = os.path.join(folder, os.path.basename(archive).removesuffix(".tar.gz"))
        run("cmake", "-S", tree, "-B", os.path.join(folder, "build"), "-DWINDROW_BUILD_TESTS=OFF")


if __name__ == "__main__":
    harness.main()

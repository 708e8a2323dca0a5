"""The package's life in a Debian that has never seen windrow: installed, upgraded, removed, purged.

  test_clean_root.py WINDROW_BINARY BUILD_FOLDER

Needs root, mmdebstrap and a mirror; skipped with the reason elsewhere.
"""

import os
import re
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from clean_root import make_root, require_namespaces
from installed import package, run

BUILD_FOLDER = sys.argv[2]
del sys.argv[2]
CONFIG = "etc/windrow/windrow.yaml"
DATA = "var/lib/windrow"


class CleanRoot(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        require_namespaces()
        cls.deb = package(BUILD_FOLDER)
        cls.pristine = make_root(cls.deb)

    def setUp(self):
        self.root = os.path.join(harness.scratch_folder("root"), "root")
        run("cp", "-al", self.pristine, self.root) # links: dpkg replaces files, it does not write into them

    def tearDown(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def inside(self, *command):
        """In the root, with namespaces of its own: what it starts or mounts does not stay."""
        enter = 'mount -t proc proc "$1/proc" && exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "${@:2}"'
        return run("unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", enter, "bash", self.root, *command)

    def dpkg(self, *arguments, deb=None):
        if deb:
            shutil.copy(deb, os.path.join(self.root, "tmp", "windrow.deb"))
        return self.inside("dpkg", *arguments, *(["/tmp/windrow.deb"] if deb else ["windrow"]))

    def path(self, name):
        return os.path.join(self.root, name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def files_of_windrow(self):
        found = run("find", self.root, "-xdev", "-path", f"{self.root}/tmp", "-prune", "-o", "-path", f"{self.root}/var/lib/dpkg", "-prune",
                    "-o", "-name", "*windrow*", "-print")
        return sorted(line.removeprefix(self.root) for line in found.splitlines())

    def older(self):
        """The same package as an earlier release would be: another version, another default config, a file that is gone."""
        folder = os.path.join(harness.scratch_folder("older"), "tree")
        run("dpkg-deb", "-R", self.deb, folder)
        control = os.path.join(folder, "DEBIAN", "control")
        with open(control, encoding="utf-8") as file:
            text = re.sub(r"(?m)^Version: .*$", "Version: 0.1.9-1", file.read())
        with open(control, "w", encoding="utf-8") as file:
            file.write(text)
        with open(os.path.join(folder, CONFIG), "a", encoding="utf-8") as file:
            file.write("# an older default\n")
        with open(os.path.join(folder, "usr/share/windrow/gone-windrow"), "w", encoding="utf-8") as file:
            file.write("gone\n")
        path = f"{folder}.deb"
        run("dpkg-deb", "--root-owner-group", "-b", folder, path)
        return path

    def test_an_installed_package_works_as_its_user(self):
        self.dpkg("-i", deb=self.deb)
        self.assertIn("windrow:", self.read("etc/passwd"))
        self.assertEqual(self.inside("stat", "-c", "%U %a", "/var/lib/windrow", "/var/lib/windrow/backups"), "windrow 700\n" * 2)
        self.inside("setpriv", "--reuid=windrow", "--regid=windrow", "--clear-groups", "windrow", "check-config")
        self.assertEqual(self.inside("windrow", "--version"), run(harness.Environment.binary, "--version"))
        self.assertEqual(self.inside("dpkg", "-V", "windrow"), "")
        unit = self.read("usr/lib/systemd/system/windrow.service")
        self.assertTrue(os.access(self.path(re.search(r"^ExecStart=/(\S+)", unit, re.M).group(1)), os.X_OK))
        self.assertFalse(os.path.lexists(self.path("etc/systemd/system/multi-user.target.wants/windrow.service")))

    def test_an_upgrade_keeps_an_edited_config_and_the_data(self):
        self.dpkg("-i", deb=self.older())
        self.write(CONFIG, "edited\n")
        self.write(f"{DATA}/data/points/0/CURRENT", "rows\n")
        self.dpkg("-i", "--force-confold", deb=self.deb)
        self.assertEqual((self.read(CONFIG), self.read(f"{DATA}/data/points/0/CURRENT")), ("edited\n", "rows\n"))
        self.assertIn(f"Version: {run('dpkg-deb', '-f', self.deb, 'Version')}", self.inside("dpkg", "-s", "windrow"))
        self.assertFalse(os.path.exists(self.path("usr/share/windrow/gone-windrow")))

    def test_an_upgrade_replaces_a_config_that_nobody_edited(self):
        self.dpkg("-i", deb=self.older())
        self.assertIn("# an older default\n", self.read(CONFIG))
        self.dpkg("-i", deb=self.deb)
        self.assertNotIn("# an older default\n", self.read(CONFIG))

    def test_remove_keeps_config_and_data_and_purge_only_backups(self):
        before = self.files_of_windrow()
        self.dpkg("-i", deb=self.deb)
        self.write(f"{DATA}/data/points/0/CURRENT", "rows\n")
        self.write("var/lib/windrow-two/data/CURRENT", "rows\n")
        self.write(f"{DATA}/backups/20261123T000000Z/BACKUP", "whole\n")
        self.dpkg("-r")
        self.assertEqual(self.read(f"{DATA}/data/points/0/CURRENT"), "rows\n")
        self.assertTrue(os.path.exists(self.path(CONFIG)))
        self.assertFalse(os.path.exists(self.path("usr/bin/windrow")))
        self.dpkg("-P")
        self.assertEqual(self.read(f"{DATA}/backups/20261123T000000Z/BACKUP"), "whole\n")
        self.assertEqual(os.listdir(self.path(DATA)), ["backups"])
        self.assertEqual(self.files_of_windrow(), sorted([*before, "/var/lib/windrow"]))

    def test_purge_without_backups_leaves_nothing_and_a_second_installation_works(self):
        before = self.files_of_windrow()
        self.dpkg("-i", deb=self.deb)
        self.dpkg("-P")
        self.assertEqual(self.files_of_windrow(), before)
        self.dpkg("-i", deb=self.deb)
        self.inside("windrow", "check-config")


if __name__ == "__main__":
    harness.main()

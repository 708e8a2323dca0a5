"""share/container/Containerfile builds an image of the package that runs windrow.

  test_container.py WINDROW_BINARY BUILD_FOLDER

Needs root, buildah and a mirror; skipped with the reason elsewhere. The base image is made here, so no registry is asked.
"""

import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from clean_root import make_root, require_namespaces
from installed import package, run

BUILD_FOLDER = sys.argv[2]
del sys.argv[2]


class Container(unittest.TestCase):
    def setUp(self):
        harness.require_programs("buildah")
        require_namespaces()
        self.store = harness.scratch_folder("images")

    def buildah(self, *arguments):
        return run("buildah", "--storage-driver", "vfs", "--root", f"{self.store}/root", "--runroot", f"{self.store}/run", *arguments)

    def test_an_image_of_the_package_runs_windrow_as_its_user(self):
        deb = package(BUILD_FOLDER)
        root = make_root(deb, "ca-certificates", variant="apt")
        base = os.path.join(self.store, "Base")
        with open(base, "w", encoding="utf-8") as file:
            file.write("FROM scratch\nADD . /\n")
        self.buildah("bud", "--isolation", "chroot", "-t", "localhost/base", "-f", base, root)

        context = harness.scratch_folder("context")
        shutil.copy(deb, context)
        shutil.copy(os.path.join(harness.ROOT, "share", "container", "Containerfile"), context)
        self.buildah("bud", "--isolation", "chroot", "--build-arg", "BASE=localhost/base", "-t", "localhost/windrow", context)

        image = json.loads(self.buildah("inspect", "--type", "image", "localhost/windrow"))["OCIv1"]["config"]
        self.assertEqual((image["User"], image["Entrypoint"], image["Cmd"]),
                         ("windrow", ["/usr/bin/windrow"], ["run", "-c", "/etc/windrow/windrow.yaml"]))
        container = self.buildah("from", "localhost/windrow").strip()
        inside = ("run", "--isolation", "chroot", container, "--")
        self.assertEqual(self.buildah(*inside, "windrow", "--version"), run(harness.Environment.binary, "--version"))
        self.assertEqual(self.buildah(*inside, "id", "-un").strip(), "windrow")
        self.buildah(*inside, "windrow", "check-config")
        self.buildah(*inside, "touch", "/var/lib/windrow/may-write")


if __name__ == "__main__":
    harness.main()

"""A Debian that has never seen windrow, as a folder."""

import os
import re
import subprocess
import unittest

import harness
from installed import run

SUITE = "bookworm"
MISTAKES_OF_MIRRORS = ("unable to download", "Failed to fetch", "apt-get update", "Temporary failure", "Could not connect")


def require_namespaces():
    harness.require_programs("mmdebstrap", "unshare")
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root to enter another root")
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"],
                           capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise unittest.SkipTest(f"the kernel says no to private namespaces: {probe.stderr.strip()}")


def dependencies(deb):
    """What the package asks for, with the small tools instead of systemd."""
    first = [re.split(r"[ |]", item.strip())[0] for item in run("dpkg-deb", "-f", deb, "Depends").split(",")]
    return sorted(set(first) - {"systemd"} | {"systemd-standalone-sysusers", "systemd-standalone-tmpfiles"})


def make_root(deb, *more, variant="essential"):
    """Returns a new root with what the package needs, and MORE packages."""
    root = os.path.join(harness.scratch_folder("clean"), "root")
    include = ",".join([*dependencies(deb), *more])
    done = subprocess.run(
        ["mmdebstrap", f"--variant={variant}", "--mode=root", "--quiet", f"--include={include}", SUITE, root],
        capture_output=True, text=True, timeout=500, check=False,
    )
    if done.returncode != 0 and any(mistake in done.stderr for mistake in MISTAKES_OF_MIRRORS):
        raise unittest.SkipTest(f"no mirror of {SUITE}: {done.stderr.strip()[-300:]}")
    if done.returncode != 0:
        raise AssertionError(done.stderr[-3000:])
    return root

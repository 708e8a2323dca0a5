"""Earlier releases of windrow, built from the history of this repository.

  releases.py      builds the last one, as scripts/test does before the tests
"""

import fcntl
import os
import shutil
import subprocess
import unittest

import harness

# The last commit of each section of CHANGELOG.md that has a date. Tags stay behind where a repository is copied as a branch.
COMMITS = {
    "0.1.0": "2cea37dcfd91650a7719a99352d1ab708cfa2009",
    "0.2.0": "240965ff4d93a3b1ee520c48f333d0753b056353",
}
BUILD_S = 900


def latest():
    return max(COMMITS, key=lambda version: [int(part) for part in version.split(".")])


def show(version, path):
    """The text of a file of a release. A test that needs the history is skipped without it."""
    command = ["git", "-C", harness.ROOT, "show", f"{COMMITS[version]}:{path}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise unittest.SkipTest("not installed: git") from None
    if done.returncode != 0:
        raise unittest.SkipTest(f"release {version} is not in the history here, which is shallow or missing: {done.stderr.strip()[-200:]}")
    return done.stdout


def binary(version):
    """The program of a release, built in the cache folder the first time: a minute on two processors."""
    show(version, "CMakeLists.txt")
    folder = os.path.join(harness.CACHE, f"release-{version}-{COMMITS[version][:10]}")
    program = os.path.join(folder, "windrow")
    os.makedirs(harness.CACHE, exist_ok=True)
    with open(f"{folder}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(program):
            build(version, folder, program)
    return program


def build(version, folder, program):
    """In a worktree of the release, which goes away again."""
    tree, log = os.path.join(folder, "tree"), os.path.join(folder, "build.log")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    git = ["git", "-C", harness.ROOT, "worktree"]
    subprocess.run([*git, "add", "--quiet", "--force", "--detach", tree, COMMITS[version]], check=True, capture_output=True, timeout=BUILD_S)
    try:
        with open(log, "wb") as output:
            for command in (["cmake", "--preset", "release", "-DWINDROW_BUILD_TESTS=OFF"], ["cmake", "--build", "build/release", "--target", "windrow"]):
                done = subprocess.run(command, cwd=tree, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=BUILD_S, check=False)
                if done.returncode != 0:
                    raise AssertionError(f"release {version} does not build: {log}")
        os.rename(os.path.join(tree, "build", "release", "windrow"), program)
    finally:
        subprocess.run([*git, "remove", "--force", tree], check=False, capture_output=True, timeout=60)


if __name__ == "__main__":
    try:
        print(binary(latest()))
    except unittest.SkipTest as reason:
        print(f"not built: {reason}")

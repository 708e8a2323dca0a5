"""windrow as `cmake --install` and `cpack` leave it."""

import glob
import os
import subprocess

import harness


def run(*command, **options):
    """A command that has to succeed; returns its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def install(build_folder, prefix="/usr"):
    """Returns a folder that would be / after an installation with this prefix."""
    root = harness.scratch_folder("installed")
    run("cmake", "--install", build_folder, "--prefix", prefix, env={**os.environ, "DESTDIR": root})
    return root


def package(build_folder):
    """Returns the path of a Debian package of this build."""
    harness.require_programs("dpkg-deb", "dpkg-shlibdeps")
    folder = harness.scratch_folder("package")
    run("cpack", "-G", "DEB", "-B", folder, cwd=build_folder)
    return glob.glob(os.path.join(folder, "windrow_*.deb"))[0]

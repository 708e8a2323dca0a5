"""What every integration test shares: waiting, a scratch folder, clean-up, and how a test file is run.

A test file holds unittest cases and ends with `harness.main()`; ctest calls it as `file.py WINDROW_BINARY`. It exits 77,
with the reason, where this machine lacks what the test needs.
"""

import atexit
import contextlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = 77
CACHE = os.environ.get("WINDROW_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "windrow"
)


class Environment:
    """Set by main()."""

    binary = None
    scratch = None
    seed = None


def wait_for(condition, what, timeout_s=60, interval_s=0.05):
    """Returns the first true value of CONDITION(). An exception counts as not yet, and is shown when time is up."""
    deadline = time.monotonic() + timeout_s
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, ValueError, LookupError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}; last: {last!r}")
        time.sleep(interval_s)


held_ports = []


class Background(threading.Thread):
    """Does its work() again and again, with a pause before each, until finish(). What goes wrong is raised there, in the
    test's own thread."""

    def __init__(self, pause_s):
        super().__init__(daemon=True)
        self.pause_s = pause_s
        self.enough = threading.Event()
        self.failed = None

    def run(self):
        try:
            while not self.enough.wait(self.pause_s):
                self.work()
        except Exception as error:
            self.failed = error

    def finish(self):
        self.enough.set()
        self.join(60)
        if self.failed:
            raise self.failed


def free_ports(count):
    """Ports for servers that the test starts, kept for them until it ends: also while a server is down nobody else can
    bind its port or connects from it. Each is held by a socket that is bound and does not listen; with SO_REUSEADDR on
    both sides a server can listen beside it."""
    found = []
    for _ in range(count):
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        held_ports.append(holder)
        found.append(holder.getsockname()[1])
    return found


def nobody():
    """An address of loopback at which nobody answers until the test ends."""
    return f"127.0.0.1:{free_ports(1)[0]}"


def require_programs(*names):
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise unittest.SkipTest(f"not installed: {', '.join(missing)}; scripts/test installs them")


def require_client(module, environment="clients"):
    """For a test file that needs a client from PyPI: starts it again in the private environment that scripts/test makes."""
    python = os.path.join(CACHE, f"venv-{environment}", "bin", "python")
    if importlib.util.find_spec(module):
        return
    if os.path.abspath(sys.executable) != os.path.abspath(python) and os.path.exists(python):
        os.execv(python, [python, "-B", *sys.argv])
    print(f"skipped: no {module} in {python}; scripts/test installs it")
    sys.exit(SKIPPED)


def is_sanitized():
    """Whether windrow was built with the address sanitizer."""
    with open(Environment.binary, "rb") as file:
        return b"__asan_init" in file.read()


def scratch_folder(name):
    """A new folder that goes away with the test, unless WINDROW_KEEP is set."""
    return tempfile.mkdtemp(prefix=f"{name}-", dir=Environment.scratch)


def seeded_random():
    """Chance that can be had again: WINDROW_SEED=the printed number."""
    print(f"seed {Environment.seed}", flush=True)
    return random.Random(Environment.seed)


def set_up(binary):
    """Before anything else of this module is used: which windrow is meant, and where files lie until the process ends."""
    Environment.binary = os.path.abspath(binary)
    Environment.seed = int(os.environ.get("WINDROW_SEED", time.time_ns() % 1_000_000_007))
    Environment.scratch = tempfile.mkdtemp(prefix="windrow-test-")
    if os.environ.get("WINDROW_KEEP"):
        print(f"files stay in {Environment.scratch}", flush=True)
    else:
        atexit.register(shutil.rmtree, Environment.scratch, ignore_errors=True)
    # ctest's timeout sends SIGTERM: leave through atexit, which stops the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not os.access(Environment.binary, os.X_OK):
        sys.exit(f"no such program: {Environment.binary}")


def main():
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} WINDROW_BINARY [unittest arguments]")
    set_up(sys.argv[1])
    program = unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]], exit=False)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.skipped and result.testsRun <= len(result.skipped):
        print("skipped: " + "; ".join(reason for _, reason in result.skipped))
        sys.exit(SKIPPED)

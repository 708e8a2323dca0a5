"""What `cmake --install` leaves works from any prefix, and says the same as the program.

  test_install.py WINDROW_BINARY BUILD_FOLDER
"""

import glob
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from installed import install, run

BUILD_FOLDER = sys.argv[2]
del sys.argv[2]


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def commands():
    """Those that --help lists."""
    listed = run(harness.Environment.binary, "--help").partition("Commands:\n")[2].partition("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines()]


class Install(unittest.TestCase):
    def test_units_of_any_prefix_name_installed_programs_and_pages(self):
        for prefix in ("/usr", "/usr/local", "/opt/x"):
            root = install(BUILD_FOLDER, prefix)
            units = glob.glob(f"{root}{prefix}/lib/systemd/system/*")
            self.assertEqual(len(units), 4)
            named = {path for unit in units for path in re.findall(r"(/(?:usr|opt)/[\w./-]+)", read(unit))}
            self.assertIn(f"{prefix}/bin/windrow", named)
            for path in named:
                self.assertTrue(path.startswith(f"{prefix}/") and os.path.isfile(root + path), f"{prefix}: {path}")
            unfinished = [line for unit in units for line in read(unit).splitlines() if re.search(r"@\w+@", line)]
            self.assertEqual(unfinished, [])

    def test_everything_a_user_needs_is_installed(self):
        share = install(BUILD_FOLDER) + "/usr/share"
        for name in (
            "doc/windrow/README.md", "doc/windrow/LICENSE", "doc/windrow/CHANGELOG.md", "doc/windrow/windrow.yaml",
            "doc/windrow/docs/operations.md", "windrow/windrow.proto", "windrow/prometheus/windrow.rules.yml",
            "windrow/grafana/windrow.json", "bash-completion/completions/windrow", "man/man1/windrow.1",
        ):
            self.assertTrue(os.path.getsize(os.path.join(share, name)) > 0, name)

    def test_example_is_valid_where_it_is_installed(self):
        run(harness.Environment.binary, "check-config", "-c", install(BUILD_FOLDER) + "/usr/share/doc/windrow/windrow.yaml")

    def test_version_is_that_of_the_changelog(self):
        newest = re.search(r"^## (\S+) \(", read(harness.ROOT, "CHANGELOG.md"), re.M).group(1)
        self.assertEqual(run(harness.Environment.binary, "--version"), f"windrow {newest}\n")


class ManualPages(unittest.TestCase):
    def setUp(self):
        self.folder = install(BUILD_FOLDER) + "/usr/share/man/man1"

    def test_every_command_has_a_page_with_all_its_options(self):
        self.assertGreater(len(commands()), 10)
        for command in commands():
            page = read(self.folder, f"windrow-{command}.1").replace("\\-", "-")
            options = re.findall(r"^ +(?:-\w, )?(--[a-z-]+|-\w)", run(harness.Environment.binary, command, "--help"), re.M)
            self.assertIn("--help", options)
            for option in options:
                self.assertIn(f"\\fB{option}\\fP", page, command)
            self.assertIn(f"windrow-{command}".replace("-", "\\-"), read(self.folder, "windrow.1"))

    def test_mandoc_finds_nothing(self):
        harness.require_programs("mandoc")
        run("mandoc", "-Tlint", *sorted(glob.glob(os.path.join(self.folder, "*.1"))))


class Completion(unittest.TestCase):
    def complete(self, *words):
        """What a person is offered who presses tab behind WORDS."""
        script = (
            "source share/bash-completion/windrow\n"
            'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n'
            '_windrow "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"\n'
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        return run("bash", "-c", script, "bash", harness.Environment.binary, *words, cwd=harness.ROOT).split()

    def test_commands_options_roles_and_collections_are_offered(self):
        config = os.path.join(harness.ROOT, "systemd", "windrow.yaml")
        self.assertEqual(self.complete("res"), [name for name in commands() if name.startswith("res")])
        self.assertEqual(self.complete("search", "--ha"), ["--half-life"])
        self.assertEqual(self.complete("run", "--role", "in"), ["ingest", "indexer"])
        self.assertEqual(self.complete("search", "-c", config, "-C", ""), ["changelog"])
        self.assertEqual(set(self.complete("")) - set(commands()), {"--help", "--version"})


if __name__ == "__main__":
    harness.main()

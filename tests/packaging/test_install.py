"""What `cmake --install` leaves works from any prefix, and says the same as the program.

  test_install.py WINDROW_BINARY BUILD_FOLDER
"""

import glob
import json
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
            "doc/windrow/docs/operations.md", "windrow/windrow.proto", "windrow/windrow.schema.json", "windrow/prometheus/windrow.rules.yml",
            "windrow/grafana/windrow.json", "bash-completion/completions/windrow", "man/man1/windrow.1",
        ):
            self.assertTrue(os.path.getsize(os.path.join(share, name)) > 0, name)

    def test_example_is_valid_where_it_is_installed(self):
        run(harness.Environment.binary, "check-config", "-c", install(BUILD_FOLDER) + "/usr/share/doc/windrow/windrow.yaml")

    def test_version_is_that_of_the_changelog(self):
        newest = re.search(r"^## (\S+) \(", read(harness.ROOT, "CHANGELOG.md"), re.M).group(1)
        self.assertEqual(run(harness.Environment.binary, "--version"), f"windrow {newest}\n")


class Schema(unittest.TestCase):
    """Editors and check-config agree."""

    def setUp(self):
        try:
            import jsonschema # pylint: disable=import-outside-toplevel
        except ImportError:
            self.skipTest("no python3-jsonschema; .ci/run installs it")
        schema = json.loads(read(install(BUILD_FOLDER), "usr/share/windrow/windrow.schema.json"))
        jsonschema.Draft7Validator.check_schema(schema)
        self.schema = schema
        self.validator = jsonschema.Draft7Validator(schema)

    def accepted(self, tree):
        path = os.path.join(harness.scratch_folder("schema"), "windrow.yaml")
        with open(path, "w", encoding="utf-8") as file: # JSON is YAML
            json.dump(tree, file)
        done = subprocess.run([harness.Environment.binary, "check-config", "-c", path], capture_output=True, text=True, check=False)
        return done.returncode == 0

    def test_both_accept_and_refuse_the_same(self):
        for good, top, collection in (
            (True, {}, {}),
            (True, {"node": None, "processors": "auto", "http": {"insecure": True}}, {"window": "1h30m", "max_bytes": "2GiB"}),
            (True, {"roles": ["ingest"], "nats": None}, {"max_bytes": 2 << 30, "index": {"hnsw": {"m": 32}}, "ttl": "30d"}),
            (True, {}, {"event_time": {"field": "t", "unit": "rfc3339"}, "payload_index": ["a", "b"]}),
            (False, {"nodes": "n1"}, {}),
            (False, {"roles": ["cook"]}, {}),
            (False, {"processors": 0}, {}),
            (False, {"http": {"insecure": "maybe"}}, {}),
            (False, {}, {"window": "1m1h"}),
            (False, {}, {"window": 3600}),
            (False, {}, {"max_bytes": "2 parsecs"}),
            (False, {}, {"metric": "euclid"}),
            (False, {}, {"dim": None}),
            (False, {}, {"index": {"hnsw": {"m": 3}}}),
            (False, {}, {"index": {"recall_floor": 2}}),
            (False, {}, {"topics": "news"}),
        ):
            tree = {"kafka": {"brokers": "127.0.0.1:9092"}, **top, "collections": {"news": {"dim": 4, **collection}}}
            self.assertEqual((self.validator.is_valid(tree), self.accepted(tree)), (good, good), tree)
        self.assertFalse(self.validator.is_valid({"collections": {"news": {}}}))
        self.assertFalse(self.validator.is_valid({"kafka": {"brokers": "a:1"}, "collections": {"no blanks": {}}}))

    def test_every_property_is_in_the_schema(self):
        config = os.path.join(harness.ROOT, "systemd", "windrow.yaml")
        printed = json.loads(run(harness.Environment.binary, "check-config", "-c", config, "--print", "--json"))
        self.assertGreater(len(printed), 60)
        for path in printed:
            place = self.schema
            for name in path.split("."):
                place = place["properties"][name] if "properties" in place else place["additionalProperties"]
            self.assertTrue(place["description"], path)


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

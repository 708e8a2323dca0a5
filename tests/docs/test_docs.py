"""The docs keep to the program: links lead somewhere, commands and options exist, and the tutorial works as it is written.

  test_docs.py WINDROW_BINARY
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
import releases
from walkthrough import Walkthrough, read

# Also where the tree is no checkout; build folders hold what is not ours.
PAGES = sorted(os.path.relpath(page, harness.ROOT) for page in glob.glob(os.path.join(harness.ROOT, "**", "*.md"), recursive=True) if not re.match(r"(build|runs)/", os.path.relpath(page, harness.ROOT)))


def anchors(page):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ +(.*?) *$", re.sub(r"^```.*?^```", "", read(page), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Pages(unittest.TestCase):
    def test_links_lead_to_files_and_headings(self):
        self.assertGreater(len(PAGES), 20)
        for page in PAGES:
            prose = re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```", "", read(page), flags=re.M | re.S))
            for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", prose):
                if re.match(r"[a-z]+:", target):
                    continue
                with self.subTest(page=page, link=f"{target}#{anchor}"):
                    found = os.path.normpath(os.path.join(os.path.dirname(page), target)) if target else page
                    self.assertTrue(os.path.exists(os.path.join(harness.ROOT, found)), found)
                    if anchor:
                        self.assertIn(anchor, anchors(found))

    def test_commands_and_their_options_exist(self):
        """What docs/ and README.md call: lines of code that begin with `windrow COMMAND`, and such words within a line."""
        helps = {}
        for page in PAGES:
            if not page.startswith(("docs/", "README")) or page.startswith("docs/reference/"):
                continue
            text = read(page)
            code = "\n".join(re.findall(r"^```.*?\n(.*?)^```", text, re.M | re.S) + re.findall(r"^    .*$", text, re.M))
            lines = re.findall(r"^ *\$? ?(?:build/release/)?windrow ([a-z][a-z-]+\b.*)$", code, re.M) + re.findall(r"`windrow ([a-z][a-z-]+(?: -[^`]*)?)`", text)
            for line in lines:
                command, *words = re.split(r"\s+", re.split(r"[#|&]", line)[0].strip())
                if not re.match(r"^[a-z-]+$", command) or command == "bench":
                    continue
                with self.subTest(page=page, line=line):
                    if command not in helps:
                        done = subprocess.run([harness.Environment.binary, command, "--help"], capture_output=True, text=True, timeout=60, check=False)
                        helps[command] = done.stdout if done.returncode == 0 else None
                    self.assertIsNotNone(helps[command], f"no command {command}")
                    for word in words:
                        option = re.match(r"--[a-z][a-z-]*", word)
                        if option:
                            self.assertIn(option.group(0), helps[command])

    def test_configurations_of_scaling_are_valid(self):
        """As they are written, but for the files that they name."""
        folder = harness.scratch_folder("scaling")
        files = {name: os.path.join(folder, name) for name in ("key", "internal-key")}
        for name, path in files.items():
            with open(path, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(f"{name}-of-twenty-characters-and-more\n")
        blocks = re.findall(r"^```yaml\n(.*?)^```", read("docs/scaling.md"), re.M | re.S)
        self.assertGreaterEqual(len(blocks), 3)
        for number, block in enumerate(blocks):
            path = os.path.join(folder, f"{number}.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(re.sub(r"/etc/windrow/([\w-]+)", lambda found: files[found[1]], block).replace("/var/lib/windrow", os.path.join(folder, "data")))
            with self.subTest(block):
                done = subprocess.run([harness.Environment.binary, "check-config", "-c", path], capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Releases(unittest.TestCase):
    def test_every_release_of_the_changelog_is_known_by_its_commit(self):
        """tests/support/releases.py builds them."""
        versions = re.findall(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", read("CHANGELOG.md"), re.M)
        self.assertEqual(sorted(versions), sorted(releases.COMMITS))
        for version in versions:
            self.assertRegex(releases.show(version, "CMakeLists.txt"), rf"project\(windrow VERSION {re.escape(version)} ")


class Tutorial(unittest.TestCase):
    def test_every_command_of_the_tutorial_works(self):
        harness.require_programs("java", "mvn", "curl")
        subprocess.run([os.path.join(harness.ROOT, "scripts", "kafka"), "fetch"], check=True, stdin=subprocess.DEVNULL)
        page = Walkthrough(self, "docs/tutorial.md")
        self.assertGreater(page.run(), 9)
        with open(os.path.join(page.folder, "produce.py"), encoding="utf-8") as file:
            self.assertIn("embed(text)", file.read())


class Stream(unittest.TestCase):
    def test_live_stream_goes_on_with_new_ids_and_times(self):
        process = subprocess.Popen([sys.executable, os.path.join(harness.ROOT, "examples", "live_stream.py"), "--rate", "2000"], stdout=subprocess.PIPE)
        points = [json.loads(process.stdout.readline()) for _ in range(2500)]  # more than the sample has
        process.stdout.close()
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(len({point["id"] for point in points}), len(points))
        times = [point["time_ms"] for point in points]
        self.assertEqual(times, sorted(times))
        self.assertEqual({len(point["vector"]) for point in points}, {384})
        self.assertEqual(points[0]["payload"]["text"], points[2400]["payload"]["text"])


if __name__ == "__main__":
    if "Tutorial" in sys.argv:
        harness.require_client("qdrant_client")
    harness.main()

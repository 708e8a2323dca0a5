"""The alerts and the dashboard: they name what windrow has, link to their sections, and fire when they should.

  test_monitoring.py WINDROW_BINARY
"""

import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from families import families_in_source, sources

HERE = os.path.dirname(os.path.abspath(__file__))
RULES = os.path.join(harness.ROOT, "share", "prometheus", "windrow.rules.yml")
RULES_TEST = os.path.join(HERE, "rules_test.yml")
DASHBOARD = os.path.join(harness.ROOT, "share", "grafana", "windrow.json")
NAME = re.compile(r"\bwindrow_[a-z0-9_]+\b")
# What Grafana puts in for its variables.
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*", "$collection": ".*"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def panels():
    return json.loads(read(DASHBOARD))["panels"]


def expressions():
    for panel in panels():
        for target in panel.get("targets", ()):
            text = target["expr"]
            for variable, value in VARIABLES.items():
                text = text.replace(variable, value)
            yield panel["title"], text


def alerts():
    return re.findall(r"^ +- alert: (\w+)$", read(RULES), re.M)


class Monitoring(unittest.TestCase):
    def promtool(self, *arguments):
        harness.require_programs("promtool")
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=100, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_metric_named_exists(self):
        known = families_in_source()
        self.assertIn("windrow_build_info", known)
        for path in (RULES, DASHBOARD):
            text = re.sub(r"windrow\.(rules\.yml|json)", "", read(path))
            named = {re.sub(r"_(bucket|count|sum)$", "", name) for name in NAME.findall(text)}
            self.assertGreater(len(named), 10)
            self.assertEqual(named - known, set(), path)

    def test_every_room_that_logs_has_a_level(self):
        rooms = set(re.search(r"logger_rooms\[\] = \{(.*?)\}", read(os.path.join(harness.ROOT, "base", "logger.c")), re.S)[1].replace('"', "").replace(",", " ").split()) - {"NULL"}
        logging = r'(?:log_(?:error|warning|info|debug)\(\s*|logger_write(?:_event)?\(\s*\w+,\s*|logger_write_limited\([^"]*?)"([a-z_]+)",'
        used = {room for text in sources() for room in re.findall(logging, text)}
        self.assertGreater(used, {"store", "query", "windrow"})
        self.assertEqual(used - rooms, set())

    def test_alerts_fire_when_they_should(self):
        self.promtool("test", "rules", RULES_TEST)

    def test_every_alert_is_tested_and_has_a_section_of_the_runbook(self):
        manual = read(os.path.join(harness.ROOT, "docs", "operations.md"))
        tested = set(re.findall(r'alertname="(\w+)"', read(RULES_TEST)))
        self.assertEqual(set(alerts()), tested)
        links = re.findall(r"^ +runbook_url: \S+/docs/operations\.md#(\S+)$", read(RULES), re.M)
        self.assertEqual(links, [name.lower() for name in alerts()])
        self.assertEqual(sorted(re.findall(r"^### (Windrow\w+)$", manual, re.M)), sorted(alerts()))

    def test_dashboard_asks_prometheus_what_it_understands(self):
        rules = [{"record": f"panel:{number}", "expr": text} for number, (_, text) in enumerate(expressions())]
        self.assertGreater(len(rules), 20)
        path = os.path.join(harness.scratch_folder("dashboard"), "rules.yml")
        with open(path, "w", encoding="utf-8") as file: # JSON is YAML
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        self.promtool("check", "rules", "--lint-fatal", path)

    def test_dashboard_has_what_grafana_imports(self):
        dashboard = json.loads(read(DASHBOARD))
        self.assertEqual([dashboard[key] for key in ("uid", "title")], ["windrow", "windrow"])
        # Below 36 Grafana migrates datasources from names; newer releases still do, but warn.
        self.assertGreaterEqual(dashboard["schemaVersion"], 36)
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(dashboard["panels"])))
        self.assertEqual(used, variables)
        self.assertEqual(len({panel["id"] for panel in panels()}), len(panels()))

    def test_dashboard_panels_do_not_overlap(self):
        taken = {}
        for panel in panels():
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            for cell in ((x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])):
                self.assertEqual(taken.setdefault(cell, panel["title"]), panel["title"])


if __name__ == "__main__":
    harness.main()

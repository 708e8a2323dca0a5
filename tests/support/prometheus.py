"""A real Prometheus with the rules that are shipped."""

import json
import os
import urllib.request

import harness
from servers import Server

RULES = os.path.join(harness.ROOT, "share", "prometheus", "windrow.rules.yml")


class Prometheus(Server):
    """Looks every second."""

    def __init__(self, target, rules=RULES):
        harness.require_programs("prometheus")
        super().__init__(harness.scratch_folder("prometheus"))
        self.port = harness.free_ports(1)[0]
        self.config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "windrow", "static_configs": [{"targets": [target]}]}],
        }

    def start(self):
        path = os.path.join(self.folder, "prometheus.yml")
        with open(path, "w", encoding="utf-8") as file: # JSON is YAML
            json.dump(self.config, file)
        self.spawn(["prometheus", f"--config.file={path}", f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"])
        self.wait_ready(lambda: self.ask("query?query=windrow_build_info")["result"], 60)
        return self

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as reply:
            return json.load(reply)["data"]

    def firing(self):
        """{alert: annotations} of those that somebody would be called for."""
        return {alert["labels"]["alertname"]: alert["annotations"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}

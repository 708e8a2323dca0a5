"""windrow itself, as its users see it: a configuration, a process, HTTP."""

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

import harness
from servers import Kafka, Server

MS_PER_HOUR = 3_600_000
COLLECTION = "points"
TOPIC = "points-topic"
DEAD_LETTERS = "dead-letters"


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def configuration(folder, port, kafka, nats=None, store=None, group="windrow-test", properties=None, node="test", cluster=None, **collection):
    """A whole configuration as a tree. Windows close fast here: five seconds of silence or one minute of event time."""
    tree = {
        "node": node,
        "data_dir": os.path.join(folder, "data"),
        "kafka": {"brokers": kafka, "group": group, "dead_letters": DEAD_LETTERS, "properties": properties or {}},
        "http": {"listen": f"127.0.0.1:{port}"},
        "collections": {
            COLLECTION: {
                "topics": [TOPIC],
                "dim": 16,
                "metric": "l2",
                "event_time": {"field": "time_ms", "unit": "ms"},
                "window": "1h",
                "ttl": "7d",
                "idle_timeout": "5s",
                "late": {"allowed": "1m", "policy": "accept"},
                "index": {"kind": "auto", "flat_below": 50},
                **collection,
            }
        },
    }
    if nats:
        tree["nats"] = {"url": nats}
    if cluster:
        tree["cluster"] = cluster
    if store:
        tree["store"] = store
    return tree


class Windrow(Server):
    """`windrow run`; may be stopped, killed and started again on the same data. OPTIONS as in configuration()."""

    def __init__(self, kafka, nats=None, store=None, **options):
        super().__init__(harness.scratch_folder("windrow"))
        self.binary = harness.Environment.binary
        self.port = harness.free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.context = None # of TLS
        self.config_path = os.path.join(self.folder, "windrow.yaml")
        self.tree = None
        self.configure(configuration(self.folder, self.port, kafka, nats, store, **options))

    def lose_data(self):
        """As a new disk would."""
        shutil.rmtree(os.path.join(self.folder, "data"), ignore_errors=True)

    def configure(self, tree):
        """JSON is YAML, and needs no writer."""
        self.tree = tree
        with open(self.config_path, "w", encoding="utf-8") as file:
            json.dump(tree, file, indent=2)

    def command(self, *arguments, **options):
        """A finished `windrow COMMAND ...`, with its output as text."""
        name, *rest = arguments
        command = [self.binary, name, "-c", self.config_path, *rest]
        return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, **options)

    def create_topic(self, partitions):
        """In the way users do it: a topic appears with the first produce."""
        done = self.command("produce", "-C", COLLECTION, "--create-topic", str(partitions), "/dev/null")
        if done.returncode != 0:
            raise ValueError(f"produce --create-topic: {done.stderr}")

    def spawn_run(self, *arguments):
        """Only the process: for a test that kills it before it answers."""
        self.spawn([self.binary, "run", "-c", self.config_path, *arguments])

    def start(self, *arguments):
        self.spawn_run(*arguments)
        self.wait_ready(lambda: self.request("GET", "/livez").status == 200, timeout_s=60)
        return self

    def stop(self, timeout_s=30):
        """A crash on the way out fails the test with the log, where its signal and its calls are."""
        code = super().stop(timeout_s)
        if code is not None and code < 0 and -code not in (signal.SIGKILL, signal.SIGTERM):
            raise AssertionError(f"windrow died of {signal.Signals(-code).name}:\n{self.log()[-6000:]}")
        return code

    def request(self, method, path, body=None, raw=None, headers=None):
        """BODY is sent as JSON, RAW as it is. Every status is a reply; only no answer at all raises."""
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers or {})
        if data is not None and not request.has_header("Content-type"):
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.context) as response:
                return Reply(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def post(self, path, body):
        """The result key of a reply that must be good."""
        reply = self.request("POST", f"/collections/{COLLECTION}{path}", body)
        if reply.status != 200:
            raise AssertionError(f"POST {path} {body}: {reply.status} {reply.body[:500]}")
        return reply.json()["result"]

    def search_reply(self, body):
        """The whole reply of a query, with the `windrow` key."""
        reply = self.request("POST", f"/collections/{COLLECTION}/points/query", body)
        if reply.status != 200:
            raise AssertionError(f"query {body}: {reply.status} {reply.body[:500]}")
        return reply.json()

    def ready(self):
        return self.request("GET", "/readyz").status == 200

    def metrics(self, name):
        """The samples of one metric: {labels: value}, the labels as a frozenset of texts like `shard="0"`."""
        found = {}
        for line in self.request("GET", "/metrics").body.decode().splitlines():
            series, _, value = line.rpartition(" ")
            head, _, labels = series.partition("{")
            if head == name:
                found[frozenset(re.findall(r'\w+="[^"]*"', labels))] = float(value)
        return found

    def outcomes(self):
        """What became of the records that were read since the process started: {outcome: count}. Together that is all."""
        counts = {"ingested": sum(self.metrics("windrow_records_ingested_total").values())}
        counts["superseded"] = sum(self.metrics("windrow_records_superseded_total").values())
        counts["unmet"] = sum(self.metrics("windrow_records_unmet_total").values())
        counts["deleted"] = sum(self.metrics("windrow_records_deleted_total").values())
        for labels, value in self.metrics("windrow_records_late_total").items():
            for outcome in ("dropped", "expired"):
                if f'outcome="{outcome}"' in labels:
                    counts[outcome] = counts.get(outcome, 0) + value
        for labels, value in self.metrics("windrow_records_rejected_total").items():
            reason = next(label for label in labels if label.startswith("reason="))
            counts[reason] = counts.get(reason, 0) + value
        return {outcome: int(count) for outcome, count in counts.items() if count}

    def next_offsets(self):
        """Per partition of COLLECTION that is read here, the offset behind the last record that outcomes() counts."""
        series = [(labels, value) for labels, value in self.metrics("windrow_kafka_next_offset").items() if f'collection="{COLLECTION}"' in labels]
        return {label.split('"')[1]: max(int(value), 0) for labels, value in series for label in labels if label.startswith("shard=")}

    def wait_caught_up(self, end_offsets, timeout_s=60):
        """Until every record before END_OFFSETS (per partition) is searchable and counted, and /readyz says so."""

        def caught_up():
            offsets = self.search_reply({"limit": 1})["windrow"]["offsets"]
            behind = {p: (offsets.get(p, 0), end) for p, end in end_offsets.items() if offsets.get(p, 0) < end}
            if behind:
                raise ValueError(f"searchable offset and end per partition: {behind}")
            # A search may see a record a moment before the counters do.
            counted = self.next_offsets()
            behind = {p: (counted.get(p, 0), end) for p, end in end_offsets.items() if counted.get(p, 0) < end}
            if behind:
                raise ValueError(f"counted offset and end per partition: {behind}")
            reply = self.request("GET", "/readyz")
            if reply.status != 200:
                raise ValueError(f"everything is searchable, but not ready: {reply.body[:300]}")
            return True

        harness.wait_for(caught_up, "windrow has caught up with Kafka", timeout_s)

    def windows(self):
        return self.request("GET", f"/windows?collection={COLLECTION}").json()["windows"]

    def wait_indexed(self, count, timeout_s=60):
        """Until COUNT windows (of all shards) are served from HNSW segments."""

        def enough():
            found = [w for w in self.windows() if w["state"] == "indexed" and w["segment"]["kind"] in ("hnsw", "ivf_pq")]
            if len(found) < count:
                raise ValueError([(w["shard"], w["start_ms"], w["state"], w["rows"]) for w in self.windows()])
            return found

        return harness.wait_for(enough, f"{count} windows are indexed", timeout_s, interval_s=0.2)

    def scroll(self, limit=1000, **options):
        """Every point, over as many pages as it takes: {id: point}. An id that comes twice is a failure."""
        points, offset = {}, None
        while True:
            body = {"limit": limit, "with_payload": True, "with_vector": True, **options}
            if offset is not None:
                body["offset"] = offset
            page = self.post("/points/scroll", body)
            for point in page["points"]:
                if point["id"] in points:
                    raise AssertionError(f"scroll returned {point['id']} twice")
                points[point["id"]] = point
            offset = page.get("next_page_offset")
            if offset is None:
                return points


def for_class(cls, **options):
    """Sets cls.kafka, which runs, and cls.windrow, which does not yet. Both end after the last test of the class. OPTIONS as in
    configuration()."""
    cls.kafka = Kafka().start()
    cls.addClassCleanup(cls.kafka.stop)
    cls.windrow = Windrow(cls.kafka.address, **options)
    cls.addClassCleanup(cls.windrow.stop)

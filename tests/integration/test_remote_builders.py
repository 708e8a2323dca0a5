"""One process owns the data and builds nothing; two others build for it and reach it by NATS and HTTP only.

A builder is killed in the middle of a build. Its job goes to the other one, every window is indexed once, and every point
is found through the segments that came from elsewhere. In a second collection the one that is left builds a span over eight windows.
"""

import glob
import json
import os
import re
import sys
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from model import DIM, Stream, assert_stored
from servers import Kafka, Nats, pause, resume
from service import COLLECTION, MS_PER_HOUR, TOPIC, Windrow

WINDOWS = 3
ROWS = 6000  # a window's; with the graph below a build takes long enough to be met
INDEX = {"kind": "auto", "flat_below": 1000, "hnsw": {"m": 48, "ef_construct": 1000}, "spans": "off"}
NEAREST = 10
SPREAD = "spread" # a collection and its topic: windows that are too small for segments of their own
SPREAD_WINDOWS = 8
SPREAD_ROWS = 500 # a window's


class Node(Windrow):
    """Two seconds of silence make a builder a dead one."""

    def __init__(self, kafka, nats, name):
        super().__init__(kafka, nats, index=INDEX, late={"allowed": f"{WINDOWS}h"}, max_future="6h")
        collections = dict(self.tree["collections"])
        collections[SPREAD] = dict(collections[COLLECTION], topics=[SPREAD], late={"allowed": "1m"}, index={"flat_below": 1000, "spans": "auto"})
        tree = dict(self.tree, collections=collections, node=name, nats={"url": nats, "ack_wait": "2s"}, indexer={"build_threads": 1})
        self.configure(tree)

    def building(self):
        return self.request("GET", "/status").json()["workers"]["building"] > 0

    def built(self):
        """Windows whose segments this builder handed back; it says so before it acknowledges the job."""
        return re.findall(r"indexed window (-?\d+) of", self.log())

    def served(self):
        """Windows whose segments were swapped in here."""
        return re.findall(r"window (-?\d+) of \S+ serving a segment built elsewhere", self.log())


class RemoteBuilders(unittest.TestCase):
    def setUp(self):
        self.random = harness.seeded_random()
        self.kafka = Kafka().start()
        self.nats = Nats().start()
        self.owner = Node(self.kafka.address, self.nats.url, "owner")
        self.builders = [Node(self.kafka.address, self.nats.url, f"builder-{number}") for number in range(2)]
        self.owner.create_topic(1)
        self.owner.command("produce", "-C", SPREAD, "--create-topic", "1", "/dev/null").check_returncode()

    def tearDown(self):
        for server in (*self.builders, self.owner, self.nats, self.kafka):
            server.stop()

    def catch_builder(self):
        """Stops a builder at its work, where it says nothing more; None when it was done by then."""
        for builder in self.builders:
            done = len(builder.built())
            if builder.building():
                pause(builder.process)
                if len(builder.built()) == done:
                    return builder
                resume(builder.process)
        return None

    def consumer(self):
        """What the server says of the jobs' consumer."""
        url = f"http://127.0.0.1:{self.nats.monitor_port}/jsz?consumers=true&config=true"
        with urllib.request.urlopen(url, timeout=30) as response:
            streams = json.load(response)["account_details"][0]["stream_detail"]
        return next(one for stream in streams for one in stream.get("consumer_detail", []) if one["name"] == "workers")

    def assert_nearest_found(self, model):
        """By graph, not by scan; and nothing that the model does not have."""
        ids = self.random.sample(sorted(model, key=str), 100)
        found = 0
        for point_id in ids:
            vector = model[point_id][0]
            hits = self.owner.search_reply({"query": vector, "limit": NEAREST})["result"]["points"]
            self.assertEqual(len(hits), NEAREST)
            self.assertEqual(len({hit["id"] for hit in hits}), NEAREST)
            self.assertLessEqual({hit["id"] for hit in hits}, model.keys())
            found += hits[0]["id"] == point_id
        self.assertGreaterEqual(found, 95)

    def spread_vectors(self):
        """Eight sealed windows whose time is over: {id: vector}."""
        group_ms = SPREAD_WINDOWS * MS_PER_HOUR
        now_ms = int(time.time() * 1000)
        start_ms = (now_ms - group_ms - 2 * MS_PER_HOUR) // group_ms * group_ms
        vectors = {number: [self.random.random() for _ in range(DIM)] for number in range(SPREAD_WINDOWS * SPREAD_ROWS)}
        times = {number: start_ms + number // SPREAD_ROWS * MS_PER_HOUR for number in vectors}
        vectors[len(vectors)], times[len(times)] = [2.0] * DIM, now_ms
        self.kafka.produce(SPREAD, [(str(n), json.dumps({"id": n, "vector": vectors[n], "time_ms": times[n]})) for n in vectors])
        return vectors

    def check_span(self, builder):
        """A builder makes the span, the owner swaps it in, and searches go through it."""
        vectors = self.spread_vectors()

        def spans():
            windows = self.owner.request("GET", f"/windows?collection={SPREAD}").json()["windows"]
            return [window["span"][0] for window in windows if window["span"]]

        found = harness.wait_for(spans, "a span covers the windows", 60)
        # One or two that were sealed a moment after the span was decided are left out.
        count = len(found)
        self.assertGreaterEqual(count, SPREAD_WINDOWS - 2)
        self.assertEqual({(span["windows"], span["rows"], span["live"]) for span in found}, {(count, count * SPREAD_ROWS, 1)})
        kind, choice = found[0]["kind"], found[0]["choice"]  # which the builder tried out, whose rates are the owner's to tell
        self.assertIn({"hnsw": "a graph was faster than lists on a sample", "ivf_pq": "lists were as fast as a graph"}[kind], choice["reason"])
        self.assertEqual(choice["at_recall"], 0.95)
        for rate in ("hnsw_per_second", "ivf_pq_per_second", "measured_per_second"):
            self.assertGreater(choice[rate], 0)
        label = frozenset([f'collection="{SPREAD}"', 'tier="1"'])
        self.assertEqual(self.owner.metrics("windrow_index_spans")[label], 1)
        self.assertEqual(self.owner.metrics("windrow_index_span_rows")[label], count * SPREAD_ROWS)
        self.assertEqual(self.owner.metrics("windrow_index_span_bytes")[label], found[0]["bytes"])
        harness.wait_for(lambda: builder.metrics("windrow_index_span_build_seconds_count").get(frozenset([f'collection="{SPREAD}"'])) == 1, "its builder counts it")
        hits = 0
        for number in self.random.sample(sorted(vectors), 50):
            query = {"query": vectors[number], "limit": NEAREST, "windrow": {"explain": True}}
            reply = self.owner.request("POST", f"/collections/{SPREAD}/points/query", query).json()
            through = [part["choice"] for part in reply["windrow"]["explain"] if part["source"] == kind + "_span"]
            self.assertEqual(through, [choice] * count)
            hits += reply["result"]["points"][0]["id"] == number
        self.assertGreaterEqual(hits, 47)

    def test_job_of_a_killed_builder_is_done_once_by_the_other(self):
        stream = Stream(self.random, WINDOWS)
        self.owner.start("--role", "ingest")
        for builder in self.builders:
            builder.start("--role", "indexer")
        self.kafka.produce(TOPIC, stream.records(ROWS * WINDOWS))
        stream.late = 0  # else one may come when its window is sealed, and the window is built twice
        self.kafka.produce(TOPIC, stream.records(20, 2 * WINDOWS + 1))  # seals them, all at the same moment
        victim = harness.wait_for(self.catch_builder, "a builder in the middle of a build", 60, 0.005)
        self.assertIn("sealed", [window["state"] for window in self.owner.windows()])
        victim.kill()
        survivor = next(one for one in self.builders if one is not victim)
        indexed = self.owner.wait_indexed(WINDOWS)
        for segment in (window["segment"] for window in indexed):
            self.assertIn(segment["kind"], ("hnsw", "ivf_pq"))
            self.assertGreater(segment["choice"]["measured_per_second"], 0)
        self.assertEqual({window["reason"] for window in indexed}, {window["segment"]["choice"]["reason"] for window in indexed})
        harness.wait_for(lambda: self.nats.messages() == 0, "all jobs are acknowledged")

        served = sorted(map(int, self.owner.served()))
        self.assertEqual(served, sorted(window["start_ms"] for window in indexed), "each window swapped in once")
        consumer = self.consumer()
        self.assertGreater(consumer["delivered"]["consumer_seq"], consumer["delivered"]["stream_seq"], "no job came again")
        segments = glob.glob(f"{self.owner.folder}/data/**/*.segment*", recursive=True)
        self.assertEqual(len(segments), WINDOWS, segments)

        self.owner.wait_caught_up(self.kafka.end_offsets(TOPIC, 1))
        assert_stored(self, stream.model, self.owner)
        self.assert_nearest_found(stream.model)
        self.assertEqual(sum(self.owner.metrics("windrow_index_dead_letters_total").values()), 0)
        self.check_span(survivor)
        for node in (survivor, self.owner):
            self.assertEqual(node.stop(), 0, node.log()[-2000:])


if __name__ == "__main__":
    harness.main()

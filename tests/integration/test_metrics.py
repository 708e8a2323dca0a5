"""Each family of metrics moves when what it measures happens, and its series are there before: two nodes of a cluster are fed,
searched and scraped."""

import glob
import json
import os
import re
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from families import families_in_source
from servers import Kafka, Nats
from service import COLLECTION, TOPIC, Windrow

HOUR_MS = 3_600_000
DIM = 16
ROWS = 1500
PARTITIONS = 2
SEARCHES = 40
TRACE = "0af7651916cd43dd8448eb211c80319c"
GIB = 1 << 30

# What this test makes happen. Of a histogram its count.
MOVES = """
    process_cpu_seconds_total process_open_fds process_resident_memory_bytes process_threads process_virtual_memory_bytes
    windrow_clock_safe_seconds windrow_clock_wall_seconds
    windrow_cluster_nodes windrow_cluster_request_seconds windrow_cluster_requests_total
    windrow_column_builds_total windrow_column_hits_total windrow_column_misses_total
    windrow_dead_letters_total windrow_dead_rows windrow_decoded_blocks_total windrow_disk_bytes
    windrow_freshness_seconds windrow_fsync_seconds
    windrow_http_queue_seconds windrow_http_request_seconds windrow_http_requests_total
    windrow_index_build_seconds windrow_index_recall_ratio windrow_index_rows windrow_index_segment_bytes
    windrow_kafka_end_offset windrow_kafka_next_offset
    windrow_live_rows windrow_lsm_bytes_written_total windrow_lsm_level_files windrow_lsm_lookups_total windrow_lsm_lookup_reads_total
    windrow_lsm_memtable_size_bytes windrow_lsm_space_amplification_ratio windrow_lsm_sstables windrow_lsm_user_bytes_total
    windrow_lsm_write_amplification_ratio
    windrow_memory_bytes windrow_pool_queue_seconds_total windrow_pool_tasks_total windrow_quorum_commit_latency_seconds
    windrow_records_deleted_total windrow_records_ingested_total windrow_records_late_total windrow_records_rejected_total
    windrow_records_superseded_total
    windrow_seal_seconds windrow_search_effort_ratio windrow_search_recall_ratio windrow_search_seconds windrow_search_windows_searched windrow_thread_cpu_seconds_total
    windrow_watermark_seconds windrow_windows
""".split()

# What must not move here, and the value it has.
STAYS = {
    "process_max_fds": lambda value: value >= 256,
    "process_start_time_seconds": lambda value: abs(value - time.time()) < 600,
    "windrow_build_info": lambda value: value == 1,
    "windrow_cluster_nats_connected": lambda value: value == 1,
    "windrow_kafka_begin_offset": lambda value: value == 0,
    "windrow_disk_free_bytes": lambda value: value > 0,
    "windrow_disk_max_bytes": lambda value: value == GIB,
    "windrow_disk_size_bytes": lambda value: value > GIB,
    "windrow_memory_max_bytes": lambda value: value == 256 << 20,
    "windrow_pool_running_threads": lambda value: value >= 1, # it answers this scrape
    "windrow_processors": lambda value: value >= 1,
}


def point(number, time_ms, **more):
    vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
    return {"id": number, "vector": vector, "payload": {"n": number % 100}, "time_ms": time_ms, **more}


def read_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def named_in_other_tests():
    own = os.path.abspath(__file__)
    found = set()
    for path in glob.glob(os.path.join(harness.ROOT, "tests", "**", "*.[cp]*"), recursive=True):
        if path.endswith((".c", ".py")) and path != own and "packaging" not in path:
            found |= set(re.findall(r"(?:windrow|process)_[a-z0-9_]+", read_text(path)))
    return {re.sub(r"_(count|bucket|sum)$", "", name) for name in found} | found


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka, cls.nats = Kafka().start(), Nats().start()
        cls.addClassCleanup(cls.kafka.stop)
        cls.addClassCleanup(cls.nats.stop)
        cls.now_ms = int(time.time() * 1000)
        cls.first, cls.second = cls.node("first"), cls.node("second")
        cls.first.create_topic(PARTITIONS)
        cls.first.start()
        cls.first.wait_caught_up({})
        cls.before = cls.scrape()
        cls.feed()
        cls.second.start("--role", "ingest") # so that the first one builds, whose metrics are looked at
        cls.read()

    @classmethod
    def node(cls, name):
        # Each a group of its own would own everything; one group shares the partitions out.
        node = Windrow(cls.kafka.address, cls.nats.url, node=name, cluster={"name": "prod"}, store={"memory_max_bytes": "256MiB", "memtable_max_bytes": "16MiB"},
                       codec="packed", max_bytes="1GiB", properties={"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"})
        cls.addClassCleanup(node.stop)
        return node

    @classmethod
    def scrape(cls, node=None, accept="text/plain"):
        """{family: {series: value}}; a histogram has its count."""
        found = {}
        for line in (node or cls.first).request("GET", "/metrics", headers={"Accept": accept}).body.decode().splitlines():
            series, _, value = line.partition(" # ")[0].rpartition(" ")
            name = series.partition("{")[0]
            if not line.startswith("#") and not name.endswith(("_bucket", "_sum")):
                found.setdefault(re.sub(r"_count$", "", name), {})[series] = float(value)
        return found

    @classmethod
    def feed(cls):
        records = [(str(number), json.dumps(point(number, cls.now_ms - number % 3 * HOUR_MS))) for number in range(ROWS)]
        records += [("bad", "{"), ("expired", json.dumps(point(ROWS + 1, cls.now_ms - 30 * 24 * HOUR_MS)))]
        records += [("pair", json.dumps({"points": 2 * [point(ROWS + 2, cls.now_ms)]}))] # the second replaces the first
        cls.kafka.produce(TOPIC, records)
        cls.first.post("/points/delete?wait=true", {"points": [5]})

    @classmethod
    def read(cls):
        """Until all that is to come has come. Newer versions of rows of sealed windows come once there are some."""
        newer = [(str(number), json.dumps(point(number, cls.now_ms))) for number in range(100)]
        seen = set() # a gauge may be back when the others have moved: a reseal leaves the dead rows out
        query = {"query": [0.5] * DIM, "limit": 5, "filter": {"must": [{"key": "n", "range": {"lt": 50}}]}, "params": {"exact": True}}

        def moved():
            reply = cls.first.request("POST", f"/collections/{COLLECTION}/points/query", query, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
            cls.first.request("POST", f"/collections/{COLLECTION}/points/query", {"query": [0.25] * DIM, "limit": 50})
            cls.after = cls.scrape()
            if newer and cls.after["windrow_index_rows"] != cls.before["windrow_index_rows"]:
                for number in range(SEARCHES): # the recall of which is measured once windows change
                    cls.first.request("POST", f"/collections/{COLLECTION}/points/query", {"query": point(number, 0)["vector"], "limit": 5})
                cls.kafka.produce(TOPIC, newer)
                newer.clear()
            seen.update(name for name in MOVES if cls.after.get(name) != cls.before.get(name))
            still = [name for name in MOVES if name not in seen]
            if still or reply.status != 200:
                raise ValueError(f"status {reply.status}; these did not move: {still}")
            return True

        harness.wait_for(moved, "everything is measured", 60, interval_s=0.3)

    def test_every_family_is_moved_by_a_test(self):
        scraped = set(self.after)
        known = {name for name in families_in_source() | scraped if not re.match(r"windrow_kafka_(consumer|producer|dead_letters)_", name)}
        here = set(MOVES) | set(STAYS) | {"windrow_pressure_seconds_total", "windrow_kafka_lag_seconds", "windrow_damaged_blocks_total", "windrow_damaged_windows"}
        covered = here | named_in_other_tests()
        self.assertEqual(sorted(known - covered), [], "name them in MOVES, or in the test that changes them")

    def test_what_stays_has_its_value(self):
        for name, good in STAYS.items():
            self.assertTrue(any(good(value) for value in self.after[name].values()), f"{name}: {self.after[name]}")

    def test_counters_are_there_before_their_first_event(self):
        reasons = {label for series in self.before["windrow_dead_letters_total"] for label in re.findall(r'reason="(\w+)"', series)}
        self.assertGreater(reasons, {"syntax", "dimension", "future", "late"})
        for name in ("windrow_dead_letters_total", "windrow_records_rejected_total", "windrow_ids_in_two_shards_total", "windrow_index_build_failures_total",
                     "windrow_index_dead_letters_total", "windrow_window_drops_total", "windrow_records_late_total", "windrow_seal_seconds",
                     "windrow_index_build_seconds", "windrow_index_span_build_seconds"):
            self.assertEqual({value for value in self.before[name].values()}, {0.0}, name)
        for code in (429, 500, 503):
            self.assertIn(f'windrow_http_requests_total{{route="/collections/{{}}/points/query",code="{code}"}}', self.before["windrow_http_requests_total"])

    def test_no_series_begins_after_its_first_event(self):
        """What the same scrape shows later as a new counter has lost a step, but for routes and statuses nobody has asked yet,
        and partitions and peers that came."""
        late = {series for name in self.after for series in self.after[name]
                if name.endswith("_total") and series not in self.before.get(name, {}) and not re.search(r"_http_|_kafka_|_pool_|_thread_|_cluster_", name)}
        self.assertEqual(late, set())

    def test_labels_have_few_values(self):
        for name, series in self.after.items():
            self.assertLess(len(series), 500 if "_http_" in name else 100, name)
        self.assertLess(sum(map(len, self.after.values())), 2000)

    def test_openmetrics_on_request(self):
        text = self.first.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"})
        self.assertEqual(text.headers["Content-Type"], "application/openmetrics-text; version=1.0.0; charset=utf-8")
        body = text.body.decode()
        self.assertTrue(body.endswith("\n# EOF\n"))
        self.assertIn("# TYPE windrow_records_ingested counter\n", body)
        self.assertRegex(body, r'windrow_http_request_seconds_bucket\{route="/collections/\{\}/points/query",le="[^"]+"\} \d+ # \{trace_id="' + TRACE + r'"\} \S+ \d+\.\d{3}\n')
        self.assertRegex(self.second.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"}).body.decode(),
                         r'route="/internal/query",le="[^"]+"\} \d+ # \{trace_id="' + TRACE, "a trace goes on at other nodes")
        plain = self.first.request("GET", "/metrics")
        self.assertEqual(plain.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertNotIn(TRACE, plain.body.decode())

    @unittest.skipUnless(os.path.exists("/proc/pressure/io"), "this kernel does not measure pressure")
    def test_pressure_is_what_the_kernel_says(self):
        with open("/proc/pressure/io", encoding="ascii") as file:
            total_s = int(re.search(r"some .*total=(\d+)", file.read())[1]) / 1e6
        series = 'windrow_pressure_seconds_total{resource="io",kind="some"}'
        self.assertLessEqual(self.before["windrow_pressure_seconds_total"][series], total_s)
        self.assertGreater(self.scrape()["windrow_pressure_seconds_total"][series], total_s - 1e-6)

    def test_lag_grows_while_nobody_reads(self):
        lag = lambda: max(self.scrape()["windrow_kafka_lag_seconds"].values())
        harness.wait_for(lambda: lag() == 0, "all is read", 30)
        self.assertEqual(self.first.command("pause", "-C", COLLECTION).returncode, 0)
        self.kafka.produce(TOPIC, [(str(number), json.dumps(point(number, self.now_ms))) for number in range(50)])
        harness.wait_for(lambda: lag() > 0, "the pause shows as lag", 30)
        self.assertEqual(self.first.command("resume", "-C", COLLECTION).returncode, 0)
        harness.wait_for(lambda: lag() == 0, "the lag is gone", 30)

    def test_z_damage_is_counted(self): # last: it takes a window away
        self.assertEqual(set(self.scrape()["windrow_damaged_blocks_total"].values()), {0.0})
        # Alone it has every shard again after its start, also the damaged one.
        self.second.stop()
        harness.wait_for(lambda: self.first.search_reply({"limit": 1, "windrow": {"local": True}})["windrow"]["partial"] is False, "it has all shards", 60)
        self.first.stop()
        run = max(glob.glob(os.path.join(self.first.folder, "data", "collections.d", COLLECTION, "*", "*.run")), key=os.path.getsize)
        with open(run, "r+b") as file:
            file.seek(os.path.getsize(run) * 3 // 4)
            damaged = bytes(byte ^ 0xFF for byte in file.read(64))
            file.seek(-64, os.SEEK_CUR)
            file.write(damaged)
        self.first.start()
        harness.wait_for(lambda: sum(self.scrape()["windrow_damaged_windows"].values()) == 1, "the window is left out", 30)
        self.assertGreater(sum(self.scrape()["windrow_damaged_blocks_total"].values()), 0)


if __name__ == "__main__":
    harness.main()

"""Every kind of bad record becomes a dead letter that says why and where; the good ones around it are stored."""

import json
import math
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness
from servers import Kafka
from service import DEAD_LETTERS, TOPIC, Windrow

DIM = 4
NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000


def point(point_id, vector=(1, 0, 0, 0), time_ms=NOW_MS, **more):
    return {"id": point_id, "vector": list(vector), "payload": {"good": True}, "time_ms": time_ms, **more}


def text(value):
    return json.dumps(value).encode()


# name: (value, what the message must say, all in lower case)
BAD_VALUES = {
    "malformed_json": (b'{"id": 1, "vector": [1, 2', []),
    "not_json_at_all": (b"\xff\xfe\x00\x01 garbage", []),
    "empty_object": (b"{}", []),
    "no_vector": (text({"id": 1, "payload": {}}), ["vector"]),
    "wrong_dimension": (text(point(1, [1, 2, 3])), ["$.vector", "4", "3"]),
    "nan": (b'{"id": 1, "vector": [1, NaN, 0, 0], "time_ms": %d}' % NOW_MS, ["$.vector[1]"]),
    "infinity": (b'{"id": 1, "vector": [1, 0, 1e999, 0], "time_ms": %d}' % NOW_MS, ["$.vector[2]"]),
    "text_in_the_vector": (text(point(1, [1, 0, 0, "x"])), ["$.vector[3]"]),
    "zeros_under_cosine": (text(point(1, [0, 0, 0, 0])), ["$.vector", "zero"]),
    "id_of_256_bytes": (text(point("i" * 256)), ["id", "255"]),
    "negative_id": (text(point(-1)), ["id"]),
    "id_that_is_a_list": (text(point([1])), ["id"]),
    "payload_that_is_a_list": (text({**point(1), "payload": [1]}), ["payload"]),
    "an_hour_in_the_future": (text(point(1, time_ms=NOW_MS + HOUR_MS)), ["future"]),
    "time_that_is_text": (text(point(1, time_ms="yesterday")), ["time_ms"]),
    "no_time": (text({"id": 1, "vector": [1, 0, 0, 0]}), ["time_ms"]),
    "absurd_depth": (b'{"id": 1, "payload": ' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}", []),
}


class BadRecords(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka().start()
        cls.windrow = Windrow(cls.kafka.address, dim=DIM, metric="cosine")
        cls.windrow.create_topic(1)
        cls.windrow.start()
        cls.sent = {}
        cls.offset = 0
        for number, (name, (value, _)) in enumerate(BAD_VALUES.items()):
            cls.send(f"good-{number}", text(point(f"good-{number}")))
            cls.sent[name] = cls.send(f"key of {name}", value, headers=[f"case={name}"])
        cls.batch_offset = cls.send(
            "batch", text({"points": [point("in-batch-1"), point("bad-in-batch", [1, 2]), point("in-batch-2")]})
        )
        cls.kafka.produce(TOPIC, [("", None)])
        cls.keyless_tombstone, cls.offset = cls.offset, cls.offset + 1
        cls.send("last", text(point("last")))
        cls.windrow.wait_caught_up({"0": cls.offset})

        # Dead letters are acknowledged before the offset passes them, so now they are all there.
        cls.letters = {letter["headers"]["__connect.errors.offset"]: letter for letter in cls.kafka.consume(DEAD_LETTERS)}

    @classmethod
    def tearDownClass(cls):
        stopped = cls.windrow.stop()
        cls.kafka.stop()
        assert stopped == 0, cls.windrow.log()[-2000:]

    @classmethod
    def send(cls, key, value, headers=()):
        """Returns the record's offset: the topic has one partition and one producer."""
        cls.kafka.produce_bytes(TOPIC, value, key, headers)
        cls.offset += 1
        return cls.offset - 1

    def letter(self, offset):
        self.assertIn(str(offset), self.letters, "no dead letter of this offset")
        return self.letters[str(offset)]

    def check_letter(self, name):
        letter = self.letter(self.sent[name])
        headers = letter["headers"]
        self.assertEqual(headers["__connect.errors.topic"], TOPIC)
        self.assertEqual(headers["__connect.errors.partition"], "0")
        self.assertEqual(letter["key"], f"key of {name}")
        self.assertEqual(headers["case"], name, "the record's own headers stay")
        self.assertTrue(headers["__connect.errors.stage"])
        self.assertTrue(headers["__connect.errors.exception.class.name"])
        message = headers["__connect.errors.exception.message"]
        for word in BAD_VALUES[name][1]:
            self.assertIn(word, message.lower())
        if name != "not_json_at_all": # kcat cannot show bytes that are not UTF-8
            self.assertEqual(letter["payload"].encode(), BAD_VALUES[name][0])

    def test_each_bad_record_is_a_dead_letter_with_reason_and_place(self):
        for name in BAD_VALUES:
            with self.subTest(name):
                self.check_letter(name)

    def test_bad_point_of_a_batch_goes_alone(self):
        letter = self.letter(self.batch_offset)
        self.assertIn("$.points[1].vector", letter["headers"]["__connect.errors.exception.message"])
        self.assertEqual(json.loads(letter["payload"])["id"], "bad-in-batch")

    def test_tombstone_without_key_is_a_dead_letter(self):
        self.letter(self.keyless_tombstone)

    def test_good_records_and_no_others_are_stored(self):
        wanted = {f"good-{number}" for number in range(len(BAD_VALUES))} | {"in-batch-1", "in-batch-2", "last"}
        self.assertEqual(set(self.windrow.scroll()), wanted)

    def test_there_is_one_letter_for_each_bad_record(self):
        self.assertEqual(len(self.letters), len(BAD_VALUES) + 2)

    def test_future_record_did_not_move_the_clock(self):
        watermark = self.windrow.search_reply({"limit": 1})["windrow"]["watermarks_ms"]["0"]
        self.assertLess(watermark, NOW_MS + HOUR_MS // 2)

    def test_metrics_count_dead_letters(self):
        lines = self.windrow.request("GET", "/metrics").body.decode().splitlines()
        counted = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("windrow_dead_letters_total{"))
        self.assertTrue(math.isclose(counted, len(self.letters)), counted)


if __name__ == "__main__":
    harness.main()

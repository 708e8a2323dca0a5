#!/usr/bin/env python3
"""The shipped sample as JSON lines for `windrow produce`, as if it had happened over the last hours.

The entries keep their order and are spread evenly from HOURS ago until now: `time_ms` is the replayed time, and
`payload.date` keeps the true one. Ids stay the same, so that a second replay replaces the first.
"""

import argparse
import datetime
import json
import os
import sys
import time

from vectors import read_vectors

HERE = os.path.dirname(os.path.abspath(__file__))


def rfc3339(time_ms):
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def replay(hours, now_ms, out):
    with open(os.path.join(HERE, "changelog-sample.jsonl"), encoding="utf-8") as lines:
        points = [json.loads(line) for line in lines]
    span_ms = hours * 3_600_000
    vectors = read_vectors(os.path.join(HERE, "changelog-sample.hbin"))
    for index, (point, vector) in enumerate(zip(points, vectors, strict=True), start=1):
        replayed_ms = now_ms - span_ms + int(span_ms * index / len(points))
        payload = point["payload"]
        payload["date"] = rfc3339(point["time_ms"])
        payload["replayed_at"] = rfc3339(replayed_ms)
        # Nine digits carry a float32 exactly; these values were float16.
        numbers = ",".join(f"{value:.9g}" for value in vector)
        head = json.dumps({"id": point["id"], "time_ms": replayed_ms, "payload": payload}, ensure_ascii=False)
        out.write(f'{head[:-1]}, "vector": [{numbers}]}}\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=6, help="how far back the replay starts (default 6)")
    arguments = parser.parse_args()
    replay(arguments.hours, int(time.time() * 1000), sys.stdout)


if __name__ == "__main__":
    main()

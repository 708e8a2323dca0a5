#!/usr/bin/env python3
"""The sample as a stream that does not end: JSON lines for `windrow produce`, each written when it happens.

  live_stream.py --rate 20 --url http://127.0.0.1:6333 | windrow produce -C changelog -

Each record gets a new id, so that the collection grows. With --url it also searches, as users would, so that a dashboard has
searches to show. It ends when its output is closed.
"""

import argparse
import itertools
import json
import os
import sys
import threading
import time

import ask
from replay_sample import HERE, rfc3339
from vectors import read_vectors

FIRST_ID = 1_000_000


def search_for_ever(url, collection, a_second):
    """A service that is away for a moment is asked again."""
    for _, vector in itertools.cycle(ask.shipped_questions()):
        try:
            ask.search(url, collection, vector, 5, False)
        except (OSError, ValueError):
            time.sleep(1)
        time.sleep(1 / a_second)


def stream(rate, out):
    with open(os.path.join(HERE, "changelog-sample.jsonl"), encoding="utf-8") as lines:
        points = [json.loads(line) for line in lines]
    vectors = [",".join(f"{value:.9g}" for value in vector) for vector in read_vectors(os.path.join(HERE, "changelog-sample.hbin"))]
    start = time.time()
    first = FIRST_ID + int(start) * 1000 % 1_000_000_000_000
    for number, (point, vector) in enumerate(itertools.cycle(zip(points, vectors, strict=True))):
        due = start + number / rate
        if due > time.time():
            out.flush()
            time.sleep(due - time.time())
        payload = {**point["payload"], "date": rfc3339(point["time_ms"]), "replayed_at": rfc3339(due * 1000)}
        head = json.dumps({"id": first + number, "time_ms": int(due * 1000), "payload": payload}, ensure_ascii=False)
        out.write(f'{head[:-1]}, "vector": [{vector}]}}\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20, help="records a second (default 20)")
    parser.add_argument("--url", help="search there, too")
    parser.add_argument("--collection", default="changelog")
    parser.add_argument("--searches", type=float, default=4, help="searches a second with --url (default 4)")
    arguments = parser.parse_args()
    if arguments.rate <= 0 or arguments.searches <= 0:
        parser.error("a rate is above 0")
    if arguments.url:
        threading.Thread(target=search_for_ever, args=(arguments.url, arguments.collection, arguments.searches), daemon=True).start()
    try:
        stream(arguments.rate, sys.stdout)
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()

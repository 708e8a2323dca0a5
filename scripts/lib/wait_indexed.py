#!/usr/bin/env python3
"""Waits until a windrow has searchable all of a topic and has indexed enough windows; tells what it waits for.

Exit 0: at least MIN_INDEXED windows are served from HNSW segments, one with rows is live, and every record below END is
searchable. Exit 1: not within SECONDS.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def get(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)


def searchable_offsets(url, collection):
    """Per partition, the first offset that is not yet searchable: any search reply tells."""
    request = urllib.request.Request(
        f"{url}/collections/{collection}/points/query",
        data=b'{"limit": 1}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)["windrow"]["offsets"]


def look(arguments):
    """Returns (done, sentence)."""
    windows = get(f"{arguments.url}/windows?" + urllib.parse.urlencode({"collection": arguments.collection}))["windows"]
    indexed = [w for w in windows if w["state"] == "indexed" and w["segment"] and w["segment"]["kind"] in ("hnsw", "ivf_pq")]
    live = [w for w in windows if w["state"] == "open" and w["rows"] > 0]
    sealed = [w for w in windows if w["state"] in ("sealing", "sealed")]
    searchable = sum(searchable_offsets(arguments.url, arguments.collection).values())
    done = len(indexed) >= arguments.min_indexed and live and not sealed and searchable >= arguments.end
    return done, (
        f"{searchable} of {arguments.end} records searchable; windows: {len(indexed)} indexed with HNSW, "
        f"{len(sealed)} being sealed or indexed, {len(live)} live"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--min-indexed", type=int, default=3)
    parser.add_argument("--end", type=int, default=0, help="sum over partitions of the offsets to wait for")
    parser.add_argument("--timeout", type=float, default=120)
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.timeout
    shown = None
    while True:
        try:
            done, sentence = look(arguments)
        except (urllib.error.URLError, OSError, KeyError) as error:
            done, sentence = False, f"no answer yet: {error}"
        if sentence != shown:
            print(f"    {sentence}", file=sys.stderr, flush=True)
            shown = sentence
        if done:
            return 0
        if time.monotonic() > deadline:
            print(f"    gave up after {arguments.timeout:.0f} s", file=sys.stderr)
            return 1
        time.sleep(0.5)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

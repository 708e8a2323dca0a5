#!/usr/bin/env python3
"""Asks a running windrow about the sample and prints the answers for a person.

  ask.py --url http://127.0.0.1:6333     five of the shipped questions
  ask.py --url ... --text "TEXT"         a question of your own; the collection has an embedder
  ask.py --url ... --loop                one question after the other
"""

import argparse
import datetime
import json
import os
import sys
import textwrap
import time
import urllib.error
import urllib.request

from vectors import read_vectors

HERE = os.path.dirname(os.path.abspath(__file__))
SHIPPED_QUESTIONS = (0, 2, 6, 7, 8)


def shipped_questions():
    with open(os.path.join(HERE, "queries.json"), encoding="utf-8") as file:
        texts = json.load(file)
    vectors = list(read_vectors(os.path.join(HERE, "queries.hbin")))
    return [(texts[index], vectors[index]) for index in SHIPPED_QUESTIONS]


def search(url, collection, query, limit, complete):
    """QUERY is a vector, or {"text": ...}."""
    body = {"query": {"nearest": query}, "limit": limit, "with_payload": True}
    if complete:
        body["windrow"] = {"require": "complete"}
    request = urllib.request.Request(
        f"{url}/collections/{collection}/points/query",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as problem:
        sys.exit(f"windrow answers {problem.code}: {json.load(problem)['status']['error']}")


def ago(seconds):
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if seconds < 60:
        return f"{max(0, int(seconds))} s ago"
    return f"{minutes} min ago" if hours == 0 else f"{hours} h {minutes % 60} min ago"


def seconds_since(rfc3339):
    return time.time() - datetime.datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp()


def freshness(reply, now_ms):
    """One sentence from the reply's `windrow` key: how much of the stream the answer has seen."""
    about = reply["windrow"]
    offsets = ", ".join(f"{offset} of partition {partition}" for partition, offset in about["offsets"].items())
    watermark_ms = min(about["watermarks_ms"].values(), default=now_ms)
    windows = about["windows"]
    return (
        f"fresh: {'NOT COMPLETE, ' if about['partial'] else ''}every record before offset {offsets} is in it, the newest from "
        f"{ago((now_ms - watermark_ms) / 1000)}; {windows['searched']} windows searched, {windows['live']} of them live, "
        f"{windows['pruned']} pruned, {reply['time'] * 1000:.1f} ms"
    )


def print_answer(number, text, reply):
    print(f"\n{number}. {text}")
    for hit in reply["result"]["points"]:
        payload = hit["payload"]
        when = f"{ago(seconds_since(payload['replayed_at']))} (really {payload['date'][:10]})"
        print(f"   {hit['score']:.3f}  {payload['package']} {payload['version']}, {when}")
        print(textwrap.indent(textwrap.fill(payload["text"], 100), "          "))
    print(f"   {freshness(reply, time.time() * 1000)}")


def typed_questions():
    """What is typed, until an empty line or the end of the input."""
    while True:
        if sys.stdin.isatty():
            print("\nAsk (an empty line ends): ", end="", flush=True)
        text = sys.stdin.readline().strip()
        if not text:
            return
        yield text, {"text": text}


def answer_typed(arguments):
    for number, (text, query) in enumerate(typed_questions(), start=1):
        print_answer(number, text, search(arguments.url, arguments.collection, query, arguments.k, arguments.complete))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:6333")
    parser.add_argument("--collection", default="changelog")
    parser.add_argument("-k", type=int, default=3, help="answers a question (default 3)")
    parser.add_argument("--complete", action="store_true", help="an answer that leaves partitions out is an error")
    parser.add_argument("--first", type=int, default=1, help="begin with this question")
    parser.add_argument("--last", type=int, help="end with this one")
    parser.add_argument("--text", help="ask this instead of the shipped questions")
    parser.add_argument("--loop", action="store_true", help="answer what is typed, one question after the other")
    arguments = parser.parse_args()
    if arguments.loop:
        answer_typed(arguments)
        return
    questions = [(arguments.text, {"text": arguments.text})] if arguments.text else shipped_questions()
    for number, (text, query) in list(enumerate(questions, start=1))[arguments.first - 1 : arguments.last]:
        reply = search(arguments.url, arguments.collection, query, arguments.k, arguments.complete)
        if len(reply["result"]["points"]) != arguments.k:
            sys.exit(f"asked for {arguments.k} answers, got {len(reply['result']['points'])}: {text}")
        print_answer(number, text, reply)


if __name__ == "__main__":
    main()

"""What tests of a cluster share: points, questions of every kind, and the comparison of two answers."""

DIM = 16
PARTITIONS = 6
ROWS = 1200
# What differs between two processes that are both right: how long it took, who was asked, and which windows each has sealed so
# far (tests/indexer/query/test_gather.c compares the windows, with a clock that stands still).
OF_THE_PROCESS = {"time", "nodes", "windows", "seconds", "reads", "node", "generation"}


def value(number, now_ms):
    vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
    payload = {"parity": number % 2, "group": f"g{number % 17}", "n": number * 37 % 1000, "text": "word " * (number % 5)}
    return {"id": number, "vector": vector, "payload": payload, "time_ms": now_ms - number * 10_000}


def without_process(reply):
    """The reply without what belongs to the process that gave it."""
    if isinstance(reply, dict):
        return {key: without_process(entry) for key, entry in reply.items() if key not in OF_THE_PROCESS}
    return [without_process(entry) for entry in reply] if isinstance(reply, list) else reply


def random_filter(random):
    kinds = [
        {"must": [{"key": "parity", "match": {"value": random.randrange(2)}}]},
        {"must_not": [{"key": "n", "range": {"gte": random.randrange(1000)}}]},
        {"should": [{"key": "group", "match": {"any": [f"g{random.randrange(20)}", "g3"]}}, {"has_id": [random.randrange(ROWS)]}]},
    ]
    return random.choice([None, *kinds])


def random_query(random):
    vector = [random.random() for _ in range(DIM)]
    return random.choice([
        vector,
        random.randrange(ROWS - 10),
        {"recommend": {"positive": [random.randrange(ROWS - 10), vector], "negative": [random.randrange(ROWS - 10)]}},
        {"nearest": vector, "mmr": {"diversity": 0.5, "candidates_limit": 30}},
        {"order_by": {"key": "n", "direction": random.choice(["asc", "desc"])}},
    ])


def random_search(random, now_ms):
    body = {"query": random_query(random), "limit": random.randrange(1, 30), "offset": random.randrange(5), "params": {"exact": True}}
    body |= random.choice([{}, {"with_payload": True, "with_vector": True}, {"with_payload": {"include": ["n"]}}])
    chosen = random_filter(random)
    if chosen:
        body["filter"] = chosen
    if random.random() < 0.3:
        body["windrow"] = {"from": now_ms - random.randrange(4) * 3_600_000}
    return body


def random_request(random, now_ms):
    """Path and body of any kind of read."""
    search = random_search(random, now_ms)
    selected = {"filter": chosen} if (chosen := random_filter(random)) else {}
    vector = [random.random() for _ in range(DIM)]
    return random.choice([
        ("/points/query", search),
        ("/points/query", search),
        ("/points/query/batch", {"searches": [{key: entry for key, entry in random_search(random, now_ms).items() if key != "windrow"} for _ in range(3)]}),
        ("/points/query/groups", {"query": vector, "group_by": "group", "limit": 5, "group_size": 2, "params": {"exact": True}}),
        ("/points/query", {"prefetch": [{"query": vector, "limit": 20, "params": {"exact": True}},
                                        {"query": random.randrange(ROWS - 10), "limit": 20, "params": {"exact": True}}], "query": {"fusion": "rrf"}}),
        ("/points/search", {"vector": vector, "limit": 5, "params": {"exact": True}}),
        ("/points/scroll", {"limit": random.randrange(1, 80), "offset": random.randrange(ROWS), **selected}),
        ("/points/scroll", {"limit": random.randrange(1, 80), "order_by": random.choice(["n", {"key": "@time", "direction": "desc"}]), **selected}),
        ("/points/count", {"exact": True, **selected}),
        ("/points", {"ids": [random.randrange(ROWS + 50) for _ in range(20)], "with_vector": True}),
        ("/facet", {"key": "group", "limit": 20, **selected}),
    ])

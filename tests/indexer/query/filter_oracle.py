#!/usr/bin/env python3
"""Writes filter_cases.json: which documents match which filters according to Qdrant's own engine.

    pip install qdrant-edge-py==0.9.0 && tests/indexer/query/filter_oracle.py > tests/indexer/query/filter_cases.json

The engine runs in process, without a payload index, as windrow does. Its Python binding takes booleans
for integers, so that matches on booleans are a table in the C test, which reads the JSON and never
needs Python.
"""
import json
import sys
import tempfile

import qdrant_edge as q

PAYLOADS = [
    {},
    {"a": None},
    {"a": []},
    {"a": [None]},
    {"a": {}},
    {"a": 1},
    {"a": 1.0},
    {"a": 1.5},
    {"a": -3},
    {"a": "1"},
    {"a": True},
    {"a": False},
    {"a": "red"},
    {"a": "Red wine and bread"},
    {"a": ""},
    {"a": ["red", "green"]},
    {"a": ["blue", 1, None, True]},
    {"a": [[1, 2], [3]]},
    {"a": [1, 2, 3]},
    {"a": [5, 100]},
    {"a": 9007199254740993},
    {"a": "2024-02-29T12:00:00Z"},
    {"a": "2024-02-29T13:00:00+01:00"},
    {"a": "2024-02-29"},
    {"a": "2024-02-29 12:00:00.5"},
    {"a": "2024-02-30T12:00:00Z"},
    {"a": ["2023-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]},
    {"a": {"b": 1}},
    {"a": {"b": [1, 2], "c": "x"}},
    {"a": {"b": None}},
    {"a": {"b": {"c": "deep"}}},
    {"a": [{"b": 1, "c": "x"}, {"b": 2, "c": "y"}]},
    {"a": [{"b": 1, "c": "y"}, {"b": 3, "c": "x"}]},
    {"a": [{"b": [1, 2]}, {"b": [3]}, 7]},
    {"a": [{"n": [{"v": 1, "w": 1}]}, {"n": [{"v": 2, "w": 5}]}]},
    {"a.b": 1},
    {"a": {"b.c": "dotted"}},
    {"a": [{"b": []}]},
    {"a": [{"b": None}, {"b": 1}]},
    {"a": [{"b": [None, 4]}, {"c": 1}]},
    {"x": 1, "y": "x", "a": "green"},
    {"x": [1, 2, 3], "y": None, "a": 2},
    {"x": 7.25, "y": "y"},
    {"x": {"y": 2}, "a": "ünïcode straße"},
]


def m(key, **match):
    return {"key": key, "match": match}


def r(key, **bounds):
    return {"key": key, "range": bounds}


def conditions():
    for value in (1, 0, -3, 2, 9007199254740992, 9007199254740993, "1", "red", "",
                  "deep", "2024-02-29"):
        yield m("a", value=value)
    for key in ("a.b", "a[].b", "a[0].b", "a[1].b", "a[]", "a[0]", "a[9]", "a.b.c", 'a."b.c"', '"a.b"',
                "a[].n[].v", "x", "x.y", "a[].b[]", "a[].b[0]"):
        yield m(key, value=1)
        yield m(key, any=[1, 2, 3])
        yield m(key, value="dotted")
        yield r(key, gte=1, lt=3)
        yield {"is_empty": {"key": key}}
        yield {"is_null": {"key": key}}
        yield {"key": key, "values_count": {"gte": 1}}
        yield {"key": key, "values_count": {"lt": 1}}
    yield m("a", any=["red", "green"])
    yield m("a", any=[1, 3])
    yield m("a", any=[])
    yield m("a", any=["1"])
    yield m("a", **{"except": ["red"]})
    yield m("a", **{"except": ["red", "green"]})
    yield m("a", **{"except": [1]})
    yield m("a", **{"except": [1, 2, 3]})
    yield m("a", **{"except": []})
    yield m("x", **{"except": [1]})
    yield m("a[].b", **{"except": [1]})
    for text in ("red", "Red", "wine bread", "wine and", "rea", "", "straße", "STRASSE", "bread red"):
        yield m("a", text=text)
        yield m("a", text_any=text)
        yield m("a", phrase=text)
    yield r("a", gt=1)
    yield r("a", gte=1)
    yield r("a", lt=1)
    yield r("a", lte=1)
    yield r("a", gt=1, lt=3)
    yield r("a", gt=5, lt=100)
    yield r("a", gte=5.5, lte=99.5)
    yield r("a", gt=3, lt=1)
    yield r("a")
    yield r("a", gte=9007199254740993)
    yield r("a", gte="2024-02-29T12:00:00Z")
    yield r("a", gt="2024-02-29T12:00:00Z")
    yield r("a", lte="2024-02-29T12:00:00Z", gte="2024-02-29T00:00:00Z")
    yield r("a", lt="2024-02-29")
    yield r("a", gt="2024-02-29T12:00:00.499Z")
    yield {"is_empty": {"key": "a"}}
    yield {"is_null": {"key": "a"}}
    for flag in (True, False):
        yield {"key": "a", "is_empty": flag}
        yield {"key": "a", "is_null": flag}
        yield {"key": "a.b", "is_empty": flag}
        yield {"key": "a[].b", "is_null": flag}
        yield {"key": "a[].b", "is_empty": flag}
    for bounds in ({"gt": 0}, {"gte": 2}, {"lt": 1}, {"lte": 0}, {"gt": 1, "lt": 3}, {}):
        yield {"key": "a", "values_count": bounds}
    yield {"has_id": [1, 5, 7, 1000]}
    yield {"has_id": []}
    yield {"has_vector": ""}
    yield {"has_vector": "other"}
    yield {"key": "a", "match": {"value": 1}, "range": {"gte": 5}}
    for key in ("a", "a[]", "a[].n", "a[].n[]", "a.b", "a[0]"):
        yield {"nested": {"key": key, "filter": {"must": [m("b", value=1), m("c", value="x")]}}}
        yield {"nested": {"key": key, "filter": {"must_not": [m("b", value=1)]}}}
        yield {"nested": {"key": key, "filter": {"should": [m("v", value=1), m("w", value=5)]}}}
        yield {"nested": {"key": key, "filter": {"must": [m("v", value=1), m("w", value=5)]}}}
        yield {"nested": {"key": key, "filter": {}}}
        yield {"nested": {"key": key, "filter": {"must": [{"is_empty": {"key": "b"}}]}}}
    yield {"nested": {"key": "a", "filter": {"must": [
        {"nested": {"key": "n", "filter": {"must": [m("v", value=2), m("w", value=5)]}}}]}}}


def the_same_question(condition):
    """The engine asks is_empty and is_null beside a key of each element that the path leads to, and as conditions
    of their own of all together. So a point could be empty and not empty at once, and an index changed the
    answer (qdrant#10621, #10096). windrow and the client's in-memory mode have one answer to one question, that
    of the conditions of their own: those are asked here instead."""
    for name in ("is_empty", "is_null"):
        if name in condition and "[" in condition.get("key", ""):
            own = {name: {"key": condition["key"]}}
            return {"must": [own]} if condition[name] else {"must_not": [own]}
    return condition


def filters():
    for c in conditions():
        yield {"must": [c]}
        if "has_id" in c or "match" in c and "except" in c["match"]:
            yield {"must_not": [c]}
    one, two, three = m("a", value=1), m("x", value=1), r("a", gte=2)
    yield {}
    yield {"must": []}
    yield {"should": []}
    yield {"must_not": []}
    yield {"must": one}
    yield {"should": one}
    yield {"must_not": one}
    yield {"must": [one, two]}
    yield {"should": [one, two]}
    yield {"must_not": [one, two]}
    yield {"must": [m("a", value="green")], "should": [two, three]}
    yield {"should": [one, two], "must_not": [{"has_id": [6]}]}
    for count in (1, 2, 3):
        yield {"min_should": {"conditions": [one, three, {"is_empty": {"key": "y"}}], "min_count": count}}
    yield {"min_should": {"conditions": [], "min_count": 1}}
    yield {"must": [{"should": [one, two]}, {"must_not": [{"has_id": [6]}]}]}
    yield {"must_not": [{"must": [one, {"is_empty": {"key": "x"}}]}]}
    yield {"should": [{"must": [{"should": [{"must": [one]}]}]}]}
    yield {"must": [{}]}
    yield {"must_not": [{}]}


def as_list(value):
    return value if isinstance(value, list) else [value]


def make_match(match):
    (kind, value), = match.items()
    return {"value": q.MatchValue, "any": q.MatchAny, "except": q.MatchExcept, "text": q.MatchText,
            "text_any": q.MatchTextAny, "phrase": q.MatchPhrase}[kind](value)


def make_range(bounds):
    times = any(isinstance(v, str) for v in bounds.values())
    if times:
        return q.RangeDateTime(**bounds)
    return q.RangeFloat(**{k: float(v) for k, v in bounds.items()})


def make_condition(c):
    c = the_same_question(c)
    if "nested" in c:
        return q.NestedCondition(c["nested"]["key"], make_filter(c["nested"]["filter"]))
    if "has_id" in c:
        return q.HasIdCondition(set(c["has_id"]))
    if "has_vector" in c:
        return q.HasVectorCondition(c["has_vector"])
    if "key" in c:
        extra = {k: v for k, v in c.items() if k in ("is_empty", "is_null")}
        return q.FieldCondition(
            c["key"],
            match=make_match(c["match"]) if "match" in c else None,
            range=make_range(c["range"]) if "range" in c else None,
            values_count=q.ValuesCount(**c["values_count"]) if "values_count" in c else None,
            **extra)
    if "is_empty" in c:
        return q.IsEmptyCondition(c["is_empty"]["key"])
    if "is_null" in c:
        return q.IsNullCondition(c["is_null"]["key"])
    return make_filter(c)


def make_filter(f):
    parts = {k: [make_condition(c) for c in as_list(f[k])] for k in ("must", "should", "must_not") if k in f}
    if "min_should" in f:
        parts["min_should"] = q.MinShould([make_condition(c) for c in f["min_should"]["conditions"]],
                                          f["min_should"]["min_count"])
    return q.Filter(**parts)


def main():
    with tempfile.TemporaryDirectory() as folder:
        shard = q.EdgeShard.create(folder, q.EdgeConfig(vectors=q.EdgeVectorParams(2, q.Distance.Dot)))
        shard.update(q.UpdateOperation.upsert_points(
            [q.Point(i, [1.0, 0.0], p) for i, p in enumerate(PAYLOADS)]))
        cases = []
        for f in filters():
            try:
                points, _ = shard.scroll(q.ScrollRequest(limit=1000, filter=make_filter(f)))
            except Exception as problem:  # what the engine refuses is no case
                print(json.dumps(f), problem, file=sys.stderr)
                continue
            cases.append({"filter": f, "rows": sorted(p.id for p in points)})
        shard.close()
    print('{"payloads": [')
    print(",\n".join(json.dumps(p, ensure_ascii=False) for p in PAYLOADS))
    print('], "cases": [')
    print(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases))
    print("]}")


if __name__ == "__main__":
    main()

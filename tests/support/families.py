"""The families of metrics that the program has: each name is a string in its source."""

import glob
import os
import re

import harness

FOLDERS = ("base", "store", "twcs", "ingest", "net", "cluster", "indexer", "windrow")


def sources():
    """The texts of the program's C files."""
    for folder in FOLDERS:
        for path in glob.glob(os.path.join(harness.ROOT, folder, "**", "*.c"), recursive=True):
            with open(path, encoding="utf-8") as file:
                yield file.read()


def families_in_source():
    """But for windrow_kafka_ROLE_*, whose names are put together."""
    return {name for text in sources() for name in re.findall(r'"((?:windrow|process)_[a-z0-9]+(?:_[a-z0-9_]+)?)"', text)}

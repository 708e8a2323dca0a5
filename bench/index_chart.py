#!/usr/bin/env python3
"""Tables and charts of what `windrow bench index --json` measured, of windrow and its peers.

  windrow bench index --kind both --base F --queries F --json >> runs/1.jsonl     once and more, several data sets
  index_chart.py [--svg FOLDER] runs/*.jsonl

Prints a Markdown table for each data set: builds in seconds of processor time (with more than one thread, in brackets,
by the clock), and queries a second where the curve
crosses recall .95, .98 and .99 (between two measured points along a straight line of the rate's logarithm). Rates are
medians over the files; ratios are taken within a file, where both sides ran minutes apart, and are medians too. With
--svg each data set becomes FOLDER/bench-index-NAME.svg, a panel for each number of threads.
"""

import argparse
import collections
import json
import math
import pathlib
import statistics

TARGETS = (0.95, 0.98, 0.99)
RATIOS = (("windrow HNSW", "hnswlib"), ("windrow HNSW", "usearch"), ("windrow IVF-PQ", "faiss IVF-PQ"))
# Library (as its name begins), in the order of tables and legends: colour, dashes, marker.
LOOKS = {
    "windrow HNSW": ("#1d4ed8", "", "circle"),
    "windrow IVF-PQ": ("#0891b2", "", "square"),
    "hnswlib": ("#c2410c", "", "up"),
    "usearch i8": ("#65a30d", "5 3", "down"),
    "usearch": ("#15803d", "", "down"),
    "faiss IVF-PQ batched": ("#9333ea", "5 3", "diamond"),
    "faiss IVF-PQ": ("#9333ea", "", "diamond"),
    "faiss HNSW": ("#be185d", "", "up"),
}
MARKERS = {
    "circle": "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "square": "m-2.7-2.7h5.4v5.4h-5.4z",
    "up": "m0-3.4l3.2 5.8h-6.4z",
    "down": "m0 3.4l3.2-5.8h-6.4z",
    "diamond": "m0-3.8l3.4 3.8l-3.4 3.8l-3.4-3.8z",
}
WORDS = {1: "one thread", 2: "two threads"}
FROM, TO = 0.8, 1.0  # recall, left and right
PANEL, HEIGHT, TOP, LEFT, GAP = 380, 330, 44, 66, 66


class Curve:
    """What one library reached on one data set with a number of threads: in one file, or medians over files."""

    def __init__(self):
        self.settings = collections.defaultdict(list)  # ef or nprobe: (recall, queries a second)
        self.builds, self.wall_builds, self.sizes = [], [], []

    def add(self, row):
        if "build_s" in row:
            self.builds.append(row["build_cpu_s"])
            self.wall_builds.append(row["build_s"])
            self.sizes += [row["bytes"]] if "bytes" in row else []
        elif "recall" in row:
            self.settings[row.get("ef", row.get("nprobe"))].append((row["recall"], row["qps"]))

    def points(self):
        """Best first: a point that another beats in recall and rate is not on the curve."""
        medians = [tuple(map(statistics.median, zip(*seen))) for seen in self.settings.values()]
        best = []
        for recall, rate in sorted(medians, reverse=True):
            if not best or rate > best[-1][1]:
                best.append((recall, rate))
        return best[::-1]

    def rate_at(self, target):
        """(recall, rate): at the target, at the curve's beginning when that is above it, None when never reached."""
        points = self.points()
        if not points or points[-1][0] < target:
            return None
        if points[0][0] >= target:
            return points[0]
        for (low, fast), (high, slow) in zip(points, points[1:]):
            if low <= target <= high:
                part = (target - low) / (high - low)
                return target, math.exp(math.log(fast) * (1 - part) + math.log(slow) * part)
        return None

    def build(self):
        return statistics.median(self.builds) if self.builds else None


def look_of(library):
    for place, (name, look) in enumerate(LOOKS.items()):
        if library.startswith(name):
            return place, look
    return len(LOOKS), ("#475569", "2 2", "circle")


def read(paths):
    """{file or None for all: {(data, library, threads): Curve}}"""
    files = {}
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.startswith("{")]
        for name in (path, None):
            curves = files.setdefault(name, collections.defaultdict(Curve))
            for row in rows:
                if "missing" not in row:
                    curves[row["data"], row["library"], row["threads"]].add(row)
    return files


def thousands(rate):
    return f"{rate / 1000:.1f} k" if rate < 100000 else f"{rate / 1000:.0f} k"


def rate_text(found, target):
    if found is None:
        return "-"
    recall, rate = found
    return thousands(rate) if recall == target else f"{thousands(rate)} ({recall:.3f})".replace("(0", "(")


def ratio_text(values, digits):
    return f"{statistics.median(values):.{digits}f} x" if values else "-"


def ratios(files, data, ours, theirs, threads, measure):
    """measure(ours) and measure(theirs) of each file that has both."""
    found = []
    for name, curves in files.items():
        if name is None or (data, ours, threads) not in curves or (data, theirs, threads) not in curves:
            continue
        pair = measure(curves[data, ours, threads], curves[data, theirs, threads])
        found += [pair] if pair else []
    return found


def rates_ratio(target):
    def measure(ours, theirs):
        mine, other = ours.rate_at(target), theirs.rate_at(target)
        # A curve may begin above the target: ours, which is to our disadvantage, and theirs no higher than ours.
        return mine[1] / other[1] if mine and other and mine[0] >= other[0] else None

    return measure


def build_text(curve, threads):
    if not curve.builds:
        return "-"
    processor, wall = curve.build(), statistics.median(curve.wall_builds)
    processor, wall = (f"{value:.2f} s" if value < 1 else f"{value:.1f} s" for value in (processor, wall))
    return processor if threads == 1 else f"{processor} ({wall})"


def build_ratio(ours, theirs):
    return theirs.build() / ours.build() if ours.build() and theirs.build() else None


def rows_of(files, data, threads):
    """(what, cells): a library a row, then the ratios. Columns: the builds, then the rates at each target."""
    curves = files[None]
    libraries = sorted({key[1] for key in curves if key[0] == data}, key=look_of)
    columns = [(count, target) for count in threads for target in TARGETS]
    for library in libraries:
        own = {count: curves.get((data, library, count), Curve()) for count in threads}
        cells = [build_text(own[count], count) for count in threads]
        yield library, cells + [rate_text(own[count].rate_at(target), target) for count, target in columns]
    for ours, begins in RATIOS:
        for theirs in (library for library in libraries if library.startswith(begins)):
            pair = (files, data, ours, theirs)
            cells = [ratio_text(ratios(*pair, count, build_ratio), 1) for count in threads]
            cells += [ratio_text(ratios(*pair, count, rates_ratio(target)), 2) for count, target in columns]
            if any(cell != "-" for cell in cells):
                yield f"{ours} : {theirs}", cells


def table(files, data):
    threads = sorted({key[2] for key in files[None] if key[0] == data})
    heads = [f"build, {WORDS.get(count, count)}" for count in threads]
    heads += [f"{target:.2f}".lstrip("0") + f", {WORDS.get(count, count)}" for count in threads for target in TARGETS]
    rows = [(data, heads), ("---", ["---"] * len(heads)), *rows_of(files, data, threads)]
    for what, cells in rows:
        print(f"| {what} | " + " | ".join(cells) + " |")
    sizes = collections.defaultdict(list)
    for (name, library, _), curve in files[None].items():
        sizes[library] += curve.sizes if name == data else []
    sizes = [f"{library} {statistics.median(seen) / 1e6:.1f} MB" for library, seen in sizes.items() if seen]
    print(f"\nFiles: {', '.join(sizes)}.\n")


# ---- charts ----


def marker(look, x, y):
    return f'<path fill="{look[0]}" d="M{x:.1f} {y:.1f}{MARKERS[look[2]]}"/>'


def line(look, points):
    dashes = f' stroke-dasharray="{look[1]}"' if look[1] else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline fill="none" stroke="{look[0]}" stroke-width="1.8"{dashes} points="{path}"/>'


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{more}>{words}</text>'


def steps(low, high):
    """1, 2, 5, 10, ... from the one at or below low to the one at or above high."""
    ladder = [digit * 10**power for power in range(1, 7) for digit in (1, 2, 5)]
    first = max(i for i, step in enumerate(ladder) if step <= max(low, 10))
    last = min(i for i, step in enumerate(ladder) if step >= min(high, ladder[-1]))
    return ladder[first : last + 1]


class Panel:
    """The axes for one number of threads; maps recall and rate to places."""

    def __init__(self, left, ticks):
        self.left, self.ticks = left, ticks

    def x(self, recall):
        return self.left + (recall - FROM) / (TO - FROM) * PANEL

    def y(self, rate):
        low, high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        return TOP + HEIGHT - (math.log(rate) - low) / (high - low) * HEIGHT

    def axes(self, words):
        parts = [text(self.left + PANEL / 2, TOP - 12, words, more=' font-weight="600"')]
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<path class="g" d="M{self.left} {y:.1f}h{PANEL}"/>')
            parts.append(text(self.left - 7, y + 4, f"{tick / 1000:g} k" if tick >= 1000 else tick, "end"))
        for recall in (0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0):
            x = self.x(recall)
            parts.append(f'<path class="g" d="M{x:.1f} {TOP}v{HEIGHT}"/>')
            if recall != 0.99:  # no room for its number
                parts.append(text(x, TOP + HEIGHT + 17, "1" if recall == 1 else f"{recall:.2f}".lstrip("0")))
        parts.append(f'<rect class="f" x="{self.left}" y="{TOP}" width="{PANEL}" height="{HEIGHT}"/>')
        parts.append(text(self.left + PANEL / 2, TOP + HEIGHT + 36, "recall@10"))
        return parts

    def curve(self, look, points):
        places = [(self.x(recall), self.y(rate)) for recall, rate in visible(points)]
        return [line(look, places), *(marker(look, x, y) for x, y in places)] if places else []


def visible(points):
    return [point for point in points if point[0] >= FROM]


def legend(libraries, y, width):
    """The parts, and the y of its last line."""
    parts, x = [], LEFT
    for library in libraries:
        look = look_of(library)[1]
        if x + 48 + 7 * len(library) > width:
            x, y = LEFT, y + 20
        parts += [line(look, [(x, y - 4), (x + 26, y - 4)]), marker(look, x + 13, y - 4)]
        parts.append(text(x + 32, y, library, "start"))
        x += 48 + 7 * len(library)
    return parts, y


def chart(curves, data):
    keys = [key for key in curves if key[0] == data and curves[key].points()]
    libraries = sorted({key[1] for key in keys}, key=look_of)
    threads = sorted({key[2] for key in keys})
    rates = [rate for key in keys for _, rate in visible(curves[key].points())]
    ticks = steps(min(rates), max(rates))
    width = LEFT + len(threads) * (PANEL + GAP) - GAP + 24
    legend_parts, bottom = legend(libraries, TOP + HEIGHT + 62, width)
    height = bottom + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#0f172a">',
        "<style>.g{fill:none;stroke:#e2e8f0}.f{fill:none;stroke:#334155}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        text(16, TOP + HEIGHT / 2, "queries a second", more=f' transform="rotate(-90 16 {TOP + HEIGHT / 2:.0f})"'),
    ]
    for place, count in enumerate(threads):
        panel = Panel(LEFT + place * (PANEL + GAP), ticks)
        parts += panel.axes(f"{data}, {WORDS.get(count, f'{count} threads')}")
        for library in reversed(libraries):  # ours on top
            if (data, library, count) in curves:
                parts += panel.curve(look_of(library)[1], curves[data, library, count].points())
    return "\n".join([*parts, *legend_parts, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=pathlib.Path, help="folder for the charts")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    files = read(options.files)
    for data in sorted({key[0] for key in files[None]}):
        table(files, data)
        if options.svg:
            (options.svg / f"bench-index-{data}.svg").write_text(chart(files[None], data), encoding="utf-8")


if __name__ == "__main__":
    main()

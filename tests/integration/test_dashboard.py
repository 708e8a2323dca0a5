"""The dashboard in a real browser: what it shows, what the keyboard does, what hostile data cannot do, and how it looks.

Screenshots of three sizes in both themes stay in build/PRESET/screenshots, for people to look at.
"""

import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser
import harness
from kafka_client import Sender
import service
from servers import Kafka
from service import COLLECTION, MS_PER_HOUR, TOPIC, Windrow

DIM = 16
ROWS = 400
HOURS = 5
HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
LONG_WORD = "x" * 400
SIZES = {"phone": (390, 844), "laptop": (1280, 900), "wall": (3840, 2160)}
THEMES = ("light", "dark")

# Text on its background: 4.5, or 3 where it is large (WCAG 2.1, 1.4.3).
CONTRAST = r"""
const rgb = text => text.match(/[\d.]+/g).map(Number);
const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
function background(element) {
  for (; element; element = element.parentElement) { const c = rgb(getComputedStyle(element).backgroundColor); if (c.length < 4 || c[3] > 0.99) return c; }
  return [255, 255, 255];
}
const low = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode());) {
  const element = node.parentElement, style = getComputedStyle(element);
  if (!node.textContent.trim() || !element.checkVisibility() || element.closest('.skip')) continue;
  let opacity = 1;
  for (let up = element; up; up = up.parentElement) opacity *= getComputedStyle(up).opacity;
  const back = background(element), front = rgb(style.color).slice(0, 3).map((c, i) => opacity * c + (1 - opacity) * back[i]);
  const [a, b] = [luminance(front), luminance(back)], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) low.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${node.textContent.slice(0, 30)}`);
}
return low;
"""

NAMELESS = """
return [...document.querySelectorAll('button, input, select, [role=img]')].filter(element => element.checkVisibility()).filter(element =>
  !(element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.length)).map(element => element.outerHTML.slice(0, 120));
"""

# What sticks out of its box sideways, where nothing scrolls.
OVERFLOWING = """
const wide = [...document.querySelectorAll('body *')].filter(element => !element.closest('.scroller, svg, pre, .skip, dialog:not([open])')
  && element.getBoundingClientRect().right > innerWidth + 1).map(element => `${element.tagName}.${element.className}`);
return document.documentElement.scrollWidth > innerWidth ? [`page: ${document.documentElement.scrollWidth}`, ...wide] : wide;
"""

# The timeline scrolls only where its windows need more room than there is, and shows now at first.
SCROLLED = """
const box = document.querySelector('.scroller'), needed = parseInt(document.getElementById('timeline').style.minWidth);
return box.scrollWidth === Math.max(needed, box.clientWidth) && box.scrollLeft + box.clientWidth >= box.scrollWidth - 1;
"""

# The newest window began a second ago: it is narrower than it is drawn.
JUST_BEGUN = "state.status.clock.wall_ms = Math.max(...state.windows.map(w => w.start_ms)) + 1000; drawTimeline();" + SCROLLED


def record(number, now_ms):
    text = {1: HOSTILE, 2: LONG_WORD, 3: "a comet over the harbour"}.get(number, f"entry {number} about {('boats', 'trains', 'kites')[number % 3]}")
    payload = {"text": text, "topic": ("sea", "rail", "sky")[number % 3], "level": number % 4, "<b>key</b>": "<i>value</i>", "deep": {"a": [1, 2]}}
    if number == 1:
        payload["topic"] = "sea<script>window.pwned=1</script>"
    vector = [((number * 7919 + place * 104729) % 1000) / 1000 for place in range(DIM)]
    return {"id": number, "vector": vector, "payload": payload, "time_ms": now_ms - HOURS * MS_PER_HOUR * (ROWS - number) // ROWS}


@unittest.skipIf(browser.why_not(), browser.why_not())
class Dashboard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        service.for_class(cls, ttl="8h", payload_index=["topic"])
        cls.windrow.create_topic(1)
        now_ms = int(time.time() * 1000)
        sender = Sender(cls.kafka.address)
        sender.send(TOPIC, [(str(number), json.dumps(record(number, now_ms))) for number in range(1, ROWS + 1)])
        cls.windrow.start()
        cls.windrow.wait_caught_up({"0": ROWS})
        cls.windrow.wait_indexed(HOURS - 1)
        sender.send(TOPIC, [("bad", f"{HOSTILE} is not JSON"), ("worse", json.dumps({"id": 9999, "vector": [1, 2], "payload": {}}))])
        cls.windrow.wait_caught_up({"0": ROWS + 2})
        cls.browser = browser.Browser().start()
        cls.addClassCleanup(cls.browser.stop)

    def setUp(self):
        self.page = self.browser
        self.page.show(*SIZES["laptop"], "light")
        self.page.open(self.windrow.url + "/")
        self.page.wait("return document.querySelectorAll('.card').length >= 6 && document.querySelectorAll('.lane button').length", "windows and records")

    def tearDown(self):
        self.assertEqual(self.page.complaints(), [])
        self.assertIsNone(self.page.run("return window.pwned ?? null"))

    def search(self, text):
        """The texts of the cards that come, best first."""
        before = self.page.run("return state.asked")
        self.page.run("$('q').value = arguments[0]; $('q').dispatchEvent(new Event('input')); $('search').requestSubmit();", text)
        self.page.wait(f"return state.asked > {before}", "an answer")
        return self.cards()

    def cards(self):
        self.page.wait("return !$('search-panel').hasAttribute('aria-busy')", "the answer")
        return self.page.run("return [...document.querySelectorAll('.card')].map(card => [card.querySelector('.meta').textContent, card.querySelector('.text').textContent])")

    def test_looks_right_in_three_sizes_and_both_themes(self):
        self.page.wait("return state.samples.length > 1 && document.querySelector('.letters details')", "history and dead letters")
        self.page.run("document.querySelector('.lane button').focus()")
        folder = os.path.join(os.path.dirname(harness.Environment.binary), "screenshots")
        for size, (width, height) in SIZES.items():
            for theme in THEMES:
                with self.subTest(size=size, theme=theme):
                    self.page.show(width, height, theme)
                    self.assertEqual(self.page.run(OVERFLOWING), [])
                    self.assertEqual(self.page.run(CONTRAST), [])
                    self.assertEqual(self.page.run(NAMELESS), [])
                    self.assertEqual(self.page.run(SCROLLED), True)
                    self.assertEqual(self.page.run(JUST_BEGUN), True)
                    self.page.screenshot(os.path.join(folder, f"dashboard-{size}-{theme}.png"))
        self.page.run("openRecord(2)")
        self.page.wait("return document.querySelector('#record[open] pre')", "a record")
        for theme in THEMES:
            self.page.show(*SIZES["phone"], theme)
            self.assertEqual((self.page.run(OVERFLOWING), self.page.run(CONTRAST)), ([], []))
            self.page.screenshot(os.path.join(folder, f"record-phone-{theme}.png"))

    def test_timeline_reaches_from_the_ttl_to_now_and_keys_move_in_it(self):
        windows = self.windrow.windows()
        self.assertEqual(self.page.run("return document.querySelectorAll('.lane button').length"), len(windows))
        edges = self.page.run("const axis = document.querySelector('.axis'); return [axis.firstChild.textContent, axis.lastChild.textContent]")
        self.assertTrue(edges[0].startswith("TTL edge") and edges[1].startswith("now"), edges)
        reach = self.page.run("const range = timeRange(state.status.clock.wall_ms); return [range.now - range.from, range.to === range.now]")
        self.assertEqual(reach, [8 * MS_PER_HOUR, True])
        self.page.run("[...state.buttons.values()].find(button => button.tabIndex === 0).focus()")
        for key, code, place in (("Home", 36, 0), ("ArrowRight", 39, 1), ("End", 35, -1), ("ArrowLeft", 37, -2)):
            self.page.press(key, code)
            wanted = sorted(windows, key=lambda window: window["start_ms"])[place]
            self.page.wait(f"return document.activeElement.window?.start_ms === {wanted['start_ms']}", f"{key} moves the focus")
            shown = self.page.run("return $('window').textContent")
            self.assertIn(wanted["state"], shown)
            self.assertIn(wanted["reason"], shown)
            self.assertIn(f"{wanted['rows']}", shown)
        self.page.run("[...document.querySelectorAll('#window button')].pop().click()")
        self.page.wait(f"return $('answered').textContent.startsWith('6 records') && $('when').value === 'window'", "records of one window")
        starts = self.page.run("return [...document.querySelectorAll('.card')].length")
        self.assertEqual(starts, 6)

    def test_searches_by_words_id_and_vector(self):
        self.assertEqual(self.search("comet harbour"), [[self.page.run("return document.querySelector('.card .meta').textContent"), "a comet over the harbour"]])
        found = self.search("3")
        self.assertIn("the record itself", found[0][0])
        self.assertEqual((found[0][1], len(found)), ("a comet over the harbour", 7))
        found = self.search(json.dumps(record(3, 0)["vector"]))
        self.assertEqual(found[0][1], "a comet over the harbour")
        self.assertEqual(self.search("77777"), [])
        self.assertIn("There is no record 77777", self.page.run("return $('answered').textContent"))
        self.search("[1, 2]")
        self.assertIn("2 numbers, the collection 16", self.page.run("return $('answered').textContent"))
        self.search("kites")
        self.page.run("document.querySelector('.card .actions button').click()")
        self.page.wait("return document.querySelector('.card .score')?.textContent === 'the record itself'", "more like this")

    def test_facets_filter_the_answer(self):
        self.page.run("$('field').value = 'topic'; $('field').dispatchEvent(new Event('change'))")
        self.page.wait("return document.querySelectorAll('#values button').length >= 4", "values")
        counts = self.page.run("return [...document.querySelectorAll('#values button')].map(button => button.textContent)")
        self.assertIn("sky 133", counts)
        self.page.run("[...document.querySelectorAll('#values button')].find(button => button.textContent.startsWith('sky')).click()")
        self.page.wait("const metas = [...document.querySelectorAll('.card')].map(card => card.textContent); return metas.length === 6 && metas.every(text => text.includes('topic sky'))", "records of one topic")

    def test_hostile_data_stays_text(self):
        found = self.search("1")
        self.assertEqual(found[0][1], HOSTILE)
        self.page.run("document.querySelector('.card .actions button:last-child').click()")
        self.page.wait("return document.querySelector('#record[open] pre')", "the record")
        self.assertIn(HOSTILE, self.page.run("return document.querySelector('#record .text').textContent"))
        self.assertEqual(self.page.run("return document.querySelectorAll('main img, main script, main i b, dialog img, dialog script').length"), 0)
        self.page.press("Escape", 27)
        self.page.wait("return !$('record').open", "Escape closes it")
        self.page.wait("return document.querySelector('.letters details')", "dead letters")
        letters = self.page.run("return $('letters').textContent")
        self.assertIn(HOSTILE, letters)
        reasons = {reason["reason"]: reason["count"] for reason in self.windrow.request("GET", "/dead-letters").json()["reasons"]}
        self.assertEqual(sum(reasons.values()), 2, reasons)
        for reason in reasons:
            self.assertIn(f"{reason}: 1", letters)

    def test_top_shows_the_same_on_a_terminal_and_gives_it_back(self):
        plain = self.windrow.command("top")
        self.assertEqual(plain.returncode, 0, plain.stderr)
        self.assertRegex(plain.stdout, rf"{COLLECTION}\n  shard .*\n  0 +test +{ROWS + 2} +0 .* {ROWS} .*running")
        self.assertNotIn("\033", plain.stdout)
        for ending in (b"q", signal.SIGINT):
            with self.subTest(ending):
                screen, terminal = pty.openpty()
                before = termios.tcgetattr(terminal)
                process = subprocess.Popen([harness.Environment.binary, "top", "-c", self.windrow.config_path, "-d", "1"], stdin=terminal, stdout=terminal)
                seen = b""
                while b"q ends" not in seen:
                    self.assertTrue(select.select([screen], [], [], 30)[0], seen)
                    seen += os.read(screen, 65536)
                self.assertIn(b"\033[?1049h", seen)
                self.assertNotEqual(termios.tcgetattr(terminal), before)
                if ending == b"q":
                    os.write(screen, ending)
                else:
                    process.send_signal(ending)
                self.assertEqual(process.wait(30), 0)
                while not seen.endswith(b"\033[?25h\033[?1049l"):
                    self.assertTrue(select.select([screen], [], [], 30)[0], seen[-200:])
                    seen += os.read(screen, 65536)
                self.assertEqual(termios.tcgetattr(terminal), before)
                os.close(screen)
                os.close(terminal)

    def test_numbers_of_the_last_hour_are_there_at_once(self):
        """A page that is opened later has what was before."""
        history = harness.wait_for(lambda: (reply := self.windrow.request("GET", "/history").json())["samples"] and reply, "a sample")
        columns = history["columns"]
        self.assertEqual({len(sample) for sample in history["samples"]}, {len(columns)})
        newest = dict(zip(columns, history["samples"][-1]))
        self.assertGreater(newest["resident_bytes"], 1 << 20)
        self.assertGreater(newest["disk_bytes"], 0)
        later = self.windrow.request("GET", f"/history?since_ms={history['samples'][-1][0]:.0f}").json()["samples"]
        self.assertLessEqual(len(later), 1)
        self.page.wait("return [...document.querySelectorAll('.chart svg')].every(svg => svg.getAttribute('aria-label')?.includes('last hour'))", "charts")
        drawn = self.page.run("return document.querySelector('.chart path').getAttribute('d')")
        self.assertTrue(drawn.startswith("M"), drawn)

    def test_work_under_way_has_bars(self):
        """Builds and merges of so few rows are over before anybody looks: the page is given a status with some."""
        bars = self.page.run("""
            const shard = state.status.collections[0].shards[0], rows = 200;
            state.status.workers.builds = [{collection: "points", shard: "0", window_start_ms: 0, rows, rows_done: 20}];
            shard.windows[0].merge = {rows, rows_done: 150};
            drawBuilds();
            return [...document.querySelectorAll("#builds [role=progressbar]")].map(bar => [bar.ariaLabel.split(",")[0], bar.getAttribute("aria-valuenow"), bar.firstChild.style.width]);
        """)
        self.assertEqual(bars, [["index of points", "10", "10%"], [f"merge of {COLLECTION}", "75", "75%"]])
        windows = self.windrow.request("GET", "/status").json()["collections"][0]["shards"][0]["windows"]
        self.assertEqual({window["merge"] for window in windows}, {None})


@unittest.skipIf(browser.why_not(), browser.why_not())
class LargeNumbers(unittest.TestCase):
    """Snowflake ids are beyond 2^53, where JavaScript's numbers round. Beside them a collection whose graphs are below their floor."""

    IDS = (215250709085334181, 2**64 - 1, 7)
    SCANNED = "scanned"
    SCANNED_DIM = 64
    SCANNED_ROWS = 3000

    @classmethod
    def setUpClass(cls):
        service.for_class(cls)
        weak = {"kind": "hnsw", "recall_floor": 1, "flat_below": 50, "hnsw": {"m": 4, "ef_construct": 8, "ef": 1}}
        cls.windrow.tree["collections"][cls.SCANNED] = {**cls.windrow.tree["collections"][COLLECTION], "topics": [cls.SCANNED], "dim": cls.SCANNED_DIM, "index": weak}
        cls.windrow.configure(cls.windrow.tree)
        cls.windrow.create_topic(1)
        cls.windrow.command("produce", "-C", cls.SCANNED, "--create-topic", "1", "/dev/null")
        now_ms = int(time.time() * 1000)
        chance = random.Random(1)
        Sender(cls.kafka.address).send(cls.SCANNED, [(str(number), json.dumps({"id": number, "vector": [round(chance.gauss(0, 1), 3) for _ in range(cls.SCANNED_DIM)], "payload": {},
                                                                              "time_ms": now_ms - 3 * MS_PER_HOUR})) for number in range(cls.SCANNED_ROWS)])
        Sender(cls.kafka.address).send(TOPIC, [(str(number), json.dumps({**record(number, now_ms), "time_ms": now_ms, "payload": {"text": f"record {number}", "big": 2**63 - 1, "word": f"{2**63 - 1}"}}))
                                               for number in cls.IDS])
        cls.windrow.start()
        cls.windrow.wait_caught_up({"0": len(cls.IDS)})

    def test_page_shows_and_asks_for_the_ids_that_records_have(self):
        page = browser.Browser().start()
        self.addCleanup(page.stop)
        page.open(self.windrow.url + "/")
        page.wait("return document.querySelectorAll('.card').length === 3", "records")
        shown = page.run("return [...document.querySelectorAll('.card .meta')].map(meta => meta.textContent).join(' ')")
        for number in self.IDS:
            self.assertIn(f"id {number}", shown)
        self.assertIn(f"big {2**63 - 1}", shown)
        self.assertIn(f"word {2**63 - 1}", shown)
        for number in self.IDS:
            with self.subTest(number):
                card = f"[...document.querySelectorAll('.card')].find(card => card.textContent.includes('record {number}'))"
                page.run(f"{card}.querySelector('.actions button:last-child').click()")
                page.wait("return document.querySelector('#record[open] pre')", "the record")
                self.assertEqual(page.run("return document.querySelector('#record .text').textContent"), f"record {number}")
                self.assertIn(f'"big": {2**63 - 1}', page.run("return document.querySelector('#record pre').textContent"))
                page.run("document.querySelector('#record .primary').click()")
                # The answer before this one has a first card with the same words: the id tells them apart.
                page.wait(f"const card = document.querySelector('.card'); return card?.querySelector('.score')?.textContent === 'the record itself'"
                          f" && card.querySelector('.meta').textContent.includes('id {number}')", "more like this")
                page.run("$('q').value = arguments[0]; $('q').dispatchEvent(new Event('input')); $('search').requestSubmit();", str(number))
                page.wait(f"return $('reading').textContent.includes('Record {number}') && !$('search-panel').hasAttribute('aria-busy')", "the search by id")
                page.wait(f"return document.querySelector('.card .meta')?.textContent.includes('id {number}')", "the record found by id")
        self.assertEqual(page.complaints(), [])

    def test_window_without_an_index_says_so_and_why(self):
        """What operators look at: the list of windows, the number that the alert reads, and the page."""

        def given_up():
            window, = self.windrow.request("GET", f"/windows?collection={self.SCANNED}").json()["windows"]
            return window if window["reason"].startswith("no index: ") else None

        window = harness.wait_for(given_up, "its graph is given up", 120)
        self.assertRegex(window["reason"], r"^no index: its recall of 0\.\d+ is below index\.recall_floor, 1\.000; the window is scanned$")
        self.assertEqual((window["state"], window["segment"]), ("sealed", None))
        page = browser.Browser().start()
        self.addCleanup(page.stop)
        page.open(self.windrow.url + "/")
        page.wait("return document.querySelectorAll('#collection option').length === 2 && $('trouble').hidden", "both collections, and no trouble with the first")
        page.run("$('collection').value = arguments[0]; $('collection').dispatchEvent(new Event('change'))", self.SCANNED)
        page.wait(f"return $('trouble').textContent.includes('1 window of {self.SCANNED} without an index; of the first: {window['reason']}')", "it says so at the top")
        self.assertTrue(page.run("return $('trouble').checkVisibility()"))
        page.run("document.querySelector('.lane button').click()")
        page.wait(f"return $('window').textContent.includes('{window['reason']}')", "the window says why")
        self.assertEqual(page.complaints(), [])
        counts = {frozenset({f'collection="{COLLECTION}"'}): 0, frozenset({f'collection="{self.SCANNED}"'}): 1}
        harness.wait_for(lambda: self.windrow.metrics("windrow_index_given_up_files") == counts, "the alert's number")


@unittest.skipIf(browser.why_not(), browser.why_not())
class Key(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        service.for_class(cls)
        cls.windrow.create_topic(1)
        cls.windrow.start()

    def test_page_asks_for_the_key_and_keeps_it_in_the_tab(self):
        windrow = self.windrow
        page = browser.Browser().start()
        self.addCleanup(page.stop)
        page.open(windrow.url + "/")
        page.wait("return $('ready').textContent === 'ready'", "the page")
        windrow.stop()
        key_file = os.path.join(windrow.folder, "key")
        with open(key_file, "w", encoding="utf-8") as file:
            file.write("open-sesame")
        os.chmod(key_file, 0o600)
        windrow.tree["http"]["api_key_file"] = key_file
        windrow.configure(windrow.tree)
        windrow.start()
        page.wait("return $('key').open", "it asks")
        for word in ("wrong", "open-sesame"):
            page.run("$('key-input').value = arguments[0]; $('key-form').requestSubmit()", word)
            if word == "wrong":
                page.wait("return $('key').open && $('key-why').textContent.includes('refused')", "it asks again")
        page.wait("return !$('key').open && $('ready').textContent === 'ready'", "the page works with the key")
        self.assertEqual(page.run("return sessionStorage.getItem('api-key')"), "open-sesame")
        page.run("sessionStorage.clear()")
        page.open(windrow.url + "/")
        page.wait("return $('key').open", "the page itself needs no key")


if __name__ == "__main__":
    harness.main()

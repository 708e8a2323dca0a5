"""Web pages of others in a real browser: what they cannot do to a service without a key, and what one that is listed can."""

import contextlib
import json
import os
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import browser
import harness
import service
from servers import Proxy
from service import COLLECTION, TOPIC

DIM = 16
ROWS = 20
PAGE = b"<!DOCTYPE html><title>a page</title><link rel=icon href=data:,><p>hello"
POINTS = f"/collections/{COLLECTION}/points"

# Each gets the service's address and may fail, as long as nothing is deleted or read. A form's field becomes
# NAME=VALUE, which is JSON where the = stands in a string.
HELPERS = """
const url = arguments[0], removal = url + arguments[1] + '/delete?wait=true', points = '{"points":[1,2,3]}';
const refused = promise => promise.then(async reply => reply.type === 'opaque' ? null : await reply.text(), error => null);
const frame = (attributes, fill) => new Promise(done => {
  const one = document.createElement('iframe');
  Object.assign(one, attributes);
  document.body.append(one);
  one.onload = () => done(null);
  if (fill) fill(one);
});
const post = (target, enctype) => {
  const form = document.createElement('form'), field = document.createElement('input');
  Object.assign(form, {method: 'post', action: removal, enctype, target});
  Object.assign(field, {name: '{"points":[1,2,3],"a":"', value: '"}', type: 'hidden'});
  form.append(field);
  document.body.append(form);
  form.submit();
};
"""
FETCHES = {
    "text": "refused(fetch(removal, {method: 'POST', mode: 'no-cors', headers: {'Content-Type': 'text/plain'}, body: points}))",
    "form": "refused(fetch(removal, {method: 'POST', mode: 'no-cors', body: new URLSearchParams(points)}))",
    "bytes": "refused(fetch(removal, {method: 'POST', mode: 'no-cors', body: new Uint8Array([123, 125])}))",
    "blob": "refused(fetch(removal, {method: 'POST', mode: 'no-cors', body: new Blob([points])}))",
    "with_permission": "refused(fetch(removal, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: points}))",
    "without_body": "refused(fetch(url + '/clock/trust', {method: 'POST', mode: 'no-cors'}))",
    "drop": f"refused(fetch(url + '/collections/{COLLECTION}', {{method: 'DELETE'}}))",
    "read": "refused(fetch(url + '/collections'))",
    "read_by_post": "refused(fetch(url + arguments[1] + '/scroll', {method: 'POST', headers: {'Content-Type': 'text/plain'}, body: '{}'}))",
    "form_as_text": "frame({name: 'one'}, one => post('one', 'text/plain'))",
    "form_as_parts": "frame({name: 'two'}, one => post('two', 'multipart/form-data'))",
    "sandbox": "frame({sandbox: 'allow-scripts', srcdoc: `<script>onload = () => 0; "
    "fetch(${JSON.stringify(removal)}, {method: 'POST', mode: 'no-cors', body: ${JSON.stringify(points)}})<` + '/script>'})",
}
BEACON = "return navigator.sendBeacon(removal, new Blob([points], {type: 'text/plain'}))"
# Answers that a page would show or run.
EMBEDDED = """
const load = (name, attributes) => new Promise(done => {
  const one = document.createElement(name);
  Object.assign(one, attributes);
  one.onload = () => done(name + ' was loaded');
  one.onerror = () => done(null);
  document.body.append(one);
});
return Promise.all([load('script', {src: url + '/metrics'}), load('script', {src: url + '/dashboard.js'}), load('img', {src: url + '/'}),
                    load('link', {rel: 'stylesheet', href: url + '/dashboard.css'})]);
"""


class Site(Proxy):
    """A web server of somebody else, one page under every name. After rebind() its names stand for windrow, as when its
    owner points them to 127.0.0.1: what a browser sends for them gets there as it is."""

    def __init__(self, port):
        super().__init__(port)
        self.port = int(self.address.rpartition(":")[2])
        self.bound = False

    def rebind(self):
        self.bound = True

    def connect(self, near):
        with contextlib.suppress(OSError):
            near.recv(1, socket.MSG_PEEK) # a browser opens connections before it needs them
        if self.bound:
            super().connect(near)
            return
        with near, contextlib.suppress(OSError):
            near.recv(65536)
            near.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
            near.shutdown(socket.SHUT_WR)


@unittest.skipIf(browser.why_not(), browser.why_not())
class WebPages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        service.for_class(cls)
        cls.windrow.create_topic(1)
        now_ms = int(time.time() * 1000)
        values = [{"id": number, "vector": [0.5] * DIM, "payload": {"secret": "kestrel"}, "time_ms": now_ms} for number in range(1, ROWS + 1)]
        cls.kafka.produce(TOPIC, [(str(value["id"]), json.dumps(value)) for value in values])
        cls.site = Site(cls.windrow.port)
        cls.windrow.tree["http"]["cors_origins"] = [f"http://friend.test:{cls.site.port}"]
        cls.windrow.configure(cls.windrow.tree)
        cls.windrow.start()
        cls.windrow.wait_caught_up({"0": ROWS})
        cls.page = browser.Browser("--host-resolver-rules=MAP *.test 127.0.0.1").start()
        cls.addClassCleanup(cls.page.stop)

    def setUp(self):
        self.site.bound = False
        self.rows = self.count()

    def open(self, name):
        self.page.open(f"http://{name}:{self.site.port}/")
        self.assertEqual(self.page.run("return document.title"), "a page")

    def count(self):
        return self.windrow.post("/points/count", {})["count"]

    def run_on_page(self, script, url=None):
        return self.page.run(HELPERS + script, self.windrow.url if url is None else url, POINTS)

    def refused(self):
        """Requests that were answered 403 or 415."""
        return sum(value for labels, value in self.windrow.metrics("windrow_http_requests_total").items() if labels & {'code="403"', 'code="415"'})

    def test_page_of_another_origin_deletes_and_reads_nothing(self):
        self.open("foreign.test")
        for name, script in FETCHES.items():
            with self.subTest(name):
                before = self.refused()
                self.assertIsNone(self.run_on_page(f"return {script}"))
                harness.wait_for(lambda before=before: self.refused() > before, "it was asked, and refused")
        before = self.refused()
        self.assertTrue(self.run_on_page(BEACON))
        harness.wait_for(lambda: self.refused() > before, "the beacon came, and was refused")
        self.assertEqual(self.run_on_page(EMBEDDED), [None] * 4)
        self.assertEqual(self.count(), self.rows)
        # Where the whole page goes, its visitor sees why.
        self.run_on_page("post('_self', 'text/plain')")
        text = self.page.wait("return document.body.textContent.includes('status') && document.body.textContent", "the answer")
        self.assertIn("may not use this service", text)
        self.assertEqual(self.count(), self.rows)

    def test_page_of_a_name_that_was_pointed_here_deletes_and_reads_nothing(self):
        self.open("rebound.test")
        self.site.rebind()
        for name in ("with_permission", "text", "without_body", "read", "read_by_post"):
            with self.subTest(name):
                text = self.run_on_page(f"return {FETCHES[name]}", url="")
                self.assertIn(f"Host rebound.test:{self.site.port} is not a name of this service", text)
                self.assertNotIn("kestrel", text)
        self.assertEqual(self.count(), self.rows)
        # Under a name of ours the same reaches the service.
        self.site.bound = False
        self.open("localhost")
        self.site.rebind()
        self.assertIn("kestrel", self.run_on_page("return refused(fetch(arguments[1] + '/scroll', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}))", url=""))

    def test_page_that_is_listed_deletes_and_reads(self):
        self.open("friend.test")
        self.assertIn('"ok"', self.run_on_page(f"return {FETCHES['with_permission'].replace('points}', 'JSON.stringify({points: [20]})}')}"))
        self.assertEqual(self.count(), self.rows - 1)
        self.assertIn("kestrel", self.run_on_page(f"return {FETCHES['read_by_post']}"))
        # Text needs no permission of ours, so that it tells nothing about who sends it.
        self.assertIn("expected application/json", self.run_on_page("return refused(fetch(removal, {method: 'POST', body: points}))"))
        self.assertEqual(self.count(), self.rows - 1)


if __name__ == "__main__":
    harness.main()

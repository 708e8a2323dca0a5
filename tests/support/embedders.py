"""Embedding endpoints: the one of the examples, which runs a real model, and one that does what a test tells it."""

import http.server
import json
import os
import threading

import harness
from servers import Server

DIM = 384  # of the model


class Embedder(Server):
    """examples/embedder.py."""

    def __init__(self):
        super().__init__(harness.scratch_folder("embedder"))
        self.url = None

    def start(self):
        python = os.path.join(harness.CACHE, "venv-embed", "bin", "python")
        self.log_path = os.path.join(self.folder, "embedder.log")
        self.spawn([python, "-B", os.path.join(harness.ROOT, "examples", "embedder.py"), "--port", "0"])
        self.url = harness.wait_for(lambda: next((line for line in self.log().splitlines() if line.startswith("http")), None), "the embedder starts")
        return self


def vector_of(text, dim):
    """Every text has one of its own."""
    return [float((hash_of(text) >> place) % 97 + 1) for place in range(dim)]


def hash_of(text):
    value = 14695981039346656037
    for byte in text.encode():
        value = (value ^ byte) * 1099511628211 % (1 << 64)
    return value


class Scripted:
    """Answers with vector_of, or with what `behave(handler, texts)` does when it returns True. `requests` has
    (headers, document) of each request."""

    def __init__(self, dim):
        self.dim, self.requests, self.behave = dim, [], None
        self.held = threading.Event()  # set: nobody is held
        self.held.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((dict(self.headers), document))
                outer.held.wait(60)
                if not (outer.behave and outer.behave(self, document["input"])):
                    items = [{"index": place, "embedding": vector_of(text, outer.dim)} for place, text in enumerate(document["input"])]
                    self.answer(200, json.dumps({"data": items[::-1]}))

            def answer(self, status, body):
                data = body.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """Who asked has gone."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/embeddings"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def texts(self):
        """Of the requests so far, those of each."""
        return [document["input"] for _, document in self.requests]

    def forget(self):
        self.requests.clear()
        self.behave = None
        self.held.set()

    def stop(self):
        self.held.set()
        self.server.shutdown()
        self.server.server_close()

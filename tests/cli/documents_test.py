"""The forward pass and the packed forms, written from docs/formats.md alone: the losses are those of `mote eval`."""

import heapq
import json
import math
import struct
import unittest
from pathlib import Path

from program import ProgramTest, mote

TYPES = {"F32": "f", "U8": "B", "U16": "H", "U32": "I", "U64": "Q", "BF16": "H"}


def product(values):
    return math.prod(values, start=1)


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def from_bf16(bits):
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


class Tensors:
    """model.safetensors: name -> (shape, flat numbers)."""

    def __init__(self, path):
        data = path.read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        self.entries = json.loads(data[8:8 + length])
        self.data = data[8 + length:]

    def flat(self, name):
        entry = self.entries[name]
        values = struct.unpack_from(f"<{product(entry['shape'])}{TYPES[entry['dtype']]}", self.data,
                                    entry["data_offsets"][0])
        return [from_bf16(v) for v in values] if entry["dtype"] == "BF16" else list(values)

    def rows(self, name):
        """A matrix, or a stack of them one after another, as rows."""
        values, width = self.flat(name), self.entries[name]["shape"][-1]
        return [values[i:i + width] for i in range(0, len(values), width)]


def codewords():
    """The dictionary of q16: per codeword its list of pairs, as numbers 3 a + b."""
    p = (0.885, (1 - 0.885) / 2, (1 - 0.885) / 2)
    probability = [(1.0 * p[pair // 3]) * p[pair % 3] for pair in range(9)]
    queue, made = [(-1.0 * probability[pair], (pair,)) for pair in range(9)], []
    heapq.heapify(queue)
    for _ in range(65536):
        key, pairs = heapq.heappop(queue)
        made.append(pairs)
        if len(pairs) < 14:
            for pair in range(9):
                heapq.heappush(queue, (key * probability[pair], (*pairs, pair)))
    return made


def q16_rows(tensors, t, words):
    name, experts, out = t["name"], t["experts"], t["out"]
    codes, offsets = tensors.flat(name + ".codes"), tensors.flat(name + ".offsets")
    base, start = tensors.flat(name + ".row_base"), tensors.flat(name + ".row_start")
    levels = tensors.flat(name + ".levels")
    group = 16
    while (group - 1) * ((t["in"] + 1) // 2) > 65535:
        group //= 2
    groups = (out + group - 1) // group
    rows = []
    for e in range(experts):
        begins = [offsets[e] + base[e * groups + r // group] + start[e * out + r] for r in range(out)]
        for r, (begin, end) in enumerate(zip(begins, [*begins[1:], offsets[e + 1]])):
            value = (0, *levels[2 * (e * out + r):][:2])
            trits = [trit for code in codes[begin:end] for pair in words[code]
                     for trit in (pair % 3, pair // 3)]
            rows.append([value[trit] for trit in trits[:t["in"]]])
    return rows


def two_bit_rows(tensors, t):
    name, tiles = t["name"], (t["in"] + 15) // 16
    codes, scales, zeros = (tensors.flat(f"{name}.{part}") for part in ("codes", "scales", "zeros"))
    rows = []
    for e in range(t["experts"]):
        for r in range(t["out"]):
            panel = e * ((t["out"] + 15) // 16) + r // 16
            at = e * t["out"] + r
            rows.append([scales[at] * ((codes[(panel * tiles + c // 16) * 64 + 4 * (r % 16) + c % 4]
                                        >> 2 * (c % 16 // 4) & 3) - zeros[at]) for c in range(t["in"])])
    return rows


class Model:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors = Tensors(folder / "model.safetensors")
        self.cache = {}
        packed = self.config.get("quantization_config", {"tensors": []})["tensors"]
        words = codewords() if any(t["coder"] == "q16" for t in packed) else None
        for t in packed:
            self.cache[t["name"]] = (q16_rows(self.tensors, t, words) if t["coder"] == "q16"
                                     else two_bit_rows(self.tensors, t))

    def rows(self, name):
        if name not in self.cache:
            self.cache[name] = self.tensors.rows(name)
        return self.cache[name]

    def vector(self, name):
        if name not in self.cache:
            self.cache[name] = self.tensors.flat(name)
        return self.cache[name]

    def times(self, name, x, bias=False):
        y = [dot(row, x) for row in self.rows(name + ".weight")]
        return [a + b for a, b in zip(y, self.vector(name + ".bias"))] if bias else y

    def norm(self, name, x):
        mean = math.fsum(x) / len(x)
        variance = math.fsum((v - mean) ** 2 for v in x) / len(x)
        scale = 1 / math.sqrt(variance + 0.00001)
        return [(v - mean) * scale * w + b
                for v, w, b in zip(x, self.vector(name + ".weight"), self.vector(name + ".bias"))]

    def attention(self, name, h):
        kind, d, block = self.config["attention"], self.config["dim"], self.config["context"]
        heads, width, xl = kind["heads"], kind["head_dim"], kind["kind"] == "transformer_xl"
        q, k, v = ([self.times(f"{name}.{part}", x, kind.get("bias", False)) for x in h] for part in "qkv")

        def encoded(n):
            angles = [n * 10000 ** (-2 * m / d) for m in range(d // 2)]
            return self.times(name + ".position", [f(a) for a in angles for f in (math.sin, math.cos)])

        position = {n: encoded(n) for n in range(1 - len(h), 1)} if xl else {}
        out = []
        for i in range(len(h)):
            first = max(0, i // block * block - kind["eval_memory_blocks"] * block) if xl else 0
            joined = []
            for a in range(heads):
                part = slice(a * width, (a + 1) * width)
                query = q[i][part]
                if xl:
                    scale = self.vector(name + ".scale")[0]
                    u, w = ([x + y for x, y in zip(query, self.vector(f"{name}.{bias}")[part])]
                            for bias in ("content_bias", "position_bias"))
                    scores = [scale * (dot(u, k[j][part]) + dot(w, position[j - i][part]))
                              for j in range(first, i + 1)]
                else:
                    scores = [dot(query, k[j][part]) / math.sqrt(width) for j in range(first, i + 1)]
                weights = [math.exp(s - max(scores)) for s in scores]
                joined += [math.fsum(p * v[first + n][c] for n, p in enumerate(weights)) / math.fsum(weights)
                           for c in range(a * width, (a + 1) * width)]
            out.append(self.times(name + ".out", joined, kind.get("bias", False)))
        return out

    def next_state(self, name, h, state):
        u = self.times(name + ".project", h)
        p = len(u)
        a = [x + b for x, b in zip((dot(row, u) for row in self.rows("router_cell.input.weight")),
                                   self.vector("router_cell.input.bias"))]
        b = [x + c for x, c in zip((dot(row, state) for row in self.rows("router_cell.hidden.weight")),
                                   self.vector("router_cell.hidden.bias"))]
        r, t = ([sigmoid(x + y) for x, y in zip(a[i:i + p], b[i:i + p])] for i in (0, p))
        n = [math.tanh(x + each * y) for x, each, y in zip(a[2 * p:], r, b[2 * p:])]
        return [(1 - each) * x + each * y for each, x, y in zip(t, n, state)]

    def routed(self, name, h, keyed, token, state):
        """The experts of a token and their gates."""
        router = self.config["feed_forward"]["router"]
        k, score = router["experts_per_token"], router["score"]
        if score["kind"] == "hash":
            picked = score["table"][token * k:token * k + k]
            return picked, [1] * k
        read = {"linear": h, "avg_k": keyed}.get(score["kind"])
        if score["kind"] == "recurrent":
            read = state[:] = self.next_state(name, h, state or [0] * score["state_dim"])
        z = self.times(name, read, score.get("bias", False))
        picked = sorted(range(len(z)), key=lambda e: (-z[e], e))[:k]
        among = picked if router["gate"] == "softmax_after" else range(len(z))
        total = math.fsum(math.exp(z[e]) for e in among)
        gates = [{"sigmoid": sigmoid(z[e]), "one": 1}.get(router["gate"], math.exp(z[e]) / total)
                 for e in picked]
        if router["renormalise"]:
            gates = [gate / math.fsum(gates) for gate in gates]
        return picked, gates

    def feed_forward(self, name, h, token, state):
        """`state`: of the token, from the recurrent router before; a list that is changed."""
        kind = self.config["feed_forward"]
        if kind["kind"] == "dense":
            hidden = [max(v, 0) for v in self.times(name + ".up", h, bias=True)]
            return self.times(name + ".down", hidden, bias=True)
        keyed = self.times(name + ".experts.basis", h) if kind["key_rank"] else h
        picked, gates = self.routed(name + ".router", h, keyed, token, state)
        up, down = self.rows(name + ".experts.up"), self.rows(name + ".experts.down")
        g, d, y = kind["expert_width"], len(h), [0.0] * len(h)
        for e, gate in zip(picked, gates):
            hidden = [max(dot(row, keyed), 0) for row in up[e * g:(e + 1) * g]]
            y = [s + gate * dot(row, hidden) for s, row in zip(y, down[e * d:(e + 1) * d])]
        return y

    def losses(self, inputs, targets):
        learned = self.config["positions"] == "learned"
        x = [list(self.rows("embedding.weight")[token]) for token in inputs]
        if learned:
            x = [[a + b for a, b in zip(row, self.rows("positions.weight")[i])] for i, row in enumerate(x)]
        states = [[] for _ in inputs]
        for block in (f"blocks.{i}" for i in range(self.config["layers"])):
            a = self.attention(block + ".attention", [self.norm(block + ".attention_norm", row) for row in x])
            x = [[s + t for s, t in zip(row, more)] for row, more in zip(x, a)]
            x = [[s + t for s, t in zip(row, self.feed_forward(
                block + ".feed_forward", self.norm(block + ".feed_forward_norm", row), token, state))]
                 for row, token, state in zip(x, inputs, states)]
        head = "embedding" if self.config["tied"] else "head"
        for row, target in zip(x, targets):
            logits = [dot(w, self.norm("norm", row)) for w in self.rows(head + ".weight")]
            if self.config["head"]["bias"]:
                logits = [a + b for a, b in zip(logits, self.vector("head.bias"))]
            largest = max(logits)
            yield largest + math.log(math.fsum(math.exp(v - largest) for v in logits)) - logits[target]

    def loss(self, documents):
        """Of documents as bytes, with the byte tokenizer: byte b is token b, the end of text is 256."""
        learned, losses = self.config["positions"] == "learned", []
        for document in documents:
            tokens = [256, *document]
            step = self.config["context"] if learned else len(tokens)
            for first in range(0, len(tokens) - 1, step):
                targets = tokens[first + 1:first + 1 + step]
                losses += self.losses(tokens[first:first + len(targets)], targets)
        return math.fsum(losses) / len(losses)


class Documents(ProgramTest):
    TEXTS = ("the small gate reads deep text under wide experts, again and", "", "a model")

    def assert_loss(self, folder):
        corpus = self.scratch / "texts.jsonl"
        corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in self.TEXTS))
        result = mote("eval", folder, "--data", corpus, "--json")
        self.assert_done(result)
        mine = Model(folder).loss([text.encode() for text in self.TEXTS if text])
        self.assertAlmostEqual(mine, result.json()["loss"], delta=1e-5)

    def trained(self, *overrides, to="run"):
        run = self.scratch / to
        words = [word for each in ("training.learning_rate=0.02", *overrides) for word in ("--set", each)]
        self.assert_done(self.train(run, *words))
        return run

    def test_a_reader_written_from_them_finds_the_loss_of_experts(self):
        self.assert_loss(self.trained())

    def test_a_reader_written_from_them_finds_the_loss_of_other_routers(self):
        table = ", ".join(str(i * 7 % 4) for i in range(2 * 257))
        unlearned = ("router.gate=one", "entropy_weight=0", "expert_dropout=0")
        for name, router in (
                ("softmax", ("router.gate=softmax_before", "router.score.bias=true")),
                ("renormalised", ("router.gate=softmax_after", "router.renormalise=true")),
                ("recurrent", ("router.score.kind=recurrent", "router.score.state_dim=5",
                               "router.renormalise=true")),
                ("avg_k", ("router.score.kind=avg_k", "key_rank=7", *unlearned)),
                ("hash", ('router.score={kind="hash", table=[' + table + "]}", *unlearned))):
            with self.subTest(name):
                self.assert_loss(self.trained(*("model.feed_forward." + each for each in router),
                                              to=name))

    def test_a_reader_written_from_them_finds_the_loss_of_packed_experts(self):
        run = self.trained()
        for bits in ("ternary", "2"):
            packed = self.scratch / bits
            self.assert_done(mote("compress", run, packed, "--bits", bits, "--samples", "4",
                                  "--calibration", self.shared / "train.txt"))
            self.assert_loss(packed)

    def test_a_reader_written_from_them_finds_the_loss_of_a_dense_causal_model(self):
        self.assert_loss(self.trained(
            "model.attention.kind=causal", "model.attention.heads=2", "model.attention.head_dim=6",
            "model.attention.bias=true", "model.positions=learned", "model.tied=true",
            "model.feed_forward.kind=dense", "model.feed_forward.width=24"))


if __name__ == "__main__":
    unittest.main()

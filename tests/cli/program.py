"""Runs the program as a stranger would; what the tests of this folder share.

MOTE names the program (default: build/mote). Only the standard library is used, and every text is made here.
"""

import json
import os
import random
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

PROGRAM = os.environ.get("MOTE", str(Path(__file__).parents[2] / "build" / "mote"))
# Threads that wait for each other by spinning take minutes when other programs keep the cores busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

RECIPE = """
[data]
train = "{folder}/train.txt"
valid = "{folder}/valid.txt"
tokenizer = "bytes"
[model]
layers = 2
dim = 16
context = 16
dropout = 0.1
[model.attention]
heads = 2
head_dim = 8
[model.feed_forward]
experts = 4
expert_width = 8
experts_per_token = 2
expert_dropout = 0.1
entropy_weight = 0.001
[training]
steps = 60
streams = 4
learning_rate = 3e-3
save_every = 7
log_every = 1
eval_every = 20
"""

WORDS = "a small model of sparse experts reads wide or deep text under the gate".split()


def make_text(words, seed):
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words)) + "\n"


class Result:
    def __init__(self, done):
        self.status = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr

    def json(self):
        """The one JSON object on stdout; anything else there fails."""
        return json.loads(self.stdout)

    def complaint(self):
        """The last line on stderr, which says what went wrong."""
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else ""


def mote(*words, prefix=(), timeout=120, **options):
    command = [*prefix, PROGRAM, *map(os.fspath, words)]
    done = subprocess.run(command, capture_output=True, timeout=timeout, **options)
    done.stdout = done.stdout.decode(errors="replace")
    done.stderr = done.stderr.decode(errors="replace")
    return Result(done)


def losses(folder):
    """Everything in metrics.jsonl that a rerun must repeat, line by line."""
    keys = ("step", "loss", "mean_loss", "grad_norm", "valid_loss")
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k in keys} for line in lines]


def header_of(path):
    """Of a safetensors file: its tensors' entries by name."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    return {name: entry for name, entry in header.items() if not name.startswith("__")}


def tensors_in(path):
    """Of a safetensors file: where each tensor's bytes begin and end in it."""
    (length,) = struct.unpack_from("<Q", Path(path).read_bytes())
    return {name: [8 + length + at for at in entry["data_offsets"]]
            for name, entry in header_of(path).items()}


def set_numbers(path, tensor, values, at=0):
    """Writes floats of a tensor of a safetensors file, from number `at` on."""
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(values)}f", data, tensors_in(path)[tensor][0] + 4 * at, *values)
    path.unlink()  # it may be a link to a checkpoint's
    path.write_bytes(data)


def set_weights(folder, tensor, values, at=0):
    set_numbers(Path(folder) / "model.safetensors", tensor, values, at)


def state_of(folder):
    """What a run goes on from: the training state of the checkpoint that is named the latest."""
    checkpoints = Path(folder) / "checkpoints"
    latest = checkpoints / "latest"
    name = latest.read_text().strip() if latest.exists() else "none"
    return checkpoints / name / "training_state.safetensors"


class ProgramTest(unittest.TestCase):
    """A folder with a recipe and its texts, shared by the tests of a class, and a scratch folder each."""

    @classmethod
    def setUpClass(cls):
        cls.shared = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="mote-cli-")))
        (cls.shared / "train.txt").write_text(make_text(4000, seed=1))
        (cls.shared / "valid.txt").write_text(make_text(300, seed=2))
        cls.recipe = cls.shared / "recipe.toml"
        cls.recipe.write_text(RECIPE.format(folder=cls.shared))

    def setUp(self):
        self.scratch = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="mote-cli-")))

    def train(self, out, *words, **options):
        return mote("train", self.recipe, "--out", out, *words, **options)

    def assert_done(self, result):
        self.assertEqual(result.status, 0, result.stderr)

    def assert_refused(self, result, status, *parts):
        """One line on stderr that has all the parts, and the exit status."""
        self.assertEqual(result.status, status, result.stderr)
        complaint = result.complaint()
        self.assertTrue(complaint.startswith("mote: "), result.stderr)
        self.assertEqual(result.stderr.count("mote: "), 1, result.stderr)
        for part in parts:
            self.assertIn(str(part), complaint)

    def assert_nothing_temporary(self, folder):
        self.assertEqual([p.name for p in Path(folder).rglob(".*.tmp-*")], [])


class TrainedTest(ProgramTest):
    """A trained model, shared by the tests of a class."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = cls.shared / "model"
        done = mote("train", cls.recipe, "--out", cls.model)
        assert done.status == 0, done.stderr

    def quick_calls(self):
        """Of every verb, by its name: arguments with which it succeeds within seconds."""
        valid = self.shared / "valid.txt"
        return {
            "train": [self.recipe, "--out", self.scratch / "run"],
            "compare": [Path(__file__).parents[2] / "recipes" / "compare" / "smoke.toml", "--dry-run"],
            "eval": [self.model, "--data", valid],
            "generate": [self.model, "-p", "a", "-n", "3"],
            "prepare": [valid, "--out", self.scratch / "tokens"],
            "compress": [self.model, self.scratch / "small", "--bits", "2", "--method", "rtn"],
            "inspect": [self.model],
            "convert": [self.model, self.scratch / "converted", "--to", "safetensors"],
            "doctor": [],
            "bench": ["memory", "--only", "L2", "--repeat", "2"],
        }

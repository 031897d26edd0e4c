"""Encoder-decoders through the whole program: learn gaps and pairs, go on after a stop, are scored, write, are compressed."""

import json
import unittest

from program import ProgramTest, mote

TEXT = "".join(f"{{\"text\": \"the {a} {b} sees the {b} {a} near the {c}\"}}\n"
               for a in ("old", "red", "big", "wet") for b in ("fox", "dog", "cat", "owl") for c in ("hill", "lake", "barn", "tree"))
WORDS = ("one", "two", "three", "four", "five", "six")
# Two numbers in any order, and the smaller one first.
PAIRS = [{"source": f"{a} {b}", "target": " ".join(sorted((a, b), key=WORDS.index))} for a in WORDS for b in WORDS if a != b]
RECIPE = """
version = 6
[data]
train = "{train}"
valid = "{train}"
valid_bytes = 2000
tokenizer = "unigram"
vocab_size = 300
{data}
[model]
layers = 2
dim = 32
context = 24
norms = {{ kind = "rms" }}
head = {{ bias = false }}
attention = {{ kind = "bucketed", heads = 2, head_dim = 16 }}
feed_forward = {{ kind = "dense", width = 64, bias = false }}
[model.encoder]
layers = 2
context = 32
[[model.encoder.rules]]
layers = "1::2"
feed_forward = {{ kind = "mixture", experts = 4, expert_width = 32, router = {{ experts_per_token = 1, gate = "softmax_before" }} }}
[[model.rules]]
layers = "1::2"
feed_forward = {{ kind = "mixture", experts = 4, expert_width = 32, router = {{ experts_per_token = 1, gate = "softmax_before" }} }}
[training]
steps = {steps}
streams = 8
accumulate = {accumulate}
learning_rate = 5e-3
warmup = 5
clip_norm = 1.0
eval_every = 20
save_every = 20
"""


class EncoderDecoderTest(ProgramTest):
    def recipe_file(self, train, name, data="", steps=60, accumulate=1):
        path = self.scratch / name
        path.write_text(RECIPE.format(train=train, data=data, steps=steps, accumulate=accumulate))
        return path

    def text(self):
        path = self.scratch / "text.jsonl"
        path.write_text(TEXT)
        return path

    def pairs(self):
        path = self.scratch / "pairs.jsonl"
        path.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
        return path

    def gaps_recipe(self, **more):
        return self.recipe_file(self.text(), "gaps.toml", 'task = "span_corruption"', **more)

    def pairs_recipe(self, **more):
        return self.recipe_file(self.pairs(), "pairs.toml", 'task = "pairs"\ntext_key = "source"', **more)

    def test_learns_gaps_scores_them_and_fills_one(self):
        run = self.scratch / "run"
        facts = mote("train", self.gaps_recipe(steps=100), "--out", run, "--json").json()
        losses = [json.loads(line)["valid_loss"] for line in (run / "metrics.jsonl").read_text().splitlines()
                  if "valid_loss" in line]
        self.assertLess(losses[-1], losses[0] - 0.3)
        self.assertEqual(losses[-1], facts["valid_loss"])
        score = mote("eval", run, "--data", self.text(), "--max-bytes", "2000", "--json").json()
        self.assertGreater(score["tokens"], 0)
        self.assertNotIn("bits_per_byte", score)
        seen = mote("inspect", run, "--json").json()
        self.assertEqual(seen["encoder"], {"layers": 2, "experts_per_layer": [0, 4], "experts_per_token": [0, 1]})
        self.assertEqual(sum(seen["bytes_in"].values()), seen["bytes"])
        config = json.loads((run / "generation_config.json").read_text())
        self.assertEqual(config, {"decoder_start_token_id": 0, "eos_token_id": 1})
        text = mote("generate", run, "-p", "the old <extra_id_0> the fox old near the hill", "-n", "8", "--temperature", "0",
                    "--json").json()
        self.assertIn("<extra_id_0>", text["text"])

    def test_a_stopped_run_goes_on_with_the_same_bits(self):
        for name, recipe in (("gaps", self.gaps_recipe), ("pairs", self.pairs_recipe)):
            whole, parts = self.scratch / f"{name}-whole", self.scratch / f"{name}-parts"
            mote("train", recipe(steps=40), "--out", whole)
            mote("train", recipe(steps=20), "--out", parts, "--set", "training.schedule_steps=40")
            mote("train", recipe(steps=40), "--out", parts, "--resume", "--set", "training.schedule_steps=40")
            self.assertEqual((whole / "model.safetensors").read_bytes(), (parts / "model.safetensors").read_bytes(), name)

    def test_parts_of_a_batch_weigh_by_their_targets(self):
        once = mote("train", self.pairs_recipe(steps=1), "--out", self.scratch / "once", "--json").json()
        parts = mote("train", self.pairs_recipe(steps=1, accumulate=4), "--out", self.scratch / "parts", "--json").json()
        self.assertAlmostEqual(once["train_loss"], parts["train_loss"], places=5)

    def test_learns_pairs_and_writes_targets(self):
        run = self.scratch / "run"
        mote("train", self.pairs_recipe(steps=500), "--out", run)
        score = mote("eval", run, "--data", self.pairs(), "--text-key", "source", "--target-key", "target", "--json").json()
        self.assertLess(score["loss"], 0.5)
        right = 0
        for pair in PAIRS[1::5]:
            greedy = mote("generate", run, "-p", pair["source"], "-n", "40", "--temperature", "0", "--json").json()
            self.assertEqual(greedy["stop_reason"], "end_of_text")
            right += greedy["text"].strip() == pair["target"]
            beams = mote("generate", run, "-p", pair["source"], "-n", "40", "--beams", "3", "--json").json()
            self.assertTrue(beams["text"])
        self.assertGreaterEqual(right, 4, "of 6")
        printed = mote("generate", run, "-p", "six one", "-n", "40", "--temperature", "0").stdout
        self.assertEqual(printed.count("six"), 1, "the target alone is printed")
        warned = mote("generate", run, "-p", "six one", "--beams", "2", "--temperature", "0.5", "--repeat-penalty", "1.5")
        for flag in ("--temperature", "--repeat-penalty"):
            self.assertIn(flag, warned.stderr)
        endless = mote("generate", run, "-p", "six one", "-n", "20", "--beams", "2", "--ignore-eos", "--json").json()
        self.assertEqual((endless["new_tokens"], endless["stop_reason"]), (20, "length"))

    def test_is_compressed_with_and_without_special_tokens(self):
        run = self.scratch / "run"
        mote("train", self.gaps_recipe(), "--out", run)
        sizes = {}
        for name, flags in (("masked", []), ("counted", ["--count-special"])):
            out = self.scratch / name
            facts = mote("compress", run, out, "--bits", "ternary", "--validation-bytes", "2000", "--json", *flags).json()
            self.assertEqual(facts["experts"]["total"], 8)
            self.assertNotEqual(facts["loss_after"], facts["loss_before"])
            sizes[name] = (out / "model.safetensors").read_bytes()
            score = mote("eval", out, "--data", self.text(), "--max-bytes", "2000", "--json").json()
            self.assertAlmostEqual(score["loss"], facts["loss_after"], places=5)
            text = mote("generate", out, "-p", "the old <extra_id_0> sees", "-n", "4", "--json").json()
            self.assertTrue(text["text"])
        self.assertNotEqual(sizes["masked"], sizes["counted"])

    def test_what_does_not_fit_is_refused_by_name(self):
        refused = [
            (self.recipe_file(self.text(), "a.toml"), "data.task"),
            (self.recipe_file(self.text(), "b.toml", 'task = "pairs"\ntext_key = "target"'), "data.target_key"),
            (self.recipe_file(self.text(), "c.toml", 'task = "pairs"\ntext_key = "source"'), "source"),
        ]
        for recipe, named in refused:
            result = mote("train", recipe, "--out", self.scratch / "none")
            self.assertNotEqual(result.status, 0)
            self.assertIn(named, result.stderr)
            self.assertFalse((self.scratch / "none").exists())
        for change, named in (("data.tokenizer=bytes", "extra_id_0"), ("model.encoder.layers=0", "encoder"),
                              ("model.attention.kind=causal", "kind"), ("model.encoder.context=2", "context")):
            result = mote("train", self.gaps_recipe(), "--out", self.scratch / "none", "--set", change)
            self.assertNotEqual(result.status, 0, change)
            self.assertIn(named, result.stderr)
        comparison = self.scratch / "comparison.toml"
        comparison.write_text('title = "gaps"\n' + self.gaps_recipe(steps=2).read_text() + '[[models]]\nname = "one"\n[[models]]\nname = "two"\n')
        result = mote("compare", comparison, "--out", self.scratch / "none")
        self.assertNotEqual(result.status, 0)
        self.assertIn("encoder", result.stderr)
        unused = mote("train", self.pairs_recipe(steps=1), "--out", self.scratch / "unused", "--set", "data.spans.density=0.5")
        self.assertIn("data.spans", unused.stderr)
        run = self.scratch / "run"
        mote("train", self.gaps_recipe(steps=2), "--out", run)
        for words, named in ((("generate", run, "-p", ""), "empty"), (("chat", run), "encoder"),
                             (("eval", run, "--data", self.text(), "--ctx-size", "64"), "--ctx-size")):
            result = mote(*words)
            self.assertNotEqual(result.status, 0, words)
            self.assertIn(named, result.stderr)


if __name__ == "__main__":
    unittest.main()

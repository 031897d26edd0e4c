"""A short run on real text: the mixture learns as its dense twin of the same parameters does, and uses
all its experts (specs/sparse-ffn 7.9). Two minutes; label `full`."""

import json
import unittest
from pathlib import Path

from program import ProgramTest, mote

DEMO = Path(__file__).parents[2] / "recipes" / "demo.toml"
SHORT = ["training.steps=300", "training.log_every=100"]
MIXTURE = ["model.feed_forward.experts=16", "model.feed_forward.expert_width=64",
           "model.feed_forward.router.experts_per_token=4"]
DENSE = ["model.feed_forward.kind=dense", "model.feed_forward.width=1024"]


class Twins(ProgramTest):
    def train_demo(self, name, changes):
        out = self.scratch / name
        words = [word for change in SHORT + changes for word in ("--set", change)]
        result = mote("train", DEMO, "--out", out, *words, "--json", timeout=500)
        if result.status != 0 and "gcide" in result.complaint():
            self.skipTest("no gcide here")
        self.assert_done(result)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return result.json(), [line for line in lines if "grad_norm" in line][-1]

    def test_a_mixture_tracks_its_dense_twin_and_uses_all_experts(self):
        mixture, last = self.train_demo("mixture", MIXTURE)
        dense, _ = self.train_demo("dense", DENSE)
        self.assertAlmostEqual(mixture["parameters"]["total"] / dense["parameters"]["total"], 1,
                               delta=0.01)
        for key in ("train_loss", "valid_loss"):
            self.assertAlmostEqual(mixture[key] / dense[key], 1, delta=0.01, msg=key)
        self.assertGreater(last["usage_perplexity"], 0.8)


if __name__ == "__main__":
    unittest.main()

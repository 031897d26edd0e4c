"""Folders and recipes that the first version wrote (tests/data/version1) are read, with the losses that it told."""

import json
import shutil
import unittest
from pathlib import Path

from program import ProgramTest, mote

KEPT = Path(__file__).parents[1] / "data" / "version1"


class Version1(ProgramTest):
    def loss(self, model, *words):
        result = mote("eval", model, "--data", KEPT / "text.txt", "--isa", "reference", "--json", *words)
        self.assert_done(result)
        return result.json()["loss"]

    def test_its_models_have_their_losses(self):
        # To one rounding of a loss to float32. Their program rounded attention's scores and weights to float32 between its steps, where
        # the definition now is in double: 1.3e-9 to 2.7e-9 of 2.3 to 2.5, and equal to 1e-9 before that change.
        for name, loss in json.loads((KEPT / "losses.json").read_text()).items():
            with self.subTest(name=name):
                self.assertAlmostEqual(self.loss(KEPT / name), loss, delta=loss * 2**-24)

    def test_its_recipes_train_what_they_meant(self):
        shutil.copy(KEPT / "text.txt", self.scratch / "train.txt")
        shutil.copy(KEPT / "recipe.toml", self.scratch / "recipe.toml")
        out = self.scratch / "run"
        result = mote("train", "recipe.toml", "--out", out, "--set", "training.steps=2",
                      "--set", "model.feed_forward.experts_per_token=1", cwd=self.scratch)
        self.assert_done(result)
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config["format_version"], 2)
        self.assertEqual(config["feed_forward"], {"kind": "mixture", "experts": 4, "expert_width": 16,
                                                  "router": {"experts_per_token": 1, "expert_dropout": 0.0,
                                                             "entropy_weight": 0.0}})

    def test_a_newer_version_is_refused_by_number(self):
        folder = self.scratch / "newer"
        shutil.copytree(KEPT / "mixture", folder)
        config = json.loads((folder / "config.json").read_text())
        config["format_version"] = 3
        (folder / "config.json").write_text(json.dumps(config))
        result = mote("eval", folder, "--data", KEPT / "text.txt")
        self.assert_refused(result, 1, "format_version", "3", "2")


if __name__ == "__main__":
    unittest.main()

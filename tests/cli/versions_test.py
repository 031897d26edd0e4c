"""Folders and recipes that older versions wrote (tests/data/versionN) are read, with the losses that they told."""

import json
import shutil
import unittest
from pathlib import Path

from program import ProgramTest, mote

DATA = Path(__file__).parents[1] / "data"
KEPT = DATA / "version1"


class VersionTest(ProgramTest):
    def loss(self, model, *words):
        result = mote("eval", model, "--data", KEPT / "text.txt", "--isa", "reference", "--json", *words)
        self.assert_done(result)
        return result.json()["loss"]


class Version1(VersionTest):
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
        self.assertEqual(config["format_version"], 6)
        mixture = config["feed_forward"]
        self.assertEqual((mixture["kind"], mixture["experts"], mixture["expert_width"]), ("mixture", 4, 16))
        router = mixture["router"]
        self.assertEqual([router[key] for key in ("experts_per_token", "expert_dropout", "entropy_weight")],
                         [1, 0, 0])
        self.assertEqual((router["score"]["kind"], router["gate"]), ("linear", "sigmoid"))

    def test_a_newer_version_is_refused_by_number(self):
        folder = self.scratch / "newer"
        shutil.copytree(KEPT / "mixture", folder)
        config = json.loads((folder / "config.json").read_text())
        config["format_version"] = 7
        (folder / "config.json").write_text(json.dumps(config))
        result = mote("eval", folder, "--data", KEPT / "text.txt")
        self.assert_refused(result, 1, "format_version", "7", "6")


class Version2(VersionTest):
    KEPT = DATA / "version2"

    def test_its_models_have_their_losses(self):
        for name, loss in json.loads((self.KEPT / "losses.json").read_text()).items():
            self.assertAlmostEqual(self.loss(self.KEPT / name), loss, delta=1e-9)

    def test_its_recipes_train_what_they_meant(self):
        shutil.copy(KEPT / "text.txt", self.scratch / "train.txt")
        shutil.copy(self.KEPT / "recipe.toml", self.scratch / "recipe.toml")
        out = self.scratch / "run"
        self.assert_done(mote("train", "recipe.toml", "--out", out, "--set", "training.steps=2",
                              cwd=self.scratch))
        config = json.loads((out / "config.json").read_text())
        kept = json.loads((self.KEPT / "mixture" / "config.json").read_text())["feed_forward"]
        written = config["feed_forward"]
        for key, value in kept["router"].items():
            self.assertEqual(written["router"][key], value, key)
        self.assertEqual((written["router"]["gate"], written["router"]["balance"]), ("sigmoid", []))


if __name__ == "__main__":
    unittest.main()

"""Comparisons: sizes, rows, reports, and going on with them."""

import fcntl
import json
import signal
import subprocess
import time
import unittest
from pathlib import Path

import browser
from program import PROGRAM, ProgramTest, mote

RECIPE = """
title = {title}
seeds = 2
[data]
train = "{folder}/train.txt"
valid = "{folder}/valid.txt"
tokenizer = "bytes"
[model]
layers = 3
dim = 16
context = 16
attention = {{ kind = "transformer_xl", heads = 2, head_dim = 8 }}
feed_forward = {{ kind = "dense", width = 128 }}
[training]
steps = 12
streams = 4
learning_rate = 3e-3
eval_every = 4
log_every = 2
[[models]]
name = {name}
[[models]]
name = "mixture"
solve = "feed_forward.expert_width"
model.feed_forward = {{ kind = "mixture", experts = 8, router = {{ experts_per_token = 2 }} }}
[[models]]
name = "peer"
solve = "feed_forward.experts"
model.feed_forward = {{ kind = "peer", router = {{ heads = 2, experts_per_head = 4, query = {{ kind = "linear", key_dim = 8 }} }} }}
"""
HOSTILE = "</script><img src=x onerror=alert(1)>"


class ComparisonTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.out = self.scratch / "out"

    def recipe_file(self, name="dense", title="a title"):
        path = self.scratch / "comparison.toml"
        path.write_text(RECIPE.format(folder=self.shared, name=json.dumps(name), title=json.dumps(title)))
        return path

    def compare(self, *words, recipe=None, **options):
        return mote("compare", recipe or self.recipe_file(), "--out", self.out, *words, **options)

    def rows(self):
        return [json.loads(line) for line in (self.out / "results.jsonl").read_text().splitlines()]


class Comparison(ComparisonTest):
    def test_runs_every_model_with_every_seed_and_reports(self):
        result = self.compare("--json")
        self.assert_done(result)
        runs = result.json()["runs"]
        self.assertEqual([(run["name"], run["seed"]) for run in runs],
                         [(name, seed) for name in ("dense", "mixture", "peer") for seed in (1, 2)])
        for run in runs:
            for key in ("parameters", "feed_forward_active", "valid_loss", "tokens_per_second"):
                self.assertGreater(run[key], 0, key)
            self.assertLess(abs(run["parameters"] / runs[0]["parameters"] - 1), 0.01)
            self.assertEqual(run["steps"], 12)
        self.assertEqual(len({run["valid_loss"] for run in runs}), 6)
        table = (self.out / "table.md").read_text()
        for part in ("| dense | 2 |", "| mixture | 2 |", "±", "seeds 1, 2", "mote compare"):
            self.assertIn(part, table)
        self.assert_nothing_temporary(self.out)

    def test_a_row_tells_what_eval_and_the_run_tell(self):
        self.assert_done(self.compare("--seeds", "1"))
        for row in self.rows():
            folder = next((self.out / "runs").glob(f"*-{row['name']}")) / "seed-1"
            scored = mote("eval", folder, "--data", self.shared / "valid.txt", "--json").json()
            self.assertAlmostEqual(row["valid_loss"], scored["loss"], places=6)
            self.assertEqual([point["step"] for point in row["curve"]], [4, 8, 12])
            self.assertEqual(row["curve"][-1]["valid_loss"], row["valid_loss"])
            self.assertAlmostEqual(row["curve"][-1]["training_flops"] / row["training_flops"], 1)
            self.assertEqual([each["share"] for each in row["corrupted"]], [0.01, 0.05, 0.1])
            tokens = scored["tokens"]
            for layer in row["layers"]:
                if row["name"] == "dense":
                    self.assertNotIn("experts", layer)
                    self.assertLess(0 < layer["active_mean"], 128)
                    continue
                self.assertEqual(layer["tokens"], tokens)
                self.assertEqual(layer["rows"], tokens * (2 if row["name"] == "mixture" else 8))
                self.assertAlmostEqual(sum(layer["weight_shares"]), 1, places=2)

    def test_all_models_read_the_same_batches(self):
        self.assert_done(self.compare("--seeds", "1"))
        tokens = {(run / "data" / "tokens.bin").read_bytes() for run in (self.out / "runs").glob("*/seed-1")}
        self.assertEqual(len(tokens), 1)

    def test_more_seeds_are_added_and_nothing_is_made_twice(self):
        self.assert_done(self.compare("--seeds", "1"))
        before = self.rows()
        self.assert_done(self.compare("--resume", "--seeds", "2"))
        after = self.rows()
        self.assertEqual(after[:3], before)
        self.assertEqual(sorted({row["seed"] for row in after}), [1, 2])

    def test_rows_that_lie_there_are_enough(self):
        self.assert_done(self.compare("--seeds", "1"))
        elsewhere = self.scratch / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "results.jsonl").write_bytes((self.out / "results.jsonl").read_bytes())
        result = mote("compare", self.recipe_file(), "--out", elsewhere, "--resume", "--seeds", "1", "--json")
        self.assert_done(result)
        self.assertEqual(len(result.json()["runs"]), 3)
        self.assertFalse((elsewhere / "runs").exists())
        self.assertFalse((elsewhere / "data").exists())
        self.assertTrue((elsewhere / "report.html").exists())

    def test_stopped_it_goes_on_to_the_numbers_of_one_that_was_not(self):
        slow = ("--set", "training.steps=60", "--set", "training.save_every=5", "--seeds", "1")
        self.assert_done(self.compare(*slow))
        whole = {row["name"]: row["valid_loss"] for row in self.rows()}
        for how in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(how=how):
                self.out = self.scratch / how.name
                self.stop_and_go_on(how, slow, whole)

    def stop_and_go_on(self, how, slow, whole):
        process = subprocess.Popen([PROGRAM, "compare", self.recipe_file(), "--out", self.out, *slow],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        second = self.out / "runs" / "01-mixture" / "seed-1" / "metrics.jsonl"
        deadline = time.monotonic() + 100
        while process.poll() is None and time.monotonic() < deadline:
            if second.exists() and second.read_text().count('"loss"') >= 3:
                process.send_signal(how)
                break
            time.sleep(0.005)
        stderr = process.communicate()[1].decode()
        if how == signal.SIGINT:
            self.assertEqual(process.returncode, 130, stderr)
            self.assertIn("--resume", stderr)
        else:
            self.assertEqual(process.returncode, -how, stderr)
            (self.out / ".results.jsonl.tmp-1").write_text("as if it was writing")
        self.assertEqual([row["name"] for row in self.rows()], ["dense"])
        self.assert_refused(self.compare(*slow), 1, "is not empty", "--resume")
        self.assert_done(self.compare("--resume", *slow))
        self.assertEqual({row["name"]: row["valid_loss"] for row in self.rows()}, whole)
        self.assert_nothing_temporary(self.out)

    def test_a_folder_of_another_recipe_is_refused_by_the_field_that_differs(self):
        self.assert_done(self.compare("--seeds", "1"))
        other = ("--resume", "--set", "training.learning_rate=0.5")
        self.assert_refused(self.compare(*other), 1, "training.learning_rate", "0.003", "0.5", "--out")
        (self.out / "recipe.toml").unlink()
        self.assert_refused(self.compare(*other), 1, "results.jsonl", "line 1", "another comparison")

    def test_a_text_that_is_not_there_leaves_nothing(self):
        for key in ("train", "valid"):
            self.assert_refused(self.compare("--set", f"data.{key}=nowhere"), 1, "'nowhere'")
            self.assertFalse(self.out.exists())

    def test_two_at_a_time_are_refused(self):
        self.out.mkdir()
        with (self.out / ".compare.lock").open("w") as lock:
            lock.write("process 1 on here since then")
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assert_refused(self.compare("--resume"), 1, "process 1 on here")

    def test_a_folder_of_something_else_is_refused(self):
        self.out.mkdir()
        (self.out / "notes.txt").write_text("mine")
        self.assert_refused(self.compare(), 1, "is not empty")
        self.assert_refused(self.compare("--resume"), 1, "notes.txt", "no comparison")

    def test_damaged_rows_are_named_and_a_torn_last_one_is_made_again(self):
        self.assert_done(self.compare("--seeds", "1"))
        results = self.out / "results.jsonl"
        lines = results.read_text().splitlines(keepends=True)
        results.write_text("".join(lines[:2]) + lines[2][:50])
        self.assert_done(self.compare("--resume", "--seeds", "1"))
        self.assertEqual([row["name"] for row in self.rows()], ["dense", "mixture", "peer"])
        for wrong in ({"layers": 3}, {"layers": [3]}, {"curve": [[]]}, {"machine": "x"}, {"seed": "1"},
                      {"layers": [{"sorted": {"rank": [1], "share": []}}]}, {"layers": [{"weight_shares": [1]}]},
                      {"layers": [{"together": [3]}]}, {"corrupted": {"share": 1}}):
            results.write_text(json.dumps({**json.loads(lines[0]), **wrong}) + "\n" + "".join(lines[1:]))
            self.assert_refused(self.compare("--resume"), 1, f"line 1.{next(iter(wrong))}")
        results.write_text("{}\n" + "".join(lines))
        self.assert_refused(self.compare("--resume"), 1, "line 1.recipe", "must be text")
        results.write_text(lines[0][:50] + "\n" + "".join(lines[1:]))
        self.assert_refused(self.compare("--resume"), 1, "line 1 is no JSON")

    def test_a_dry_run_tells_sizes_and_makes_nothing(self):
        result = mote("compare", self.recipe_file(), "--dry-run", "--json")
        self.assert_done(result)
        models = {model["name"]: model for model in result.json()["models"]}
        self.assertEqual(models["mixture"]["solved"], "feed_forward.expert_width")
        self.assertEqual(models["peer"]["value"], round(models["peer"]["value"] ** 0.5) ** 2)
        self.assertNotIn("value", models["dense"])
        self.assertFalse(self.out.exists())

    def test_sizes_that_cannot_match_are_refused_with_the_field_and_the_nearest(self):
        recipe = self.recipe_file()
        text = recipe.read_text()
        solve = 'solve = "feed_forward.expert_width"\n'
        recipe.write_text(text.replace(solve, solve + "multiple = 64\n"))
        self.assert_refused(mote("compare", recipe, "--dry-run"), 1, recipe, "models.1.solve",
                            "feed_forward.expert_width", "64 gives", "1 %")
        recipe.write_text(text.replace(solve, ""))
        self.assert_refused(mote("compare", recipe, "--dry-run"), 1, "models.1.solve", "is missing", "'mixture'")

    def test_what_set_made_wrong_is_misuse(self):
        call = ("compare", self.recipe_file(), "--dry-run")
        self.assert_refused(mote(*call, "--set", "models.1.multiple=64"), 2, "--set models.1.multiple=64",
                            "64 gives")
        self.assert_refused(mote(*call, "--set", "models.7.name=x"), 2, "--set models.7.name=x")
        self.assert_refused(mote(*call, "--set", "match=size"), 2, "--set match=size", "active_flops")

    def test_train_says_whose_recipe_it_is(self):
        self.assert_refused(mote("train", self.recipe_file(), "--out", self.out), 1, "models", "mote compare")
        self.assert_refused(mote("compare", self.recipe, "--out", self.out), 1, "models", "[[models]]")

    def test_the_out_folder_and_the_recipe_are_asked_for(self):
        self.assert_refused(mote("compare", self.recipe_file()), 2, "--out")
        self.assert_refused(mote("compare"), 2, "RECIPE")


@unittest.skipUnless(browser.BROWSER, "no chromium here")
class Pages(ComparisonTest):
    def assert_drawn(self, page, least):
        opened = browser.Opened(page)
        self.assertEqual(browser.problems(opened, least), [])
        return opened

    def test_a_report_is_drawn_by_a_browser(self):
        self.assert_done(self.compare("--seeds", "2"))
        # Loss by FLOPs, tokens and time; usage, sorted usage and co-occurrence of two; corrupted input.
        opened = self.assert_drawn(self.out / "report.html", 3 + 2 * 2 + 1 + 1)
        for title in ("Loss against training FLOPs", "Loss against wall time", "Expert usage by layer: mixture",
                      "Sorted usage: peer", "Co-occurrence: mixture", "Loss under corrupted input"):
            self.assertTrue(any(title in each for each in opened.titles), (title, opened.titles))
        self.assertGreaterEqual(opened.tables, 4)

    def test_rows_of_bench_are_drawn_too(self):
        rows = self.scratch / "rows.jsonl"
        rows.write_text("".join(
            json.dumps({"name": "layers", "layer": layer, "sweep": "N", "size": 2 ** (14 + 2 * i), "metric": "time",
                        "unit": "ms", "median": i + 1, "min": i + 0.5, "best": i + 2}) + "\n"
            for layer in ("dense", HOSTILE) for i in range(4)))
        self.assert_done(self.compare("--seeds", "1", "--resources", rows))
        opened = self.assert_drawn(self.out / "report.html", 10)
        self.assertIn("time by N", opened.titles)
        self.assert_refused(self.compare("--resume", "--resources", self.recipe_file()), 1, "comparison.toml",
                            "line 2", "mote bench")

    def test_a_hostile_name_is_shown_and_not_run(self):
        recipe = self.recipe_file(name=HOSTILE, title=HOSTILE)
        self.assert_done(self.compare("--seeds", "1", recipe=recipe))
        opened = self.assert_drawn(self.out / "report.html", 7)
        self.assertIn("<td>&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;</td>", opened.dom)
        self.assertNotIn("<img", opened.dom)

    def test_a_run_has_a_page_of_its_own(self):
        self.assert_done(mote("train", self.recipe, "--out", self.out))
        opened = self.assert_drawn(self.out / "report.html", 6)
        for title in ("Loss", "Learning rate", "Norm of the gradients", "Usage perplexity"):
            self.assertTrue(any(title in each for each in opened.titles), (title, opened.titles))

    def test_an_empty_chart_is_noticed(self):
        page = self.scratch / "page.html"
        page.write_text('<body data-checked="yes" data-errors="0"><h3>t</h3><canvas></canvas>'
                        "<script>console.log('hello')</script>")
        found = browser.problems(browser.Opened(page), 2)
        self.assertEqual(len(found), 3, found)


if __name__ == "__main__":
    unittest.main()

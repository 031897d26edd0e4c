"""Compressed folders: made, scored, spoken by, in bounded memory; or not made at all."""

import json
import os
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest, TrainedTest, make_text, mote


class Compression(TrainedTest):
    KEYS = {"bytes_before", "bytes_after", "expert_bits_per_weight", "expert_ratio", "model_ratio",
            "zeros", "entropy_bits_per_weight", "loss_before", "loss_after", "experts", "seconds",
            "peak_rss_bytes"}

    def words(self, out, *more):
        words = ["compress", self.model, out, "--validation", self.shared / "valid.txt", *more]
        if "rtn" in more:
            return words
        if "--samples" not in more:
            words += ["--samples", "8"]
        return words if "--calibration" in more else [*words, "--calibration", self.shared / "train.txt"]

    def compress(self, name, *more):
        out = self.scratch / name
        result = mote(*self.words(out, *more), "--json")
        self.assert_done(result)
        return out, result.json()

    def test_the_report_has_its_keys_and_tells_the_loss_that_eval_finds(self):
        for number, words in enumerate((["--bits", "ternary"], ["--bits", "2"],
                                        ["--bits", "ternary", "--method", "rtn"])):
            out, report = self.compress(str(number), *words)
            self.assertLessEqual(self.KEYS, set(report))
            self.assertEqual(report["bytes_after"], (out / "model.safetensors").stat().st_size)
            self.assertEqual(set(report["experts"]), {"total", "calibrated", "fallback"})
            result = mote("eval", out, "--data", self.shared / "valid.txt", "--json")
            self.assert_done(result)
            self.assertAlmostEqual(result.json()["loss"], report["loss_after"], delta=1e-6)

    def test_a_compressed_folder_speaks_and_is_listed(self):
        out, _ = self.compress("ternary", "--bits", "ternary")
        words = ("-p", "the small", "-n", "20", "--temperature", "0", "--json")
        first, second = (mote("generate", out, *words, "--threads", n) for n in ("1", "2"))
        self.assert_done(first)
        self.assertEqual(first.json()["new_tokens"], 20)
        self.assertEqual(first.json()["token_ids"], second.json()["token_ids"])
        listed = mote("inspect", out, "--tensors", "--json")
        self.assert_done(listed)
        self.assertIn("ternary", str(listed.json()))

    def test_eight_bit_activations_are_asked_for_by_name_and_err_a_little(self):
        out, report = self.compress("ternary", "--bits", "ternary")
        words = ("--data", self.shared / "valid.txt", "--json", "--activations", "int8")
        result = mote("eval", out, *words)
        self.assert_done(result)
        self.assertNotEqual(result.json()["loss"], report["loss_after"])
        self.assertAlmostEqual(result.json()["loss"], report["loss_after"], delta=0.01)
        self.assert_done(mote("generate", out, "-p", "the", "-n", "5", "--activations", "int8"))
        self.assert_refused(mote("eval", self.model, *words), 1, "packed")
        two, report = self.compress("two", "--bits", "2")
        result = mote("eval", two, *words)
        self.assert_done(result)
        self.assertNotEqual(result.json()["loss"], report["loss_after"])
        self.assertAlmostEqual(result.json()["loss"], report["loss_after"], delta=0.01)
        self.assert_refused(mote("eval", out, *words[:-1], "int4"), 2, "int4", "int8")

    def test_folders_of_format_version_1_keep_their_losses(self):
        kept = Path(__file__).parents[1] / "data" / "format_1"
        for name in ("ternary", "two_bit"):
            written = json.loads((kept / name / "config.json").read_text())["quantization_config"]
            self.assertEqual(written["format_version"], 1)
            result = mote("eval", kept / name, "--data", kept / "valid.txt", "--json")
            self.assert_done(result)
            self.assertAlmostEqual(result.json()["loss"], written["made_from"]["loss_after"], delta=1e-6)

    def test_every_option_changes_the_weights(self):
        weights = {}
        for words in ([], ["--damping", "0.01"], ["--act-order"], ["--search-clip"],
                      ["--true-sequential"], ["--match-outputs"], ["--samples", "2"],
                      ["--seed", "3", "--samples", "2"]):
            out, _ = self.compress("-".join(words) or "plain", "--bits", "ternary", *words)
            weights[" ".join(words)] = (out / "model.safetensors").read_bytes()
        self.assertEqual(len(set(weights.values())), len(weights))

    def test_misuse_is_named(self):
        for words, parts in ((["--bits", "5"], ["--bits", "5"]),
                             (["--bits", "2", "--coder", "q16"], ["--coder", "two_bit"]),
                             (["--bits", "2", "--method", "magic"], ["--method", "rtn"]),
                             (["--bits", "2", "--damping", "-1"], ["--damping", "-1", "0", "1e+12"]),
                             (["--bits", "2", "--damping", "nan"], ["--damping", "nan", "1e+12"]),
                             (["--bits", "2", "--layers", ""], ["--layers", "empty"]),
                             (["--bits", "2", "--validation-bytes", "-1"], ["--validation-bytes", "-1"]),
                             (["--bits", "2", "--samples", "0"], ["--samples", "0"])):
            out = self.scratch / "out"
            self.assert_refused(mote(*self.words(out, *words)), 2, *parts)
            self.assertFalse(out.exists())

    def test_rounding_to_nearest_refuses_what_it_does_not_use(self):
        for words in (["--calibration", "missing.txt"], ["--samples", "8"], ["--damping", "0.1"],
                      ["--act-order"], ["--search-clip"], ["--true-sequential"], ["--match-outputs"],
                      ["--seed", "3"]):
            out = self.scratch / "out"
            result = mote("compress", self.model, out, "--bits", "2", "--method", "rtn", *words, "--json")
            self.assert_refused(result, 2, words[0], "rtn", "gptq")
            self.assertEqual(result.json()["error"]["field"], words[0])
            self.assertFalse(out.exists())

    def test_options_of_texts_that_are_not_named_are_refused(self):
        out = self.scratch / "out"
        words = ("compress", self.model, out, "--bits", "2", "--method", "rtn")
        for more in (["--text-key", "content"], ["--binary"]):
            self.assert_refused(mote(*words, *more), 2, more[0], "--validation")
        bare = self.scratch / "bare"  # no recipe that names a text
        bare.mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            shutil.copy(self.model / name, bare)
        self.assert_refused(mote("compress", bare, out, "--bits", "2", "--calibration",
                                 self.shared / "train.txt", "--validation-bytes", "100"),
                            2, "--validation-bytes", "--validation")
        self.assertFalse(out.exists())

    def test_it_reads_the_models_own_text_by_default_and_says_so(self):
        out = self.scratch / "out"
        result = mote("compress", self.model, out, "--bits", "2", "--samples", "4", "--json")
        self.assert_done(result)
        report, made = result.json(), self.made_from(out)
        trained = [json.loads(line) for line in (self.model / "metrics.jsonl").read_text().splitlines()]
        self.assertAlmostEqual(report["loss_before"], trained[-1]["valid_loss"], delta=1e-6)
        for key, name in (("calibration", "train.txt"), ("validation", "valid.txt")):
            self.assertEqual(report[key], str(self.shared / name))
            self.assertEqual(made[key], report[key])
            self.assertIn(report[key], result.stderr)
        self.assertEqual(made["validation_bytes"], (self.shared / "valid.txt").stat().st_size)
        self.assertEqual(report["validation_bytes"], made["validation_bytes"])

    def test_a_checkpoint_of_a_run_reads_that_runs_text(self):
        latest = self.model / "checkpoints" / (self.model / "checkpoints" / "latest").read_text().strip()
        link = self.scratch / "link"
        link.symlink_to(latest)
        for number, name in enumerate((latest, f"{latest}/", link, latest / "model.safetensors")):
            result = mote("compress", name, self.scratch / str(number), "--bits", "2", "--samples", "4", "--json")
            self.assert_done(result)
            self.assertEqual(result.json()["calibration"], str(self.shared / "train.txt"))

    def test_own_text_is_found_from_any_folder(self):
        home, model = self.scratch / "home", self.scratch / "model"
        home.mkdir()
        for name in ("train.txt", "valid.txt"):
            shutil.copy(self.shared / name, home)
        self.assert_done(self.train(model, "--set", "data.train=train.txt", "--set", "data.valid=valid.txt",
                                    "--set", "training.steps=2", cwd=home))
        (self.scratch / "train.txt").write_text("another text of that name")
        words = ("compress", model, self.scratch / "out", "--bits", "2", "--samples", "4", "--json")
        result = mote(*words, cwd=self.scratch)
        self.assert_done(result)
        report = result.json()
        self.assertEqual((report["calibration"], report["validation"]),
                         (str(home / "train.txt"), str(home / "valid.txt")))
        # A run of a program that wrote names as given says from where it looked for them.
        recipe = model / "recipe.toml"
        recipe.write_text(recipe.read_text().replace(f"{home}/", ""))
        (self.scratch / "train.txt").unlink()
        shutil.rmtree(self.scratch / "out")
        self.assert_refused(mote(*words, cwd=self.scratch), 1, recipe, "'train.txt'",
                            f"seen from {self.scratch}", "--calibration")

    def test_own_text_that_is_gone_names_the_recipe_and_the_flag(self):
        moved = self.scratch / "model"
        shutil.copytree(self.model, moved)
        recipe = moved / "recipe.toml"
        recipe.write_text(recipe.read_text().replace("train.txt", "gone.txt"))
        result = mote("compress", moved, self.scratch / "out", "--bits", "2")
        self.assert_refused(result, 1, recipe, "gone.txt", "--calibration")

    def test_validation_bytes_cut_what_is_scored(self):
        out, report = self.compress("cut", "--bits", "2", "--validation-bytes", "100")
        self.assertEqual(report["validation_bytes"], 100)
        scored = mote("eval", out, "--data", self.shared / "valid.txt", "--max-bytes", "100", "--json")
        self.assertAlmostEqual(scored.json()["loss"], report["loss_after"], delta=1e-6)

    def test_calibration_short_of_samples_is_counted_and_warned_of(self):
        text = self.scratch / "short.txt"
        text.write_text("a dozen bytes")
        result = mote("compress", self.model, self.scratch / "out", "--bits", "2", "--calibration",
                      text, "--json")
        self.assert_done(result)
        self.assertEqual((result.json()["samples"], result.json()["calibration_tokens"]), (1, 14))
        self.assertIn("warning: ", result.stderr)
        for part in (text, "1 sample, 14 tokens", "128 samples"):
            self.assertIn(str(part), result.stderr)
        enough = mote(*self.words(self.scratch / "enough", "--bits", "2", "--samples", "4"))
        self.assertNotIn("warning", enough.stderr)

    def test_many_experts_without_calibration_are_said_in_the_last_line(self):
        text = self.scratch / "short.txt"
        text.write_text("a")
        result = mote("compress", self.model, self.scratch / "out", "--bits", "2", "--calibration", text)
        self.assert_done(result)
        fallback = int(result.stdout.split("experts.fallback: ")[1].split()[0])
        self.assertGreater(fallback, 0)
        self.assertIn(f"warning: {fallback} of 8 experts", result.stdout.splitlines()[-1])

    def test_ratios_have_one_base(self):
        out, report = self.compress("ratios", "--bits", "2")
        total = mote("inspect", self.model, "--json").json()["parameters"]["total"]
        self.assertEqual(report["ratio_base"], "bfloat16")
        self.assertAlmostEqual(report["model_ratio"], 2 * total / report["bytes_after"])
        self.assertAlmostEqual(report["expert_ratio"], 16 / report["expert_bits_per_weight"])

    def test_inspect_says_where_the_bytes_are_and_that_they_are_mixed(self):
        out, report = self.compress("packed", "--bits", "2")
        for folder, dtype in ((self.model, "float32"), (out, "mixed")):
            facts = mote("inspect", folder, "--tensors", "--json").json()
            self.assertEqual(facts["dtype"], dtype)
            self.assertEqual(sum(facts["bytes_in"].values()), facts["bytes"])
            experts = sum(t["bytes"] for t in facts["tensors"] if ".experts." in t["name"])
            self.assertEqual(facts["bytes_in"]["experts"], experts)
            self.assertLess(facts["bytes_in"]["rest"], 10_000)

    def test_descriptions_of_version_2_are_read(self):
        out, report = self.compress("two", "--bits", "2")
        config = json.loads((out / "config.json").read_text())
        packed = config["quantization_config"]
        self.assertEqual(packed["format_version"], 3)
        packed["format_version"] = 2
        for key in ("validation", "validation_bytes"):
            packed["made_from"].pop(key)
        (out / "config.json").write_text(json.dumps(config))
        result = mote("eval", out, "--data", self.shared / "valid.txt", "--json")
        self.assert_done(result)
        self.assertAlmostEqual(result.json()["loss"], report["loss_after"], delta=1e-6)

    def made_from(self, folder):
        return json.loads((folder / "config.json").read_text())["quantization_config"]["made_from"]

    def test_a_text_may_have_any_name(self):
        text = os.fsencode(self.scratch) + b"/caf\xe9.txt"
        shutil.copy(self.shared / "train.txt", text)
        self.assert_done(mote("prepare", text, "--out", self.scratch / "tokens"))
        self.assert_done(mote("compress", self.model, self.scratch / "out", "--bits", "ternary",
                              "--calibration", text, "--samples", "4"))

    def test_compressed_codes_cut_short_are_named(self):
        out, _ = self.compress("ternary", "--bits", "ternary")
        path = out / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        result = mote("generate", out, "-p", "a", "-n", "1", "--json")
        self.assert_refused(result, 1, path)
        self.assertEqual(result.json()["error"]["file"], str(path))

    def test_a_compressed_model_is_not_compressed_again(self):
        out, _ = self.compress("ternary", "--bits", "ternary")
        again = mote("compress", out, self.scratch / "again", "--bits", "2", "--json")
        self.assert_refused(again, 1, out, "ternary")

    def test_a_folder_that_is_not_empty_is_refused_and_left_alone(self):
        out = self.scratch / "mine"
        out.mkdir()
        (out / "letter.txt").write_text("dear reader")
        self.assert_refused(mote(*self.words(out, "--bits", "2")), 1, out)
        self.assertEqual([p.name for p in out.iterdir()], ["letter.txt"])

    def test_an_interrupt_leaves_nothing(self):
        out, text = self.scratch / "out", self.shared / "long.txt"
        text.write_text(make_text(100_000, seed=4))  # seconds of work behind the first block
        process = subprocess.Popen([PROGRAM, *map(os.fspath, self.words(
            out, "--bits", "ternary", "--samples", "1000", "--match-outputs", "--verbose",
            "--calibration", text))], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        while b"experts" not in process.stderr.readline():  # after the first block
            self.assertIsNone(process.poll(), "ended before it could be interrupted")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(list(self.scratch.iterdir()), [])

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("mount"), "mounting takes root")
    def test_a_full_disk_leaves_nothing(self):
        disk = self.scratch / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16384", "tmpfs", disk])
        if mounted.returncode != 0:
            self.skipTest("mounting is not allowed here")
        try:
            result = mote(*self.words(disk / "out", "--bits", "ternary"))
            self.assert_refused(result, 1, disk)
            self.assertEqual(list(disk.iterdir()), [])
        finally:
            subprocess.run(["umount", disk], check=True)


class Memory(ProgramTest):
    """Peak memory at two sizes, so that growth shows. The model's experts are wide, so that a buffer
    for all calibration rows at once would stand out: 4 * 512 floats for each of 200,000 tokens are
    1.6 GB. Freed memory goes back to the system, so that the peak is what was held at once."""

    ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536",
                 "MALLOC_TRIM_THRESHOLD_": "65536"}

    SIZES = ["--set", "model.dim=64", "--set", "model.feed_forward.expert_width=512",
             "--set", "model.feed_forward.experts_per_token=4", "--set", "training.steps=1"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.shared / "long.txt").write_text(make_text(50_000, seed=3))
        cls.model = cls.shared / "model"
        done = mote("train", cls.recipe, "--out", cls.model, *cls.SIZES)
        assert done.status == 0, done.stderr

    def peak(self, *words):
        result = mote(*words, "--json", env={**os.environ, **self.ALLOCATOR}, timeout=900)
        self.assert_done(result)
        return result.json()["peak_rss_bytes"]

    def test_compression_grows_by_the_residual_stream_alone(self):
        def peak(samples):
            return self.peak("compress", self.model, self.scratch / samples, "--bits", "ternary",
                             "--calibration", self.shared / "long.txt", "--samples", samples)

        few, many = peak("20"), peak("200")
        residual_stream = 180 * 1025 * 64 * 4
        self.assertLess(many - few, residual_stream + 10_000_000)

    def test_evaluation_does_not_grow_with_the_text(self):
        # The logits of the longer text alone would be 200 MB.
        def peak(size):
            return self.peak("eval", self.model, "--data", self.shared / "long.txt",
                             "--max-bytes", size)

        few, many = peak("20000"), peak("220000")
        self.assertLess(many - few, 5_000_000)


if __name__ == "__main__":
    unittest.main()

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
        words = ["compress", self.model, out, "--calibration", self.shared / "train.txt",
                 "--validation", self.shared / "valid.txt", *more]
        return words if "--samples" in more else [*words, "--samples", "8"]

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
                             (["--bits", "2", "--damping", "-1"], ["--damping", "-1"]),
                             (["--bits", "2", "--samples", "0"], ["--samples", "0"])):
            out = self.scratch / "out"
            self.assert_refused(mote(*self.words(out, *words)), 2, *parts)
            self.assertFalse(out.exists())

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
        out = self.scratch / "out"
        process = subprocess.Popen([PROGRAM, *map(os.fspath, self.words(
            out, "--bits", "ternary", "--samples", "1000", "--verbose"))],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        while b"experts" not in process.stderr.readline():  # after the first block
            self.assertIsNone(process.poll(), "ended before it could be interrupted")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertIn(process.returncode, (0, 130))
        self.assertEqual(out.exists(), process.returncode == 0)
        self.assertEqual([p.name for p in self.scratch.iterdir() if p != out], [])

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
    1.6 GB. Some freed memory stays in pieces too small for the next chunk."""

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
        result = mote(*words, "--json")
        self.assert_done(result)
        return result.json()["peak_rss_bytes"]

    def test_compression_grows_by_the_residual_stream_alone(self):
        def peak(samples):
            return self.peak("compress", self.model, self.scratch / samples, "--bits", "ternary",
                             "--calibration", self.shared / "long.txt", "--samples", samples)

        few, many = peak("20"), peak("200")
        residual_stream = 180 * 1025 * 64 * 4
        self.assertLess(many - few, residual_stream + 150_000_000)

    def test_evaluation_does_not_grow_with_the_text(self):
        # The logits of the longer text alone would be 200 MB; 50 MB is what the allocator may keep.
        def peak(size):
            return self.peak("eval", self.model, "--data", self.shared / "long.txt",
                             "--max-bytes", size)

        few, many = peak("20000"), peak("220000")
        self.assertLess(many - few, 50_000_000)


if __name__ == "__main__":
    unittest.main()

"""Wrong command lines, recipes and corpora: the exit status, one line that helps, nothing left behind."""

import json
import re
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest, TrainedTest, mote


class CommandLine(ProgramTest):
    def test_an_unknown_verb_names_the_nearest(self):
        self.assert_refused(mote("trian"), 2, "'trian'", "'train'")

    def test_an_unknown_flag_names_the_nearest(self):
        self.assert_refused(mote("train", self.recipe, "--ouy", "x"), 2, "--ouy", "--out")

    def test_no_verb_is_misuse(self):
        self.assert_refused(mote(), 2, "--help")

    def test_a_missing_flag_is_named(self):
        self.assert_refused(mote("train", self.recipe), 2, "--out")

    def test_values_out_of_range_are_misuse(self):
        out = self.scratch / "out"
        self.assert_refused(self.train(out, "--threads", "0"), 2, "--threads", "0")
        self.assert_refused(self.train(out, "--threads", "two"), 2, "--threads", "two")
        self.assert_refused(self.train(out, "--set", "steps"), 2, "steps", "key=value")
        self.assertFalse(out.exists())

    def test_numbers_are_read_whole_or_not_at_all(self):
        for value in ("18446744073709551616", "-1", "1e3", "", "0x10", "010", "+5", " 5", "5 ", "1.0"):
            for word in (["-s", value], ["--seed", value], ["--seed=" + value]):
                result = mote("doctor", *word)
                self.assert_refused(result, 2, "--seed", f'"{value}"', "0 to 18446744073709551615")
        self.assert_refused(mote("doctor", "-t", "99999999999999999999"), 2, "--threads", "1 to 1024")
        self.assert_done(mote("doctor", "-s", "18446744073709551615"))

    def test_an_empty_value_is_named_with_its_option(self):
        for verb, words in (("compress", ["--bits=", "model", "out"]), ("compress", ["--method=", "model", "out"]),
                            ("compress", ["--coder=", "model", "out"]), ("generate", ["--stop=", "model"]),
                            ("generate", ["--top-p=", "model"]), ("generate", ["--file=", "model"]),
                            ("eval", ["--data=", "model"]), ("eval", ["--activations=", "model"]),
                            ("prepare", ["--out=", "text"]), ("prepare", ["--tokenizer=", "text"]),
                            ("prepare", ["--text-key=", "text"]), ("bench", ["--only="]),
                            ("train", ["--out=", "recipe"]), ("train", ["--from=", "recipe"]),
                            ("inspect", ["--isa=", "model"]), ("doctor", ["--threads="])):
            with self.subTest(verb=verb, words=words):
                self.assert_refused(mote(verb, *words), 2, words[0][:-1])
        self.assert_refused(self.train(self.scratch / "out", "--set=data.tokenizer="), 2, "--set data.tokenizer=: ")

    def test_quiet_and_verbose_exclude_each_other(self):
        self.assert_refused(mote("doctor", "--quiet", "--verbose"), 2, "--verbose", "--quiet")

    def test_prepare_refuses_a_size_that_its_tokenizer_has_not_got(self):
        out = self.scratch / "out"
        for name in ("bytes", self.shared):
            result = mote("prepare", self.shared / "valid.txt", "--out", out, "--tokenizer", name,
                          "--vocab-size", "300", "--json")
            self.assert_refused(result, 2, "--vocab-size", f"--tokenizer {name}", "bpe")
            self.assertEqual(result.json()["error"]["field"], "--vocab-size")
            self.assertFalse(out.exists())

    def test_bench_refuses_words_that_no_row_has(self):
        self.assert_refused(mote("bench", "generate"), 2, "--model")
        for flags in (("--model", "x"), ("--activations", "int8")):
            self.assert_refused(mote("bench", "memory", *flags), 2, flags[0], "generate")
        result = mote("bench", "memory", "--only", "no such row", "--json")
        self.assert_refused(result, 2, "--only", "no such row")

    def test_help_and_version_succeed(self):
        for words in (["--help"], ["train", "--help"], ["--version"]):
            result = mote(*words)
            self.assert_done(result)
            self.assertNotEqual(result.stdout, "")

    def test_the_version_names_commit_compiler_and_instruction_sets(self):
        self.assertRegex(mote("--version").stdout, r"^mote \d+\.\d+\.\d+ \(.+\), .+ reference")

    def test_help_shows_every_default(self):
        """Behind an equals sign or in words; what may be given many times is empty at first."""
        for verb in ("prepare", "train", "eval", "generate", "compress", "inspect", "bench", "doctor"):
            result = mote(verb, "--help")
            self.assert_done(result)
            text = result.stdout.split("\nOptions:")[1]
            for option in re.split(r"\n  (?=-)", text):
                if re.search(r" (TEXT|INT|UINT|FLOAT)", option) and "REQUIRED" not in option:
                    self.assertRegex(option, r"=\S|\(default: | \.\.\.", verb)

    def test_misuse_with_json_is_one_object(self):
        for words in (["train", "--json"], ["train", "--json", "--out"], ["trian", "--json"]):
            result = mote(*words)
            self.assertEqual(result.status, 2)
            error = result.json()["error"]
            self.assertEqual(error["kind"], "usage")
            self.assertIn(error["message"], result.complaint())


class Interrupts(ProgramTest):
    def test_bench_stops_within_a_second(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            words = [PROGRAM, "bench", "memory", "--only", "memory.gemm m=4096 fp32", "--repeat", "1000", "--json"]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(3)
            self.assertIsNone(process.poll(), "ended before it could be interrupted")
            begin = time.monotonic()
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=60)
            self.assertLess(time.monotonic() - begin, 1)
            self.assertEqual((process.returncode, stderr), (130, b"mote: interrupted\n"))
            self.assertEqual(json.loads(stdout.splitlines()[-1])["error"]["kind"], "interrupted")


    def test_every_workload_of_bench_stops_within_a_second(self):
        for name in ("memory", "matvec", "moe-layer", "lm-train", "decode", "quantize"):
            process = subprocess.Popen([PROGRAM, "bench", name, "--repeat", "1000"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            time.sleep(2)
            with self.subTest(name=name):
                self.assertIsNone(process.poll(), "ended before it could be interrupted")
                begin = time.monotonic()
                process.send_signal(signal.SIGINT)
                stderr = process.communicate(timeout=60)[1]
                self.assertLess(time.monotonic() - begin, 1)
                self.assertEqual((process.returncode, stderr), (130, b"mote: interrupted\n"))

    def test_bench_that_is_interrupted_while_it_starts_stops(self):
        for delay in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5):
            process = subprocess.Popen([PROGRAM, "bench", "memory", "--repeat", "1000"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            # Before the program runs the system ends it.
            self.assertIn(process.wait(timeout=10), (130, -signal.SIGINT))


class InstructionSets(ProgramTest):
    def test_an_unknown_one_names_the_nearest(self):
        self.assert_refused(self.train(self.scratch / "out", "--isa", "avx51"), 2, "'avx512'")

    def test_amx_is_refused_where_it_is_missing(self):
        if "amx_int8" in Path("/proc/cpuinfo").read_text():
            self.skipTest("this processor has AMX")
        result = self.train(self.scratch / "out", "--isa", "amx", "--json")
        self.assert_refused(result, 1, "amx")
        self.assertEqual(result.json()["error"]["kind"], "unsupported")
        self.assertEqual(result.json()["error"]["field"], "--isa")
        self.assertFalse((self.scratch / "out").exists())

    def test_avx512_is_refused_on_a_processor_without_it(self):
        emulator = shutil.which("qemu-x86_64")
        if not emulator:
            self.skipTest("no qemu-x86_64 here")
        prefix = [emulator, "-cpu", "max"]  # qemu's own processor stops at AVX2
        result = self.train(self.scratch / "out", "--isa", "avx512", prefix=prefix)
        self.assert_refused(result, 1, "avx512", "avx2 at best")


class Recipes(ProgramTest):
    def refuse(self, override, *parts, field=None):
        out = self.scratch / "out"
        result = self.train(out, "--json", "--set", override)
        self.assert_refused(result, 2, f"--set {override}: ", *parts)
        error = result.json()["error"]
        self.assertEqual(error["kind"], "usage")
        self.assertNotIn("file", error, "the recipe is not to blame")
        self.assertEqual(error["field"], field or override.split("=")[0])
        self.assertFalse(out.exists(), "a refused recipe leaves no folder")

    def test_an_unknown_key_names_the_nearest(self):
        self.refuse("model.dmi=3", "model.dmi", "'dim'")
        self.refuse("trainig.steps=3", "trainig", "'training'", field="trainig")

    def test_a_wrong_type_is_named_with_what_was_found(self):
        self.refuse("model.dim=true", "model.dim", "whole number", "true")
        self.refuse("model.dim=[[[1]]]", "model.dim", "whole number", "an array")
        self.refuse("training.learning_rate=fast", "number", "fast")
        self.refuse("model.attention=3", "table", "3")

    def test_a_value_out_of_range_is_named_with_the_range(self):
        self.refuse("model.dropout=2", "model.dropout", "2", "0.99")
        self.refuse("training.steps=0", "training.steps", "0", "1")
        self.refuse("training.clip_norm=inf", "training.clip_norm", "finite")
        self.refuse("training.epsilon=1e-50", "training.epsilon", "1e-50", "1e-37")
        self.refuse("training.learning_rate=1e200", "training.learning_rate", "1e+200", "1e+38")

    def test_an_unknown_choice_lists_the_known(self):
        self.refuse("model.feed_forward.kind=mixed", "mixed", "dense", "mixture")

    def test_sizes_that_do_not_fit_name_both(self):
        self.refuse("model.dim=15", "15", "even")
        self.refuse("model.feed_forward.experts_per_token=5", "5", "feed_forward.experts = 4",
                    field="model.feed_forward.router.experts_per_token")
        self.refuse("training.schedule_steps=3", "3", "60")
        self.refuse("training.streams=9000000000000000000", "training.streams",
                    "9000000000000000000", "1e+18 tokens")

    def test_broken_toml_names_the_line(self):
        broken = self.scratch / "broken.toml"
        broken.write_text("[data]\ntrain = 'a\n")
        self.assert_refused(mote("train", broken, "--out", self.scratch / "out"), 1, f"{broken}:2")

    def test_the_recipe_alone_is_no_misuse(self):
        recipe = self.scratch / "recipe.toml"
        recipe.write_text(self.recipe.read_text() + "epsilon = 0\n")
        result = mote("train", recipe, "--out", self.scratch / "out", "--json")
        self.assert_refused(result, 1, recipe, "training.epsilon", "0, outside 1e-37")
        self.assertEqual(result.json()["error"]["kind"], "config")

    def test_a_seed_that_no_recipe_has_is_misuse(self):
        result = self.train(self.scratch / "out", "--seed", str(2**63))
        self.assert_refused(result, 2, "--seed", str(2**63), str(2**63 - 1))

    def test_a_missing_recipe_is_named(self):
        missing = self.scratch / "missing.toml"
        self.assert_refused(mote("train", missing, "--out", self.scratch / "out"), 1, missing)


class Corpora(TrainedTest):
    def refuse(self, text, *parts):
        out = self.scratch / "out"
        result = self.train(out, "--json", "--set", f"data.train={text}")
        self.assert_refused(result, 1, *parts)
        self.assertIn("message", result.json()["error"])
        self.assertFalse(out.exists(), "a corpus that cannot be read leaves no folder")

    def test_a_missing_one_is_named_with_those_known(self):
        self.refuse(self.scratch / "missing.txt", "missing.txt", "gcide", "kjv")

    def test_an_empty_one_is_refused(self):
        empty = self.scratch / "empty.txt"
        empty.write_text("")
        self.refuse(empty, "empty.txt")

    def test_a_missing_validation_text_is_refused_before_training(self):
        out = self.scratch / "out"
        result = self.train(out, "--set", f"data.valid={self.scratch}/missing.txt")
        self.assert_refused(result, 1, "missing.txt")
        self.assertFalse(out.exists())

    def test_eval_refuses_what_it_cannot_read(self):
        empty = self.scratch / "empty.txt"
        empty.write_text("")
        self.assert_refused(mote("eval", self.model, "--data", empty), 1, "empty.txt")
        self.assert_refused(mote("eval", self.model, "--data", self.scratch / "no"), 1, "no")


class Folders(TrainedTest):
    def test_a_folder_that_is_not_empty_is_refused_and_left_alone(self):
        note = self.scratch / "note.txt"
        note.write_text("mine")
        result = self.train(self.scratch, "--json")
        self.assert_refused(result, 1, self.scratch, "not empty")
        self.assertEqual(result.json()["error"]["file"], str(self.scratch))
        self.assertEqual([p.name for p in self.scratch.iterdir()], ["note.txt"])
        self.assert_refused(self.train(self.scratch, "--resume"), 1, self.scratch)
        prepared = mote("prepare", self.shared / "train.txt", "--out", self.scratch)
        self.assert_refused(prepared, 1, self.scratch, "not empty")

    def test_a_file_is_no_output_folder(self):
        note = self.scratch / "note.txt"
        note.write_text("mine")
        self.assert_refused(self.train(note), 1, note)
        self.assertEqual(note.read_text(), "mine")

    def test_a_name_longer_than_the_system_takes_is_named(self):
        out = self.scratch / ("x" * 300)
        for words in (["train", self.recipe, "--out", out], ["inspect", out],
                      ["prepare", self.shared / "valid.txt", "--out", out],
                      ["compress", self.model, out, "--bits", "2", "--method", "rtn"]):
            result = mote(*words, "--json")
            self.assert_refused(result, 1, out)
            self.assertIn(str(out), result.json()["error"]["file"])
            self.assertNotIn("filesystem error", result.stderr)

    def test_resume_refuses_another_recipe(self):
        result = self.train(self.model, "--resume", "--set", "model.dim=32")
        self.assert_refused(result, 1, "model.dim")

    def test_a_missing_model_is_named(self):
        missing = self.scratch / "missing"
        self.assert_refused(mote("generate", missing, "-p", "a"), 1, missing)
        self.assert_refused(mote("inspect", "someone/some-model"), 1, "someone/some-model", "folder")
        self.assert_refused(mote("inspect", self.recipe), 1, self.recipe, "folder")
        self.assert_refused(mote("eval", missing, "--data", self.recipe), 1, missing)


class Json(TrainedTest):
    KEYS = {
        "inspect": {"family", "format", "parameters", "experts_per_layer", "experts_per_token",
                    "layers", "dtype", "bytes", "tensors"},
        "doctor": {"cpu", "isa", "cores", "memory_bytes", "disk_free_bytes",
                   "bandwidth_bytes_per_second", "libtorch", "corpora", "problems"},
        "bench": {"name", "peer", "version", "shape", "dtype", "threads", "isa", "metric", "unit",
                  "median", "min", "best", "n", "cpu", "clock"},
        "train": {"steps", "tokens", "train_loss", "valid_loss", "valid_bits_per_byte",
                  "tokens_per_second", "seconds", "peak_rss_bytes", "parameters"},
        "eval": {"loss", "perplexity", "bits_per_byte", "tokens", "bytes", "tokens_per_second",
                 "peak_rss_bytes"},
        "generate": {"text", "token_ids", "prompt_tokens", "new_tokens", "stop_reason",
                     "prompt_tokens_per_second", "new_tokens_per_second", "peak_rss_bytes"},
        "prepare": {"tokens", "bytes", "bytes_per_token", "vocab_size", "seconds"},
    }

    def test_every_verb_prints_one_object_with_its_keys(self):
        calls = {**self.quick_calls(),
                 "inspect": [self.model / "model.safetensors", "--tensors"]}
        for verb in self.KEYS:
            result = mote(verb, *calls[verb], "--json")
            self.assert_done(result)
            self.assertEqual(len(result.stdout.splitlines()), 1, verb)
            self.assertLessEqual(self.KEYS[verb], set(result.json()), verb)
            self.assertNotIn(None, result.json().values(), verb)

    def test_without_json_the_same_facts_are_lines(self):
        result = mote("eval", self.model, "--data", self.shared / "valid.txt")
        self.assert_done(result)
        self.assertIn("bits_per_byte: ", result.stdout)
        with self.assertRaises(json.JSONDecodeError):
            result.json()

    def test_quiet_says_nothing_on_stderr(self):
        result = self.train(self.scratch / "run", "--quiet")
        self.assert_done(result)
        self.assertEqual(result.stderr, "")


if __name__ == "__main__":
    unittest.main()

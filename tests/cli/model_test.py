"""Models that are whole, cut short or corrupted: evaluation, generation, and one clear line."""

import json
import math
import os
import random
import shutil
import subprocess
import unittest
from pathlib import Path

from program import PROGRAM, TrainedTest, mote, set_weights, state_of


class Generation(TrainedTest):
    def generate(self, *words, prompt="the small"):
        result = mote("generate", self.model, "-p", prompt, "--json", *words)
        self.assert_done(result)
        return result.json()

    def test_greedy_is_the_same_twice(self):
        a = self.generate("-n", "20", "--temperature", "0")
        b = self.generate("-n", "20", "--temperature", "0", "--seed", "9")
        self.assertEqual(a["token_ids"], b["token_ids"])
        self.assertEqual(a["new_tokens"], 20)
        self.assertEqual(a["stop_reason"], "length")

    def test_a_seed_repeats_itself_and_another_does_not(self):
        a, b, c = (self.generate("-n", "30", "--seed", s)["token_ids"] for s in ("1", "1", "2"))
        self.assertEqual(a, b)
        self.assertNotEqual(a, c)

    def test_threads_do_not_change_a_token(self):
        a, b = (self.generate("-n", "30", "--seed", "1", "--threads", n) for n in ("1", "2"))
        self.assertEqual(a["token_ids"], b["token_ids"])

    def test_a_stop_text_ends_before_itself(self):
        free = self.generate("-n", "40", "--temperature", "0")["text"]
        stop = free[5:8]
        cut = self.generate("-n", "40", "--temperature", "0", "--stop", stop)
        self.assertEqual(cut["text"], free[:free.index(stop)])
        self.assertEqual(cut["stop_reason"], "stop")

    def test_no_new_tokens_is_no_text(self):
        none = self.generate("-n", "0")
        self.assertEqual((none["text"], none["new_tokens"], none["token_ids"]), ("", 0, []))

    def test_peak_memory_is_its_own_not_its_callers(self):
        held = b"x" * (512 << 20)
        self.assertLess(self.generate("-n", "1")["peak_rss_bytes"], len(held))

    def test_text_streams_to_stdout_after_its_prompt(self):
        words = ("-n", "10", "--temperature", "0")
        result = mote("generate", self.model, "-p", "the small", *words)
        self.assert_done(result)
        self.assertEqual(result.stdout, "the small" + self.generate(*words)["text"] + "\n")

    def test_a_file_of_prompts_gives_a_result_each(self):
        prompts = self.scratch / "prompts.txt"
        prompts.write_text("the small\nwide\n")
        words = ("-n", "5", "--temperature", "0")
        result = mote("generate", self.model, "--prompts", prompts, "--json", *words)
        self.assert_done(result)
        texts = [r["text"] for r in result.json()["results"]]
        self.assertEqual(texts, [self.generate(*words, prompt=p)["text"]
                                 for p in ("the small", "wide")])

    def test_prompts_side_by_side_give_what_they_give_alone_and_in_their_order(self):
        prompts = self.scratch / "prompts.txt"
        prompts.write_text("the small\nwide\na\nsome longer words before it\n")
        words = ("generate", self.model, "--prompts", prompts, "-n", "12", "--seed", "3")
        alone, together = (mote(*words, "--parallel", n) for n in ("1", "3"))
        self.assert_done(alone)
        self.assertEqual(together.stdout, alone.stdout)
        facts = mote(*words, "--json").json()
        self.assertEqual(facts["new_tokens"], sum(r["new_tokens"] for r in facts["results"]))
        self.assertGreater(facts["seconds"], 0)
        self.assert_refused(mote("generate", self.model, "-p", "a", "--parallel", "2"), 2, "--prompts")
        self.assert_refused(mote(*words, "--parallel", "0"), 2, "--parallel")

    def test_is_benched(self):
        result = mote("bench", "generate", "--model", self.model, "--only", "decode=64", "--repeat", "1", "--json")
        self.assert_done(result)
        row = result.json()
        self.assertEqual((row["phase"], row["unit"]), ("decode", "tokens/s"))
        self.assertGreater(row["median"], 0)
        refused = mote("bench", "generate", "--model", self.model, "--activations", "int8")
        self.assert_refused(refused, 1, "packed")

    def test_streams_are_scored_as_training_reads(self):
        data = self.shared / "valid.txt"
        context = json.loads((self.model / "config.json").read_text())["context"]
        tokens = data.stat().st_size + 1  # one document, and the token before it
        result = mote("eval", self.model, "--data", data, "--streams", "4", "--json")
        self.assert_done(result)
        facts = result.json()
        self.assertEqual(facts["tokens"], (tokens - 1) // context // 4 * 4 * context)
        alone = mote("eval", self.model, "--data", data, "--json").json()
        self.assertAlmostEqual(facts["loss"], alone["loss"], delta=0.2)
        self.assert_refused(mote("eval", self.model, "--data", data, "--streams", "4000"), 1,
                            "windows", "4000 streams")

    def test_a_prompt_that_is_not_utf8_is_misuse(self):
        result = mote("generate", self.model, "--json", "-p", b"\xff\xfe")
        self.assert_refused(result, 2, "-p", "UTF-8")
        self.assertEqual(result.json()["error"]["field"], "-p")
        self.assert_refused(mote("generate", self.model, "-p", "a", "--stop", b"\xff"), 2, "--stop", "UTF-8")

    def test_a_prompt_may_come_from_a_file(self):
        prompt = self.scratch / "prompt.txt"
        prompt.write_text("the small\n")
        words = ("-n", "5", "--temp", "0", "--json")
        result = mote("generate", self.model, "-f", prompt, *words)
        self.assert_done(result)
        self.assertEqual(result.json()["text"], self.generate(*words)["text"])
        prompt.write_bytes(b"\xff\xfe")
        self.assert_refused(mote("generate", self.model, "-f", prompt), 1, prompt, "UTF-8")
        self.assert_refused(mote("generate", self.model, "-f", prompt, "-p", "a"), 2, "--prompt")

    def test_lines_of_prompts_may_end_as_in_windows(self):
        prompt = self.scratch / "prompt.txt"
        prompt.write_bytes(b"the small\r\n")
        wanted = self.generate("-n", "5", "--temp", "0")["token_ids"]
        for words in (["-f", prompt], ["--prompts", prompt]):
            result = mote("generate", self.model, *words, "-n", "5", "--temp", "0", "--json")
            self.assert_done(result)
            facts = result.json()
            self.assertEqual(facts.get("results", [facts])[0]["token_ids"], wanted)

    def test_a_fresh_seed_is_drawn_printed_and_repeats_its_text(self):
        first, second = (self.generate("-n", "30", "--temp", "1") for _ in range(2))
        self.assertNotEqual(first["seed"], second["seed"])
        self.assertNotEqual(first["token_ids"], second["token_ids"])
        result = mote("generate", self.model, "-p", "the small", "-n", "30", "--temp", "1")
        self.assert_done(result)
        seed = result.stderr.rsplit("seed ", 1)[1].strip()
        again = self.generate("-n", "30", "--temp", "1", "-s", seed)
        self.assertEqual("the small" + again["text"] + "\n", result.stdout)
        self.assertEqual(again["seed"], int(seed))

    def test_the_last_line_on_stderr_tells_the_rates(self):
        result = mote("generate", self.model, "-p", "the", "-n", "7", "--temp", "0")
        self.assertRegex(result.complaint(),
                         r"^4 tokens of prompt at [\d.]+ a second, 7 new at [\d.]+; seed \d+$")
        self.assertEqual(mote("generate", self.model, "-p", "the", "--quiet").stderr, "")

    def test_peers_short_names_mean_the_long_ones(self):
        short = self.generate("-n", "9", "-t", "1", "-c", "64", "-s", "3", "--temp", "0.7")
        long = self.generate("-n", "9", "--threads", "1", "--ctx-size", "64", "--seed", "3",
                             "--temperature", "0.7")
        self.assertEqual(short["token_ids"], long["token_ids"])
        self.assertNotEqual(short["token_ids"],
                            self.generate("-n", "9", "-c", "64", "-s", "4", "--temp", "0.7")["token_ids"])

    def test_a_bad_file_of_prompts_is_named(self):
        broken = self.scratch / "broken.txt"
        broken.write_bytes(b"fine\n\xff\xfe\n")
        self.assert_refused(mote("generate", self.model, "--prompts", broken), 1, f"{broken}:2")
        missing = self.scratch / "missing.txt"
        self.assert_refused(mote("generate", self.model, "--prompts", missing), 1, missing)
        empty = self.scratch / "empty.txt"
        empty.write_text("")
        self.assert_refused(mote("generate", self.model, "--prompts", empty), 1, empty)

    def test_sampling_out_of_range_is_misuse(self):
        for flag, value, *limits in (
                ("--temperature", "-1", "0", "1000"), ("--temperature", "nan", "0", "1000"),
                ("--top-p", "1.5", "0", "1"), ("--top-p", "nan", "0", "1"),
                ("--top-k", "-2", "0", "1000000000"), ("--min-p", "2", "0", "1"),
                ("--repeat-penalty", "0", "0.001", "1000"), ("-n", "-1", "0"), ("-n", "many"),
                ("-c", "-1", "0"), ("-t", "0", "1", "1024"), ("-s", "-1", "0"),
                ("-s", "18446744073709551616", "0"), ("-n", "1e3", "0"), ("--top-k", "", "0")):
            result = mote("generate", self.model, "-p", "a", flag, value)
            self.assert_refused(result, 2, value, *limits)

    def test_what_greedy_decoding_does_not_use_is_said(self):
        words = ("generate", self.model, "-p", "a", "-n", "2", "--temp", "0")
        result = mote(*words, "--top-p", "0.5", "-s", "3")
        self.assert_done(result)
        self.assertIn("warning: --temperature 0", result.stderr)
        self.assertIn("--top-p, --seed", result.stderr)
        self.assertNotIn("warning", mote(*words).stderr)

    def test_an_empty_prompt_may_be_given(self):
        for words in (["-p", ""], ["--prompt="]):
            result = mote("generate", self.model, *words, "-n", "3", "--temp", "0", "--json")
            self.assert_done(result)
            self.assertEqual(result.json()["prompt_tokens"], 1)

    def test_an_empty_stop_text_is_misuse(self):
        self.assert_refused(mote("generate", self.model, "-p", "a", "--stop", ""), 2, "--stop", "empty")


class Evaluation(TrainedTest):
    def evaluate(self, *words):
        result = mote("eval", self.model, "--data", self.shared / "valid.txt", "--json", *words)
        self.assert_done(result)
        return result.json()

    def test_it_equals_what_training_measured(self):
        lines = (self.model / "metrics.jsonl").read_text().splitlines()
        self.assertAlmostEqual(self.evaluate()["loss"], json.loads(lines[-1])["valid_loss"])

    def test_context_changes_the_loss_a_little(self):
        short, long = (self.evaluate("--ctx-size", n)["loss"] for n in ("16", "80"))
        self.assertNotEqual(short, long)
        self.assertAlmostEqual(short, long, delta=0.5)
        result = mote("eval", self.model, "--data", self.shared / "valid.txt", "--ctx-size", "8")
        self.assert_refused(result, 2, "--ctx-size 8", "16")

    def test_a_context_of_a_million_costs_the_positions_that_there_are(self):
        """A table of 10^6 positions would take 2 * 16 * 4 * 10^6 bytes, made from doubles."""
        few, many = (self.evaluate("-c", n, "--max-bytes", "100") for n in ("200", "10000000"))
        self.assertAlmostEqual(few["loss"], many["loss"], delta=1e-6)
        self.assertLess(many["peak_rss_bytes"] - few["peak_rss_bytes"], 10_000_000)

    def test_threads_do_not_change_a_bit(self):
        one, two = (self.evaluate("--threads", n)["loss"] for n in ("1", "2"))
        self.assertEqual(one, two)

    def test_instruction_sets_agree(self):
        # A float32 forward pass, to a few roundings per layer.
        self.assertAlmostEqual(self.evaluate("--isa", "reference")["loss"],
                               self.evaluate()["loss"], delta=1e-5)

    def test_max_bytes_scores_the_beginning(self):
        part = self.evaluate("--max-bytes", "100")
        self.assertEqual(part["bytes"], 100)
        self.assertEqual(part["tokens"], 100)


class WeightsThatAreNotNumbers(TrainedTest):
    """NaN, infinite and huge weights: a numeric error that names the tensor, and nothing else on stdout."""

    def setUp(self):
        super().setUp()
        self.copy = self.scratch / "model"
        shutil.copytree(self.model, self.copy)

    def assert_numeric(self, words, tensor, *parts):
        result = mote(*words, "--json")
        self.assert_refused(result, 1, tensor, *parts)
        error = result.json()["error"]
        self.assertEqual((error["kind"], error["field"]), ("numeric", tensor))

    def test_every_verb_names_the_tensor_and_writes_nothing(self):
        valid, out = self.shared / "valid.txt", self.scratch / "out"
        for value, said in ((math.nan, "nan"), (math.inf, "inf"), (3e38, "3e+38")):
            for tensor in ("blocks.1.attention.q.weight", "norm.weight",
                           "blocks.0.feed_forward.experts.up"):
                with self.subTest(value=value, tensor=tensor):
                    shutil.copy(self.model / "model.safetensors", self.copy)
                    set_weights(self.copy, tensor, [value, -value] * 8)
                    self.assert_numeric(["eval", self.copy, "--data", valid], tensor, "tokens", said)
                    if "experts" not in tensor:  # a short text may not reach the first expert
                        words = ["generate", self.copy, "-p", "the small gate", "-n", "40"]
                        self.assert_numeric(words, tensor, "tokens", said)
                        self.assertEqual(mote(*words).stdout, "")
                    for method in ("gptq", "rtn"):
                        words = ["compress", self.copy, out, "--bits", "2", "--method", method]
                        self.assert_numeric(words, tensor)
                        self.assertFalse(out.exists())
                        self.assert_nothing_temporary(self.scratch)

    def test_compression_of_huge_weights_says_what_eval_finds(self):
        out = self.scratch / "out"
        for value in (1e20, 1e30):
            set_weights(self.copy, "blocks.1.feed_forward.experts.up", [value, -value] * 16)
            for bits in ("ternary", "2"):
                for method in ("rtn", "gptq"):
                    with self.subTest(value=value, bits=bits, method=method):
                        words = ["compress", self.copy, out, "--bits", bits, "--method", method]
                        if method == "gptq":  # its squared errors overflow
                            self.assert_numeric(words, "blocks.1.feed_forward.experts.up", f"{value:g}")
                            self.assertFalse(out.exists())
                            continue
                        result = mote(*words, "--json")
                        self.assert_done(result)
                        scored = mote("eval", out, "--data", self.shared / "valid.txt", "--json")
                        self.assert_done(scored)
                        self.assertAlmostEqual(scored.json()["loss"], result.json()["loss_after"], delta=1e-6)
                        shutil.rmtree(out)

    def test_generate_says_after_how_many_tokens(self):
        set_weights(self.copy, "head.bias", [math.nan])
        self.assert_numeric(["generate", self.copy, "-p", "abc", "-n", "3"], "head.bias", "after 4 tokens")


class FilesOfAnotherModel(TrainedTest):
    def setUp(self):
        super().setUp()
        self.copy = self.scratch / "model"
        shutil.copytree(self.model, self.copy)

    def change_config(self, change):
        config = json.loads((self.copy / "config.json").read_text())
        change(config)
        (self.copy / "config.json").write_text(json.dumps(config))

    def test_tensors_beyond_the_config_are_named(self):
        self.change_config(lambda config: config.update(layers=1))
        for words in (["eval", self.copy, "--data", self.shared / "valid.txt"], ["inspect", self.copy],
                      ["generate", self.copy, "-p", "a"],
                      ["compress", self.copy, self.scratch / "out", "--bits", "2"]):
            self.assert_refused(mote(*words), 1, "model.safetensors", "'blocks.1.")

    def test_packed_entries_that_are_double_or_unknown_are_named(self):
        packed = self.scratch / "packed"
        self.assert_done(mote("compress", self.model, packed, "--bits", "2", "--method", "rtn"))
        written = (packed / "config.json").read_text()
        for name, said in (("blocks.0.feed_forward.experts.up", "twice"), ("blocks.7.up", "no matrix"),
                           ("norm.weight", "no matrix")):
            config = json.loads(written)
            entries = config["quantization_config"]["tensors"]
            entries.append({**entries[0], "name": name})
            (packed / "config.json").write_text(json.dumps(config))
            result = mote("eval", packed, "--data", self.shared / "valid.txt", "--json")
            self.assert_refused(result, 1, packed / "config.json", name, said)
            self.assertEqual(result.json()["error"]["field"], "quantization_config.tensors")

    def test_a_tokenizer_with_ids_beyond_the_embedding_is_refused(self):
        larger = self.scratch / "larger"
        self.assert_done(mote("prepare", self.shared / "train.txt", "--out", larger, "--vocab-size", "270"))
        shutil.copy(larger / "tokenizer.json", self.copy)
        for words in (["eval", self.copy, "--data", self.shared / "valid.txt"],
                      ["generate", self.copy, "-p", "the small"],
                      ["compress", self.copy, self.scratch / "out", "--bits", "2"]):
            result = mote(*words)
            self.assert_refused(result, 1, self.copy / "tokenizer.json", "270", "257")
            self.assertEqual(result.stdout, "")

    def test_rows_beyond_the_tokenizer_are_never_sampled(self):
        wide = self.scratch / "wide"
        self.assert_done(self.train(wide, "--set", "training.steps=1", "--set", "data.tokenizer=bpe",
                                    "--set", "data.vocab_size=270"))
        set_weights(wide, "head.bias", [0] * 257 + [50] * 13)
        shutil.copy(self.model / "tokenizer.json", wide)
        for temperature in ("0", "1"):
            result = mote("generate", wide, "-p", "a", "-n", "30", "--temp", temperature, "--json")
            self.assert_done(result)
            self.assertLess(max(result.json()["token_ids"]), 257)

    def test_a_model_that_becomes_shorter_ends_in_one_line(self):
        path = self.copy / "model.safetensors"
        path.unlink()
        shutil.copy(self.model / "model.safetensors", path)
        set_weights(self.copy, "head.bias", [0] * 256 + [-1000])  # the end of text is never drawn
        words = [PROGRAM, "generate", self.copy, "-p", "a", "-n", "1000000", "--stop", "never said"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertNotEqual(process.stdout.read(1), b"")  # it speaks
        os.truncate(path, 0)
        _, stderr = process.communicate(timeout=60)
        lines = stderr.decode().splitlines()
        self.assertEqual((process.returncode, len(lines)), (1, 1), lines)
        self.assertIn(f"mote: {path}: became shorter", lines[0])


class CorruptedFiles(TrainedTest):
    FILES = ("model.safetensors", "config.json", "tokenizer.json")

    def setUp(self):
        super().setUp()
        self.copy = self.scratch / "model"
        shutil.copytree(self.model, self.copy)

    def evaluate(self):
        return mote("eval", self.copy, "--data", self.shared / "valid.txt", "--max-bytes", "50",
                    "--json")

    def resume(self):
        return self.train(self.copy, "--resume", "--json")

    def assert_file_refused(self, result, path):
        self.assert_refused(result, 1, path)
        self.assertEqual(result.json()["error"]["file"], str(path))

    def test_a_file_cut_short_or_missing_is_named(self):
        for name in self.FILES:
            path = self.copy / name
            whole = path.read_bytes()
            for length in (0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 3):
                with self.subTest(name=name, length=length):
                    path.write_bytes(whole[:length])
                    self.assert_file_refused(self.evaluate(), path)
            path.unlink()
            # Tensors may lie in files of many names.
            self.assert_file_refused(self.evaluate(), self.copy if name == "model.safetensors" else path)
            path.write_bytes(whole)
        self.assert_done(self.evaluate())

    def test_a_training_state_cut_short_is_named(self):
        path = state_of(self.copy)
        whole = path.read_bytes()
        for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
            with self.subTest(length=length):
                path.write_bytes(whole[:length])
                self.assert_file_refused(self.resume(), path)
                self.assertEqual(path.read_bytes(), whole[:length], "a refused state is left alone")

    def test_corrupted_bytes_never_crash(self):
        # A changed weight or word of the tokenizer may pass unseen; a signal or a second line may
        # not.
        draw = random.Random(5)
        for name in self.FILES:
            path = self.copy / name
            whole = path.read_bytes()
            for number in range(8):
                data = bytearray(whole)
                for _ in range(draw.randint(1, 4)):
                    data[draw.randrange(min(len(data), 2000))] = draw.randrange(256)
                path.write_bytes(data)
                result = self.evaluate()
                with self.subTest(name=name, number=number, stderr=result.stderr):
                    self.assertIn(result.status, (0, 1))
                    if result.status == 1:
                        self.assert_refused(result, 1)
                        self.assertIn("error", result.json())
            path.write_bytes(whole)

    def test_corrupted_training_state_never_crashes(self):
        draw = random.Random(6)
        path = state_of(self.copy)
        whole = path.read_bytes()
        for number in range(8):
            data = bytearray(whole)
            data[draw.randrange(2000)] = draw.randrange(256)
            path.write_bytes(data)
            result = self.resume()
            with self.subTest(number=number, stderr=result.stderr):
                self.assertIn(result.status, (0, 1))

    def change_config(self, **changes):
        path = self.copy / "config.json"
        config = json.loads(path.read_text())
        for key, value in changes.items():
            config[key] = value
        path.write_text(json.dumps(config))
        return path

    def test_a_config_of_another_model_names_both_shapes(self):
        self.change_config(dim=32)
        self.assert_refused(self.evaluate(), 1, "32", "16", "model.safetensors")

    def test_a_config_with_absurd_sizes_is_refused(self):
        for changes in ({"dim": -2}, {"dim": 2**62}, {"layers": 2**40}, {"dim": "wide"},
                        {"layers": 1.5}, {"vocab_size": 0}, {"model_type": 3},
                        {"dim": [[[[]]]]}, {"context": 2**62}):
            with self.subTest(changes=changes):
                self.change_config(**changes)
                self.assert_refused(self.evaluate(), 1)
                shutil.copy(self.model / "config.json", self.copy)

    def test_a_deeply_nested_config_is_refused(self):
        path = self.copy / "config.json"
        path.write_text('{"model_type": "mote", "dim": ' + "[" * 200_000 + "]" * 200_000 + "}")
        self.assert_refused(self.evaluate(), 1, path)


if __name__ == "__main__":
    unittest.main()

"""Models that are whole, cut short or corrupted: evaluation, generation, and one clear line."""

import json
import random
import shutil
import unittest
from pathlib import Path

from program import TrainedTest, mote, state_of


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

    def test_a_prompt_that_is_not_utf8_is_misuse(self):
        result = mote("generate", self.model, "--json", "-p", b"\xff\xfe")
        self.assert_refused(result, 2, "-p", "UTF-8")
        self.assertEqual(result.json()["error"]["field"], "-p")

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
        for flag, value in (("--temperature", "-1"), ("--top-p", "1.5"), ("--top-k", "-2"),
                            ("--min-p", "2"), ("--repeat-penalty", "0"), ("-n", "-1"),
                            ("-n", "many")):
            self.assert_refused(mote("generate", self.model, "-p", "a", flag, value), 2, value)


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
            self.assert_file_refused(self.evaluate(), path)
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

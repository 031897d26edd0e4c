"""Runs that begin, go on, start from other weights and are refused; what stands in their folders."""

import gzip
import json
import math
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import time
import unittest
from pathlib import Path

from program import (PROGRAM, ProgramTest, TrainedTest, losses, make_text, mote, set_numbers, state_of,
                     tensors_in)


def names_in(folder):
    return sorted(p.name for p in Path(folder).iterdir())


def metrics(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def change_header(path, change):
    """Rewrites the JSON header of a safetensors file; offsets in it count from the header's end."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:])


class Starting(ProgramTest):
    """A checkpoint or nothing: what fails before the first one does not block the folder."""

    def assert_free_for_the_corrected_recipe(self, out, result, *parts):
        self.assert_refused(result, 1, *parts)
        self.assertFalse(out.exists())
        self.assert_done(self.train(out))

    def test_a_text_too_short_leaves_nothing(self):
        out = self.scratch / "run"
        short = self.scratch / "short.txt"
        short.write_text("a few words")
        result = self.train(out, "--set", f"data.train={short}")
        self.assert_free_for_the_corrected_recipe(out, result, "the text has 12 tokens")

    def test_too_little_memory_leaves_nothing(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

        out = self.scratch / "run"
        result = self.train(out, "--set", "model.dim=1000000", preexec_fn=limit)
        self.assert_free_for_the_corrected_recipe(out, result, "memory")

    def test_a_step_that_fits_no_memory_is_refused_before_it_is_run(self):
        out = self.scratch / "run"
        result = self.train(out, "--set", "training.streams=1000000000")
        self.assert_free_for_the_corrected_recipe(out, result, "training.streams = 1000000000",
                                                  "of memory")

    def test_a_loss_that_is_not_finite_leaves_nothing(self):
        out = self.scratch / "run"
        result = self.train(out, "--set", "training.learning_rate=1e30", "--set", "training.steps=1")
        self.assert_free_for_the_corrected_recipe(out, result, "the loss of", "none was saved yet")

    def test_an_interrupt_while_tokenising_leaves_nothing(self):
        out = self.scratch / "run"
        long = self.scratch / "long.txt"
        long.write_text("".join(f"{i * 2654435761 % 2**32:x} " for i in range(2_000_000)))
        process = subprocess.Popen(
            [PROGRAM, "train", self.recipe, "--out", out, "--set", f"data.train={long}", "--set",
             "data.tokenizer=bpe", "--set", "data.vocab_size=4000"], stderr=subprocess.PIPE)
        while b"tokenising" not in process.stderr.readline():
            self.assertIsNone(process.poll(), "ended before it could be interrupted")
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, 130, stderr)
        self.assertIn("interrupted before the first step", stderr)
        self.assertEqual(names_in(self.scratch), ["long.txt"])
        self.assert_done(self.train(out))

    def test_a_kill_before_the_first_checkpoint_does_not_block_another_recipe(self):
        out = self.scratch / "run"
        process = subprocess.Popen(
            [PROGRAM, "train", self.recipe, "--out", out, "--set", "training.steps=1000000",
             "--set", "training.save_every=1000000", "--set", "training.eval_every=1000000"],
            stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 60
        while not (out / "metrics.jsonl").exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assert_refused(self.train(out), 1, f"process {process.pid} ")
        process.kill()
        process.wait()
        self.assertIn(".run.lock", names_in(out))
        self.assert_done(self.train(out))
        self.assertNotIn(".run.lock", names_in(out))

    def test_a_model_larger_than_memory_is_refused_before_anything_is_made(self):
        out = self.scratch / "huge"
        result = self.train(out, "--set", "model.dim=1000000", "--set", "model.layers=64")
        self.assert_refused(result, 1, "of memory")
        self.assertFalse(out.exists())

    def test_a_folder_that_is_no_run_is_left_as_it_is(self):
        out = self.scratch / "notes"
        (out / ".secrets.tmp-2024").mkdir(parents=True)
        (out / ".secrets.tmp-2024" / "key").write_text("mine")
        (out / ".notes.tmp-").write_text("mine")
        before = sorted(out.rglob("*"))
        for words in ((), ("--resume",)):
            self.assert_refused(self.train(out, *words), 1, out)
            self.assertEqual(sorted(out.rglob("*")), before)

    def test_a_link_is_written_where_it_points(self):
        (self.scratch / "disk").mkdir()
        link = self.scratch / "link"
        link.symlink_to("disk/there")
        words = ("prepare", self.shared / "train.txt", "--out", link, "--tokenizer", "bytes")
        self.assert_done(mote(*words))
        self.assertTrue(link.is_symlink())
        self.assertEqual(names_in(self.scratch / "disk" / "there"),
                         ["tokenizer.json", "tokens.bin", "tokens.json"])
        self.assertEqual(names_in(self.scratch), ["disk", "link"])


    def test_a_link_with_a_slash_or_in_a_chain_is_followed_too(self):
        model = self.scratch / "model"
        self.assert_done(self.train(model, "--set", "training.steps=1"))
        verbs = {"train": lambda out: self.train(out, "--set", "training.steps=1"),
                 "prepare": lambda out: mote("prepare", self.shared / "valid.txt", "--out", out),
                 "compress": lambda out: mote("compress", model, out, "--bits", "2", "--method", "rtn")}
        for verb, call in verbs.items():
            disk = self.scratch / verb
            (disk / "real").mkdir(parents=True)
            for number, end in enumerate(("", "/", "//", "/.")):
                there = disk / "real" / f"there-{number}"
                last, first = disk / f"last-{number}", disk / f"first-{number}"
                last.symlink_to(f"real/{there.name}")
                first.symlink_to(last.name + "/")
                with self.subTest(verb=verb, end=end):
                    self.assert_done(call(f"{first}{end}"))
                    self.assertTrue(first.is_symlink() and last.is_symlink())
                    self.assertTrue(any(there.iterdir()))
                    self.assert_nothing_temporary(disk)
            # Through a link the folder above is the target's.
            (disk / "deep" / "inner").mkdir(parents=True)
            (disk / "jump").symlink_to("deep/inner")
            self.assert_done(call(f"{disk}/jump/../out"))
            self.assertTrue(any((disk / "deep" / "out").iterdir()))
            self.assertFalse((disk / "out").exists())
            (disk / "a").symlink_to("b")
            (disk / "b").symlink_to("a")
            self.assert_refused(call(disk / "a"), 1, disk / "a")
            note = disk / "note.txt"
            note.write_text("mine")
            (disk / "to-note").symlink_to("note.txt")
            for out in (note, disk / "to-note", note / "below"):
                self.assert_refused(call(out), 1, note)
            self.assertEqual(note.read_text(), "mine")


class TwoProcesses(ProgramTest):
    def start(self, *words):
        process = subprocess.Popen([PROGRAM, *map(os.fspath, words)], stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_on_one_run_the_second_is_refused_and_the_first_goes_on(self):
        out = self.scratch / "run"
        words = ("--set", "training.steps=300", "--set", "training.save_every=1")
        first = self.start("train", self.recipe, "--out", out, *words)
        deadline = time.monotonic() + 60
        while not (out / "checkpoints" / "latest").exists():
            self.assertLess(time.monotonic(), deadline)
        refused = self.train(out, "--resume", *words)
        self.assert_refused(refused, 1, out, f"process {first.pid} on {os.uname().nodename} since 2")
        self.assertEqual(first.wait(timeout=120), 0)
        self.assertEqual(metrics(out)[-1]["step"], 300)
        self.assert_nothing_temporary(out)

    def test_on_one_output_the_second_is_refused_and_a_killed_one_leaves_nothing(self):
        text = self.scratch / "text"
        text.write_text("".join(f"{i * 2654435761 % 2**32:x} " for i in range(3_000_000)))
        out = self.scratch / "out"
        words = ("prepare", text, "--out", out, "--vocab-size", "5000")
        first = self.start(*words)
        deadline = time.monotonic() + 60
        while not list(self.scratch.glob(".out.tmp-*")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)
        self.assert_refused(mote(*words), 1, out, f"process {first.pid} on ")
        first.kill()
        first.wait()
        self.assertEqual(len(list(self.scratch.glob(".out.tmp-*"))), 1, "a kill leaves it")
        (self.scratch / ".other.tmp-2024").write_text("mine")
        short = ("prepare", self.shared / "train.txt", "--out", out, "--tokenizer", "bytes")
        self.assert_done(mote(*short))
        self.assertEqual(names_in(self.scratch), [".other.tmp-2024", "out", "text"])


class Killed(TrainedTest):
    def test_inside_compress_it_leaves_what_the_next_one_removes(self):
        out = self.scratch / "out"
        words = ("compress", self.model, out, "--bits", "2", "--calibration",
                 self.shared / "train.txt", "--samples", "1000")
        process = subprocess.Popen([PROGRAM, *map(os.fspath, words)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not list(self.scratch.glob(".out.tmp-*")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)
        process.kill()
        process.wait()
        self.assertEqual(len(list(self.scratch.glob(".out.tmp-*"))), 1, "a kill leaves it")
        self.assert_done(mote(*words[:-1], "3"))
        self.assertEqual(names_in(self.scratch), ["out"])


class StartingFrom(TrainedTest):
    def test_a_finished_model_without_its_state_is_refused_and_trained_on_by_from(self):
        model = self.scratch / "model"
        shutil.copytree(self.model, model)
        shutil.rmtree(model / "checkpoints")
        before = (model / "model.safetensors").read_bytes()
        self.assert_refused(self.train(model, "--resume"), 1, "training_state", "--from")
        self.assertEqual((model / "model.safetensors").read_bytes(), before)

        out = self.scratch / "on"
        self.assert_done(self.train(out, "--from", model))
        last = [m["loss"] for m in metrics(self.model) if "loss" in m][-1]
        first = [m["loss"] for m in metrics(out) if "loss" in m][0]
        self.assertLess(abs(first - last), 0.5, "begins where the other ended")
        self.assertGreater(metrics(self.model)[0]["loss"], last + 1)
        self.assertIn(f'from = "{model}"', (out / "recipe.toml").read_text())
        # The weights are there now: going on does not need the model again.
        shutil.rmtree(model)
        self.assert_done(self.train(out, "--resume"))

    def test_sizes_are_compared_by_name(self):
        out = self.scratch / "on"
        result = self.train(out, "--from", self.model, "--set", "model.dim=32")
        self.assert_refused(result, 1, "blocks.0.attention.k.weight", "[16, 16]", "[16, 32]", self.model)
        result = self.train(out, "--from", self.model, "--set", "model.layers=3")
        self.assert_refused(result, 1, "blocks.2.", "missing")
        self.assertFalse(out.exists())

    def test_what_changes_the_function_of_the_weights_is_a_warning(self):
        words = ("--set", "model.feed_forward.experts_per_token=1", "--set", "training.steps=1")
        result = self.train(self.scratch / "on", "--from", self.model, *words)
        self.assert_done(result)
        self.assertIn("warning: model.feed_forward.router.experts_per_token", result.stderr)

    def test_a_checkpoint_with_its_own_tokenizer_is_a_start(self):
        bpe = self.scratch / "bpe"
        self.assert_done(self.train(bpe, "--set", "data.tokenizer=bpe", "--set", "data.vocab_size=300"))
        other = self.scratch / "other.txt"
        other.write_text(make_text(3000, seed=9).upper())
        out = self.scratch / "on"
        step = state_of(bpe).parent
        self.assert_done(self.train(out, "--from", step, "--set", f"data.train={other}"))
        self.assertEqual((out / "tokenizer.json").read_bytes(), (bpe / "tokenizer.json").read_bytes())


class States(TrainedTest):
    """A run's state names what it belongs to."""

    def setUp(self):
        super().setUp()
        self.run_folder = self.scratch / "run"
        shutil.copytree(self.model, self.run_folder)

    def resume(self, *words):
        return self.train(self.run_folder, "--resume", "--set", "training.steps=60", *words)

    def refuse_metadata(self, key, value, *parts):
        state = state_of(self.run_folder)
        kept = state.read_bytes()
        change_header(state, lambda header: header["__metadata__"].update({key: value}))
        self.assert_refused(self.resume(), 1, state, *parts)
        state.write_bytes(kept)

    def test_of_another_number_of_steps_is_refused(self):
        for value in ("1000000", "7abc", "-1", "", "59"):
            self.refuse_metadata("steps_done", value, "steps_done")
        self.refuse_metadata("window_steps", "1000", "window_steps")
        self.refuse_metadata("window_loss", "inf", "window_loss")

    def test_of_another_recipe_is_refused_by_field(self):
        def other_seed(header):
            text = header["__metadata__"]["recipe"]
            self.assertIn("seed = 1\n", text)
            header["__metadata__"]["recipe"] = text.replace("seed = 1\n", "seed = 2\n")

        change_header(state_of(self.run_folder), other_seed)
        self.assert_refused(self.resume(), 1, "training.seed", "another run")

    def test_copied_from_a_run_with_another_seed_is_refused(self):
        other = self.scratch / "other"
        self.assert_done(self.train(other, "--seed", "2"))
        shutil.copy(state_of(other), state_of(self.run_folder))
        self.assert_refused(self.resume(), 1, "training.seed")

    def test_on_swapped_tokens_is_refused(self):
        tokens = self.run_folder / "data" / "tokens.bin"
        data = bytearray(tokens.read_bytes())
        data[2:4], data[4:6] = data[4:6], data[2:4]
        tokens.unlink()
        tokens.write_bytes(data)
        self.assert_refused(self.resume(), 1, "tokens.bin", "xxh64")

    def test_with_memory_of_another_shape_is_refused(self):
        def shorter(header):
            entry = header["memory.0"]
            entry["shape"] = [entry["shape"][0] * 2, entry["shape"][1] // 2, entry["shape"][2]]

        change_header(state_of(self.run_folder), shorter)
        self.assert_refused(self.resume(), 1, "memory.0", "[8, 8, 16]", "[4, 16, 16]")

    def test_with_numbers_that_no_run_leaves_is_refused_by_tensor(self):
        for tensor, value in (("mean.embedding.weight", math.inf), ("mean.norm.bias", math.nan),
                              ("square.head.weight", -1.0), ("square.norm.weight", math.nan),
                              ("memory.0", -math.inf)):
            state = state_of(self.run_folder)
            kept = state.read_bytes()
            set_numbers(state, tensor, [value], at=3)
            self.assert_refused(self.resume(), 1, state, f"'{tensor}' holds {value:g} as number 3",
                                "checkpoints/latest")
            state.write_bytes(kept)

    def test_with_losses_to_tell_that_were_told_is_refused(self):
        self.refuse_metadata("window_steps", "3", "window_steps is 3", "up to step 60 of 60")
        self.refuse_metadata("window_loss", "2.5", "window_loss is 2.5")

    def test_without_the_last_lines_of_metrics_goes_on_and_says_so(self):
        metrics = self.run_folder / "metrics.jsonl"
        lines = metrics.read_text().splitlines(keepends=True)
        metrics.write_text("".join(lines[:40]))
        result = self.resume()
        self.assert_done(result)
        self.assertRegex(result.stderr, r"losses of steps \d+ to 60 are told nowhere")

    def test_of_more_layers_than_the_model_is_refused(self):
        self.refuse_metadata("memory_layers", "3", "memory_layers is 3, the model has 2 layers")

    def test_with_any_damage_to_its_numbers_is_refused_where_no_run_leaves_them(self):
        state = state_of(self.run_folder)
        whole = state.read_bytes()
        tensors = tensors_in(state)
        draw = random.Random(5)
        for _ in range(20):
            tensor = draw.choice(sorted(tensors))
            begin, end = tensors[tensor]
            value = draw.choice((math.nan, math.inf, -math.inf, -1.0, 1.0))
            set_numbers(state, tensor, [value], at=draw.randrange((end - begin) // 4))
            result = self.resume()
            if math.isfinite(value) and not (value < 0 and tensor.startswith("square.")):
                self.assert_done(result)
            else:
                self.assert_refused(result, 1, state, f"'{tensor}' holds {value:g}")
            state.write_bytes(whole)

    def test_beside_another_tokenizer_is_refused(self):
        tokenizer = self.run_folder / "data" / "tokenizer.json"
        tokenizer.write_text(tokenizer.read_text().replace("<|endoftext|>", "</s>"))
        self.assert_refused(self.resume(), 1, tokenizer, state_of(self.run_folder).parent, "differ")

    def test_made_with_other_instructions_goes_on_and_says_so(self):
        result = self.resume("--isa", "reference")
        self.assert_done(result)
        self.assertIn("not be the same bit for bit", result.stderr)
        self.assertNotIn("bit for bit", self.resume().stderr.replace(result.stderr, ""))

    def test_of_another_version_is_named(self):
        self.refuse_metadata("format_version", "2", "format_version", "--from")

    def test_with_any_damage_to_its_header_is_read_or_refused_in_one_line(self):
        state = state_of(self.run_folder)
        whole = state.read_bytes()
        size = struct.unpack("<Q", whole[:8])[0]
        draw = random.Random(3)
        refused = 0
        for _ in range(25):
            damaged = bytearray(whole)
            for _ in range(draw.choice((1, 1, 3))):
                damaged[draw.randrange(8 + size)] = draw.choice(b'0"9,{}[]:\xff\0a')
            state.write_bytes(damaged)
            result = self.resume()
            self.assertIn(result.status, (0, 1), result.stderr)
            if result.status == 1:
                self.assert_refused(result, 1)
                refused += 1
        self.assertGreater(refused, 12)

    def test_a_missing_name_is_refused(self):
        for key in ("recipe", "tokens", "isa", "precision", "version", "steps_done"):
            state = state_of(self.run_folder)
            kept = state.read_bytes()
            change_header(state, lambda header, key=key: header["__metadata__"].pop(key))
            self.assert_refused(self.resume(), 1, state, f"'{key}' is missing")
            state.write_bytes(kept)


class GoingOn(ProgramTest):
    COSINE = ("--set", "training.schedule_steps=60")

    def test_to_more_steps_is_the_run_that_had_them_from_the_start(self):
        whole, out = self.scratch / "whole", self.scratch / "out"
        self.assert_done(self.train(whole, *self.COSINE))
        self.assert_done(self.train(out, *self.COSINE, "--set", "training.steps=25"))
        result = self.train(out, "--resume", *self.COSINE)
        self.assert_done(result)
        self.assertIn("going on after step 25", result.stderr)
        self.assertEqual((out / "model.safetensors").read_bytes(),
                         (whole / "model.safetensors").read_bytes())
        self.assertIn("steps = 60\n", (out / "recipe.toml").read_text())

    def test_from_another_folder_takes_no_other_text_of_the_same_name(self):
        out, elsewhere = self.scratch / "out", self.scratch / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "train.txt").write_text(make_text(4000, seed=9))
        words = (*self.COSINE, "--set", "data.train=train.txt")
        self.assert_done(self.train(out, *words, "--set", "training.steps=25", cwd=self.shared))
        self.assertIn(f'train = "{self.shared}/train.txt"\n', (out / "recipe.toml").read_text())
        self.assert_refused(self.train(out, "--resume", *words, cwd=elsewhere), 1, "data.train",
                            self.shared / "train.txt", elsewhere / "train.txt")
        self.assert_done(self.train(out, "--resume", *words, cwd=self.shared))

    def test_with_a_name_that_is_not_utf8_is_refused_before_it_begins(self):
        text, out = os.fsencode(self.scratch) + b"/caf\xe9.txt", self.scratch / "out"
        shutil.copy(self.shared / "train.txt", text)
        result = self.train(out, "--set", b"data.train=" + text, "--json")
        self.assert_refused(result, 2, "data.train", "UTF-8")
        self.assertEqual(result.json()["error"]["field"], "data.train")
        self.assertFalse(out.exists())

    def test_is_refused_where_the_learning_rate_follows_the_steps(self):
        out = self.scratch / "out"
        self.assert_done(self.train(out))
        result = self.train(out, "--resume", "--set", "training.steps=90")
        self.assert_refused(result, 1, "training.steps", "60", "90", "schedule_steps", "--from")

    def test_with_other_habits_computes_the_same(self):
        whole, out = self.scratch / "whole", self.scratch / "out"
        self.assert_done(self.train(whole, *self.COSINE))
        self.assert_done(self.train(out, *self.COSINE, "--set", "training.steps=25"))
        habits = ("--set", "training.save_every=11", "--set", "training.log_every=5", "--set",
                  "training.eval_every=13", "--set", "training.keep_checkpoints=2")
        self.assert_done(self.train(out, "--resume", *self.COSINE, *habits))
        self.assertEqual((out / "model.safetensors").read_bytes(),
                         (whole / "model.safetensors").read_bytes())

    def test_to_fewer_steps_than_were_done_is_refused(self):
        out = self.scratch / "out"
        self.assert_done(self.train(out, *self.COSINE))
        result = self.train(out, "--resume", *self.COSINE, "--set", "training.steps=20")
        self.assert_refused(result, 1, "60", "20")


class Telling(ProgramTest):
    def test_metrics_have_learning_rate_epoch_and_seconds(self):
        out = self.scratch / "run"
        self.assert_done(self.train(out))
        lines = [m for m in metrics(out) if "loss" in m]
        tokens = json.loads((out / "data" / "tokens.json").read_text())["tokens"]
        per_epoch = (tokens - 1) // 16 // 4
        self.assertAlmostEqual(lines[-1]["epoch"], 60 / per_epoch, places=9)
        self.assertAlmostEqual(lines[0]["learning_rate"], 3e-3, places=9)
        self.assertLess(lines[-1]["learning_rate"], 1e-4)
        seconds = [line["seconds"] for line in lines]
        self.assertEqual(seconds, sorted(seconds))
        self.assertGreater(seconds[0], 0)

    def test_a_run_is_validated_ten_times_and_keeps_the_best_beside_the_last(self):
        out = self.scratch / "run"
        # A rate that grows for ever: the best is not the last.
        words = ("--set", "training.eval_every=0", "--set", "training.learning_rate=0.3",
                 "--set", "training.warmup=60", "--set", "training.save_every=1000")
        result = self.train(out, *words)
        self.assert_done(result)
        valid = {m["step"]: m["valid_loss"] for m in metrics(out) if "valid_loss" in m}
        self.assertEqual(list(valid), list(range(6, 61, 6)))
        best = min(valid, key=valid.get)
        self.assertLess(best, 60)
        self.assertEqual(json.loads((out / "checkpoints" / "best").read_text())["step"], best)
        self.assertEqual(names_in(out / "checkpoints"),
                         sorted(["best", "latest", f"step-{best}", "step-60"]))
        self.assertIn(f"checkpoints/step-{best}", result.stderr)
        self.assert_done(mote("eval", out / "checkpoints" / f"step-{best}", "--data",
                              self.shared / "valid.txt"))

    def test_an_interrupt_says_what_was_saved_and_how_to_go_on(self):
        out = self.scratch / "run"
        process = subprocess.Popen([PROGRAM, "train", self.recipe, "--out", out, "--set",
                                    "training.steps=100000"], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not (out / "checkpoints" / "latest").exists():
            self.assertLess(time.monotonic(), deadline)
        process.send_signal(signal.SIGINT)
        last = process.communicate(timeout=60)[1].decode().strip().splitlines()[-1]
        self.assertEqual(process.returncode, 130)
        saved = state_of(out).parent
        self.assertIn(f"saved as {saved}", last)
        self.assertIn("--resume", last)

    def test_before_training_and_after_some_steps_it_says_what_it_takes(self):
        said = (r"\d+ parameters, \d+ of them for a token; at least \S+ [kM]B of memory\n(.*\n)*"
                r"about \S+ MB of memory and \d+ s for {} steps\n")
        for steps in (60, 1):
            result = self.train(self.scratch / f"run{steps}", "--set", f"training.steps={steps}")
            self.assertRegex(result.stderr, said.format(steps))

    def test_a_dry_run_says_that_and_no_more(self):
        out = self.scratch / "run"
        said = self.train(out, "--dry-run", "--json")
        self.assert_done(said)
        self.assertFalse(out.exists())
        real = self.train(out, "--json").json()
        said = said.json()
        self.assertEqual(said["parameters"], real["parameters"])
        self.assertEqual((said["steps"], said["tokens"]), (60, 60 * 4 * 16))
        self.assertGreater(said["seconds"], 0)
        self.assertLess(abs(said["memory_bytes"] / real["peak_rss_bytes"] - 1), 0.25)

    def test_memory_is_that_of_a_step_too(self):
        wide = ("--set", "training.streams=64", "--set", "model.context=64", "--set",
                "training.steps=5", "--set", "model.dim=128", "--set", "model.layers=4")
        kinds = {
            "mixture": ("--set", "model.feed_forward.expert_width=128"),
            "dense": ("--set", "model.feed_forward.kind=dense", "--set", "model.dropout=0"),
            "causal": ("--set", "model.attention.kind=causal"),
        }
        for name, kind in kinds.items():
            told = self.train(self.scratch / name, *wide, *kind, "--dry-run", "--json").json()
            real = self.train(self.scratch / name, *wide, *kind, "--json").json()
            beside = real["startup_rss_bytes"]
            self.assertGreater(real["peak_rss_bytes"], 2 * beside, "nearly all is the step's")
            ratio = (told["memory_bytes"] - beside) / (real["peak_rss_bytes"] - beside)
            # Peaks of one and the same run differ by a tenth, as its threads share the heap.
            self.assertGreater(ratio, 0.75, name)
            self.assertLess(ratio, 1.15, name)

    def test_a_dry_run_stops_at_once(self):
        words = ["train", self.recipe, "--dry-run", "--json", "--set", "training.streams=20000"]
        process = subprocess.Popen([PROGRAM, *map(os.fspath, words)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        time.sleep(2)
        self.assertIsNone(process.poll(), "ended before it could be interrupted")
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - begin, 1)
        self.assertEqual((process.returncode, stderr), (130, b"mote: interrupted\n"))
        self.assertEqual(json.loads(stdout)["error"]["kind"], "interrupted")

    def test_a_dry_run_with_resume_is_of_the_steps_left(self):
        out = self.scratch / "run"
        cosine = ("--set", "training.schedule_steps=60")
        self.assert_done(self.train(out, *cosine, "--set", "training.steps=25"))
        before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
        said = self.train(out, *cosine, "--dry-run", "--resume", "--json")
        self.assert_done(said)
        self.assertEqual((said.json()["steps"], said.json()["tokens"]), (35, 35 * 4 * 16))
        self.assert_refused(self.train(out, "--dry-run", "--resume", "--seed", "2"), 1,
                            "training.seed")
        self.assertEqual({p: p.stat().st_mtime_ns for p in out.rglob("*")}, before)
        new = self.train(self.scratch / "new", "--dry-run", "--resume", "--json")
        self.assertEqual(new.json()["steps"], 60)
        self.assert_refused(mote("train", self.recipe, "--dry-run", "--resume"), 2, "--out")

    def test_a_dry_run_of_what_fits_no_memory_says_how_much(self):
        said = mote("train", self.recipe, "--dry-run", "--json", "--set", "model.dim=100000",
                    "--set", "model.feed_forward.expert_width=100000")
        self.assert_done(said)
        self.assertGreater(said.json()["memory_bytes"], 10**12)
        self.assertNotIn("seconds", said.json())

    def test_fields_are_listed_with_default_range_and_meaning(self):
        result = mote("train", "--fields")
        self.assert_done(result)
        self.assertIn("training.steps = 1000  # optimiser steps (1 or more)\n", result.stdout)
        self.assertIn("data.text_key = \"text\"", result.stdout)
        only = mote("train", "--fields", "model.attention", "--json")
        self.assert_done(only)
        fields = {f["name"]: f for f in only.json()["fields"]}
        self.assertTrue(all(name.startswith("model.attention") for name in fields))
        self.assertEqual(fields["model.attention.kind"]["default"], "transformer_xl")
        self.assertIn("causal", fields["model.attention.kind"]["range"])
        self.assert_refused(mote("train", "--fields", "modle"), 2, "modle")


class Texts(TrainedTest):
    """The kinds of text that train, eval and compress take."""

    def eval_bytes(self, data, *words):
        result = mote("eval", self.model, "--data", data, "--json", *words)
        self.assert_done(result)
        return result.json()["bytes"], result.json()["loss"]

    def test_gzip_is_decompressed(self):
        packed = self.scratch / "valid.txt.gz"
        packed.write_bytes(gzip.compress((self.shared / "valid.txt").read_bytes()))
        self.assertEqual(self.eval_bytes(packed), self.eval_bytes(self.shared / "valid.txt"))

    def test_a_prepared_folder_is_data_for_train_eval_and_compress(self):
        tokens = self.scratch / "tokens"
        words = ("prepare", self.shared / "train.txt", "--out", tokens)
        self.assert_done(mote(*words, "--vocab-size", "300"))
        self.assertEqual(self.eval_bytes(tokens), self.eval_bytes(self.shared / "train.txt"))
        self.assert_done(mote("compress", self.model, self.scratch / "small", "--bits", "2",
                              "--calibration", tokens, "--samples", "2"))
        out = self.scratch / "run"
        self.assert_done(self.train(out, "--set", f"data.train={tokens}", "--set",
                                    "data.tokenizer=bpe"))
        for name in ("tokens.bin", "tokenizer.json"):
            self.assertEqual((out / "data" / name).read_bytes(), (tokens / name).read_bytes())
        # The recipe's byte tokenizer is another one.
        result = self.train(self.scratch / "other", "--set", f"data.train={tokens}")
        self.assert_refused(result, 1, "300", "257")

    def test_a_prepared_folder_whose_tokenizer_was_exchanged_is_refused(self):
        def prepared(name, text, size):
            folder = self.scratch / name
            self.assert_done(mote("prepare", text, "--out", folder, "--vocab-size", size))
            return folder / "tokenizer.json"

        other = self.scratch / "other.txt"
        other.write_text(make_text(3000, seed=9)[::-1])
        tokenizer = prepared("tokens", self.shared / "train.txt", "300")
        tokens = tokenizer.parent
        for name, size, parts in (("size", "290", ("290", "300", "tokens.json")),
                                  ("text", "300", (tokens, "xxh64", "tokens.json"))):
            exchanged = prepared(name, other, size)
            self.assertNotEqual(exchanged.read_bytes(), tokenizer.read_bytes())
            shutil.copy(exchanged, tokenizer)
            for words in (("train", self.recipe, "--out", self.scratch / "out", "--set",
                           f"data.train={tokens}", "--set", "data.tokenizer=bpe"),
                          ("eval", self.model, "--data", tokens),
                          ("compress", self.model, self.scratch / "out", "--bits", "2",
                           "--calibration", tokens)):
                self.assert_refused(mote(*words), 1, *parts)
            self.assertFalse((self.scratch / "out").exists())

    def test_what_of_data_nothing_reads_is_named(self):
        tokens = self.scratch / "tokens"
        self.assert_done(mote("prepare", self.shared / "train.txt", "--out", tokens,
                              "--vocab-size", "300"))
        bpe = ("--set", "training.steps=1", "--set", "data.valid=", "--set", "data.tokenizer=bpe")
        result = self.train(self.scratch / "run", *bpe, "--binary", "--set", f"data.train={tokens}",
                            "--set", "data.vocab_size=500", "--set", "data.text_key=body")
        self.assert_done(result)
        for named in ("data.vocab_size = 500", "300 tokens", "data.text_key", "data.binary"):
            self.assertIn(named, result.stderr)
        result = self.train(self.scratch / "bytes", *bpe[:2], "--set", "data.vocab_size=500")
        self.assert_done(result)
        self.assertIn("data.vocab_size = 500 is not used", result.stderr)
        result = self.train(self.scratch / "used", *bpe, "--set", "data.vocab_size=290")
        self.assertNotIn("not used", result.stderr)

    def test_an_existing_tokenizer_is_taken(self):
        tokens = self.scratch / "tokens"
        self.assert_done(mote("prepare", self.shared / "valid.txt", "--out", tokens,
                              "--vocab-size", "290"))
        for name in (tokens, tokens / "tokenizer.json"):
            out = self.scratch / f"run-of-{name.name}"
            self.assert_done(self.train(out, "--set", f"data.tokenizer={name}", "--set",
                                        "training.steps=1"))
            self.assertEqual((out / "tokenizer.json").read_bytes(),
                             (tokens / "tokenizer.json").read_bytes())
        result = self.train(self.scratch / "run", "--set", "data.tokenizer=bype")
        self.assert_refused(result, 1, "'bype'", "'bpe'")

    def test_a_file_is_split_by_blocks(self):
        text = self.scratch / "my.txt"
        text.write_bytes(b"".join(b"%08d" % i for i in range(20 * 8192 + 100)))
        self.assertEqual(self.eval_bytes(f"{text}:valid")[0], 65536)
        result = mote("eval", self.model, "--data", f"{self.shared}/valid.txt:test")
        self.assert_refused(result, 1, "valid.txt:test", "bytes", "20th")

    def test_the_key_of_json_lines_can_be_named(self):
        lines = self.scratch / "my.jsonl"
        lines.write_text('{"content": "some words"}\n{"content": "and more"}\n')
        self.assertEqual(self.eval_bytes(lines, "--text-key", "content")[0], 18)
        self.assert_refused(mote("eval", self.model, "--data", lines), 1, "line 1", "'text'")

    def test_binary_files_are_refused_unless_they_are_meant(self):
        png = self.scratch / "x.png"
        png.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40)
        settings = self.scratch / "x.json"
        settings.write_text('{"text": "no corpus"}')
        model = self.model / "model.safetensors"
        for data in (png, settings, model, self.model):
            for words in (("eval", self.model, "--data", data),
                          ("prepare", data, "--out", self.scratch / "out"),
                          ("train", self.recipe, "--out", self.scratch / "out", "--set",
                           f"data.train={data}"),
                          ("compress", self.model, self.scratch / "out", "--bits", "2",
                           "--calibration", data)):
                self.assert_refused(mote(*words), 1, data, "--binary")
        self.assertFalse((self.scratch / "out").exists())
        self.assertEqual(self.eval_bytes(png, "--binary")[0], png.stat().st_size)
        self.assert_done(mote("prepare", png, "--out", self.scratch / "out", "--tokenizer", "bytes",
                              "--binary"))


class Stopping(TrainedTest):
    def test_closed_standard_streams_get_into_no_file(self):
        out = self.scratch / "closed"
        status = subprocess.run(["/bin/sh", "-c", '"$@" <&- >/dev/null 2>&-', "sh", PROGRAM, "train",
                                 os.fspath(self.recipe), "--out", os.fspath(out)]).returncode
        self.assertEqual(status, 0)
        for line in (out / "metrics.jsonl").read_text().splitlines():
            json.loads(line)

    def test_a_full_standard_output_is_a_failure_of_every_verb(self):
        with open("/dev/full", "w") as full:
            for verb, words in [*self.quick_calls().items(), ("--version", []), ("--help", [])]:
                done = subprocess.run([PROGRAM, verb, *map(os.fspath, words)], stdout=full,
                                      stderr=subprocess.PIPE, timeout=300)
                self.assertEqual(done.returncode, 1, verb)
                self.assertIn(b"cannot write to standard output", done.stderr, verb)

    def interrupt(self, *words, after=0.5):
        process = subprocess.Popen([PROGRAM, *map(os.fspath, words)], stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL)
        time.sleep(after)
        self.assertIsNone(process.poll(), "ended before it could be interrupted")
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        stderr = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, 130, stderr)
        return time.monotonic() - begin

    def test_a_pipe_that_nobody_writes_to_can_be_interrupted(self):
        pipe = self.scratch / "pipe"
        os.mkfifo(pipe)
        self.interrupt("train", pipe, "--out", self.scratch / "run", after=2)
        # A corpus is mapped, which no pipe can be: nothing to wait for.
        self.assert_refused(mote("eval", self.model, "--data", pipe), 1, pipe, "not a regular file")

    def test_one_line_of_50_megabytes_can_be_interrupted(self):
        line = self.scratch / "line.txt"
        line.write_bytes(b"abcdefghijklmnopqrstuvwxyz" * 2_000_000)
        words = ("prepare", line, "--out", self.scratch / "out", "--vocab-size", "5000")
        # On an idle machine well within a second; others may hold this one's cores.
        self.assertLess(self.interrupt(*words, after=2), 10)
        self.assertEqual(names_in(self.scratch), ["line.txt"])

    def test_a_long_prompt_or_text_can_be_interrupted(self):
        text = self.scratch / "text.txt"
        text.write_text(make_text(5_000_000, seed=5))
        for words in (("generate", self.model, "-f", text), ("eval", self.model, "--data", text),
                      ("compress", self.model, self.scratch / "out", "--bits", "2", "--method", "rtn",
                       "--validation", text, "--validation-bytes", "0")):
            with self.subTest(verb=words[0]):
                self.assertLess(self.interrupt(*words, after=2), 10)
        self.assertEqual(names_in(self.scratch), ["text.txt"])

    def test_settings_without_end_are_refused(self):
        self.assert_refused(mote("train", "/dev/zero", "--out", self.scratch / "run"), 1, "/dev/zero",
                            "more than")

    def test_settings_of_60_000_keys_are_refused_at_once(self):
        folder = self.scratch / "model"
        shutil.copytree(self.model, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").unlink()
        config.update({f"key{i}": i for i in range(60_000)})
        (folder / "config.json").write_text(json.dumps(config))
        self.assert_refused(mote("inspect", folder, timeout=20), 1, "config.json", "10000 keys")


if __name__ == "__main__":
    unittest.main()

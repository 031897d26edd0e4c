"""Runs that are killed, interrupted, out of disk or out of numbers, and what is left of them."""

import math
import os
import pty
import random
import re
import resource
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest, header_of, losses, mote, set_weights, state_of


def logged_steps(folder):
    try:
        steps = re.findall(rb'"step":(\d+)', (folder / "metrics.jsonl").read_bytes())
    except FileNotFoundError:
        return 0
    return int(steps[-1]) if steps else 0


class Resuming(ProgramTest):
    # Saved often, so that kills hit the saving too, and between the steps that are logged.
    LONG = ("--set", "training.steps=400", "--set", "training.save_every=3", "--set",
            "training.eval_every=50", "--set", "training.log_every=2")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole = cls.shared / "whole"
        done = mote("train", cls.recipe, "--out", cls.whole, *cls.LONG)
        assert done.status == 0, done.stderr

    def start(self, out):
        command = [PROGRAM, "train", self.recipe, "--out", out, "--resume", *self.LONG]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait_for_step(self, process, out, step):
        deadline = time.monotonic() + 60
        while logged_steps(out) < step and process.poll() is None:
            self.assertLess(time.monotonic(), deadline, "the run does not get there")
            time.sleep(0.001)

    def assert_same_as_whole(self, out):
        self.assertEqual(losses(out), losses(self.whole))
        for name in ("model.safetensors", "config.json"):
            self.assertEqual((out / name).read_bytes(), (self.whole / name).read_bytes(), name)
        self.assertEqual(state_of(out).parent.name, state_of(self.whole).parent.name)
        self.assertEqual(state_of(out).read_bytes(), state_of(self.whole).read_bytes())
        self.assert_nothing_temporary(out)

    def test_a_run_killed_at_any_moment_goes_on_bit_for_bit(self):
        out = self.scratch / "run"
        draw = random.Random(11)
        kills = 0
        for step in [0] + sorted(draw.sample(range(1, 380), 5)):
            process = self.start(out)
            self.wait_for_step(process, out, step)
            time.sleep(draw.uniform(0.2, 0.4) if step == 0 else draw.uniform(0, 0.01))
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        self.assertGreaterEqual(kills, 3, "too few kills came before the end")
        result = self.train(out, "--resume", *self.LONG)
        self.assert_done(result)
        self.assert_same_as_whole(out)

    def test_a_run_with_tables_of_rows_goes_on_bit_for_bit(self):
        tables = {"moving": (),
                  "staying": ('untouched="stay"', 'bias_step="row"', 'second_moment="row"'),
                  "narrow": ('values="bf16"', 'moments="bf16"', "learning_rate=1e-3")}
        for kind, fields in tables.items():
            settings = ['model.rules=[{layers="middle", feed_forward={kind="peer", experts=1024}}]',
                        "training.eval_every=20", "training.schedule_steps=40",
                        *(f"training.tables.{field}" for field in fields)]
            whole, parts = self.scratch / f"{kind}-whole", self.scratch / f"{kind}-parts"
            with self.subTest(kind):
                for out, steps in ((whole, 40), (parts, 20), (parts, 40)):
                    words = [word for setting in (*settings, f"training.steps={steps}")
                             for word in ("--set", setting)]
                    self.assert_done(self.train(out, "--resume", *words))
                self.assertEqual(losses(parts), losses(whole))
                self.assertEqual((parts / "model.safetensors").read_bytes(),
                                 (whole / "model.safetensors").read_bytes())
        narrow = header_of(self.scratch / "narrow-parts" / "model.safetensors")
        tables = [of for name, of in narrow.items() if "experts" in name and len(of["shape"]) == 2]
        self.assertEqual([(of["dtype"], of["shape"][0]) for of in tables], [("BF16", 1024)] * 2)

    def test_an_interrupt_leaves_a_checkpoint_that_goes_on(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            out = self.scratch / number.name
            process = self.start(out)
            self.wait_for_step(process, out, 100)
            process.send_signal(number)
            if number == signal.SIGHUP:
                process.send_signal(number)  # a shell passes on what the terminal said already
            stderr = process.communicate(timeout=60)[1].decode()
            self.assertEqual(process.returncode, 130, stderr)
            self.assertIn("mote: interrupted", stderr)
            self.assert_nothing_temporary(out)
            stopped = logged_steps(out)
            self.assertLess(stopped, 400)
            result = self.train(out, "--resume", *self.LONG)
            self.assert_done(result)
            # The interrupt itself saved: nothing is done again. Every second step is logged.
            going_on = int(re.search(r"going on after step (\d+)", result.stderr).group(1))
            self.assertIn(going_on, (stopped, stopped + 1))
            self.assert_same_as_whole(out)

    def test_a_terminal_that_closes_leaves_a_checkpoint(self):
        out = self.scratch / "run"
        child, terminal = pty.fork()
        if child == 0:
            words = ["train", self.recipe, "--out", out, "--quiet", *self.LONG]
            os.execv(PROGRAM, [PROGRAM, *map(os.fspath, words)])
        deadline = time.monotonic() + 60
        while logged_steps(out) < 10:
            self.assertLess(time.monotonic(), deadline, "the run does not get there")
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 130)
        self.assertTrue(state_of(out).exists())
        self.assert_done(self.train(out, "--resume", *self.LONG))
        self.assert_same_as_whole(out)

    def test_what_nohup_started_goes_on_without_its_terminal(self):
        out = self.scratch / "run"
        command = [PROGRAM, "train", self.recipe, "--out", out, *self.LONG]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                                   preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.wait_for_step(process, out, 10)
        process.send_signal(signal.SIGHUP)
        stderr = process.communicate(timeout=120)[1].decode()
        self.assertEqual(process.returncode, 0, stderr)
        self.assert_same_as_whole(out)

    def test_resume_on_nothing_starts_afresh(self):
        out = self.scratch / "run"
        out.mkdir()
        self.assert_done(self.train(out, "--resume", *self.LONG))
        self.assert_same_as_whole(out)

    def test_resume_of_a_finished_run_changes_nothing(self):
        out = self.scratch / "run"
        shutil.copytree(self.whole, out)
        result = self.train(out, "--resume", "--json", *self.LONG)
        self.assert_done(result)
        self.assertNotIn("train_loss", result.json(), "no step was left to measure")
        self.assert_same_as_whole(out)

    def test_seeds_threads_and_instruction_sets(self):
        outs = {name: self.scratch / name for name in ("one", "two", "other", "reference")}
        self.assert_done(self.train(outs["one"], "--threads", "1"))
        self.assert_done(self.train(outs["two"], "--threads", "2"))
        self.assert_done(self.train(outs["other"], "--seed", "2"))
        self.assert_done(self.train(outs["reference"], "--isa", "reference"))
        self.assertNotEqual(losses(outs["one"]), losses(outs["other"]))
        self.assertEqual(losses(outs["one"]), losses(outs["two"]))
        # Each instruction set sums in its own order: roundings of 60 steps of a tiny model, far below what any mistake makes.
        for a, b in zip(losses(outs["one"]), losses(outs["reference"]), strict=True):
            self.assertAlmostEqual(a.get("loss", 0), b.get("loss", 0), delta=1e-3)


class BrokenNumbers(ProgramTest):
    def test_a_loss_that_is_not_finite_names_step_layer_and_checkpoint(self):
        out = self.scratch / "run"
        result = self.train(out, "--json", "--set", "training.learning_rate=1e30")
        self.assert_refused(result, 1, "step ", "first seen in ", "none was saved yet")
        self.assertEqual(result.json()["error"]["kind"], "numeric")
        self.assertFalse(state_of(out).exists())

    def test_the_last_good_checkpoint_stays(self):
        # The rate, a million at first, grows until a step's weights make no number any more.
        out = self.scratch / "run"
        changes = ("--set", "training.learning_rate=1e12", "--set", "training.warmup=1000000",
                   "--set", "training.steps=1000000", "--set", "training.save_every=1")
        result = self.train(out, *changes)
        self.assert_refused(result, 1, "first seen in ", "after step ")
        self.assertRegex(result.complaint(), r"(blocks\.\d+|parameter \S+|head|embedding)")
        step = int(re.search(r"after step (\d+)", result.complaint()).group(1))
        again = self.train(out, "--resume", *changes)
        self.assertIn(f"going on after step {step}", again.stderr)
        # Saved after each step, but not after the one that ruined the weights.
        good = state_of(out).parent
        self.assertEqual(good.name, f"step-{step}")
        result = mote("eval", good, "--data", self.shared / "valid.txt", "--json")
        self.assert_done(result)
        self.assertTrue(math.isfinite(result.json()["loss"]))
        self.assertIn(f"--from {good}", again.complaint())
        on = self.train(self.scratch / "on", "--from", good, "--set", "training.steps=1",
                        "--set", "training.learning_rate=0")
        self.assert_done(on)


    def test_a_validation_loss_that_is_not_finite_names_step_text_and_tensor(self):
        # A row of the embedding that the training text never reads and the validation text does.
        model = self.scratch / "model"
        self.assert_done(self.train(model, "--set", "training.steps=1"))
        set_weights(model, "embedding.weight", [3e38] * 16, at=ord("Z") * 16)
        valid = self.scratch / "z.txt"
        valid.write_text("a Z in it\n")
        words = ("--from", model, "--set", f"data.valid={valid}", "--json")
        out = self.scratch / "run"
        result = self.train(out, *words)
        self.assert_refused(result, 1, "after step 20", valid, "'embedding.weight'",
                            f"last good checkpoint: {out}/checkpoints/step-14 ")
        self.assertEqual(result.json()["error"]["kind"], "numeric")
        self.assertEqual(state_of(out).parent.name, "step-14")
        for changes in (("save_every=20", "steps=60"), ("save_every=1000", "steps=20")):
            out = self.scratch / "nothing"
            every = [word for change in changes for word in ("--set", f"training.{change}")]
            result = self.train(out, *words, *every)
            self.assert_refused(result, 1, "after step ", valid, "none was saved yet")
            self.assertFalse(out.exists(), "what has no loss was saved")

    def test_weights_that_are_not_finite_are_refused_before_training(self):
        model = self.scratch / "model"
        self.assert_done(self.train(model))
        latest = state_of(model).parent
        set_weights(latest, "norm.bias", [math.nan])
        for words in ((model, "--resume"), (self.scratch / "out", "--from", latest)):
            self.assert_refused(self.train(*words), 1, latest, "'norm.bias'", "nan")
        self.assertFalse((self.scratch / "out").exists())


class FullDisk(ProgramTest):
    def refuse_and_go_on(self, out, stop, more_room):
        """`stop` trains with too little room, after a first run that had enough for a checkpoint."""
        whole = self.scratch / "whole"
        self.assert_done(self.train(whole))
        result = stop()
        self.assert_refused(result, 1, out)
        self.assert_nothing_temporary(out)
        self.assertTrue(state_of(out).exists(), "no checkpoint survived")
        more_room()
        self.assert_done(self.train(out, "--resume"))
        self.assertEqual(losses(out), losses(whole))
        self.assertEqual((out / "model.safetensors").read_bytes(),
                         (whole / "model.safetensors").read_bytes())

    def test_the_previous_checkpoint_survives_and_goes_on(self):
        probe = self.scratch / "probe"
        self.assert_done(self.train(probe))
        # Blocks that files take, hard links once.
        taken = {p.stat().st_ino: p.stat().st_blocks * 512 for p in probe.rglob("*") if p.is_file()}
        model, state = (p.stat().st_size for p in (probe / "model.safetensors", state_of(probe)))
        disk = self.scratch / "disk"
        disk.mkdir()
        # All files and a second model, but half of a second training state.
        room = sum(taken.values()) + model + state // 2
        mount = ["mount", "-t", "tmpfs", "-o", f"size={room // 4096 * 4096}", "tmpfs", disk]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            self.skipTest("mounting a small file system needs root")
        self.addCleanup(subprocess.run, ["umount", disk], check=True)
        out = disk / "run"
        grow = ["mount", "-o", "remount,size=16m", disk]
        self.refuse_and_go_on(out, lambda: self.train(out),
                              lambda: subprocess.run(grow, check=True))

    def test_a_limit_on_file_sizes_leaves_nothing_half_written(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        out = self.scratch / "run"
        result = self.train(out, preexec_fn=limit)
        self.assert_refused(result, 1, "training_state.safetensors", "too large")
        self.assertFalse(out.exists(), "what ends before its first checkpoint leaves nothing")
        self.assert_done(self.train(out))

    def test_no_room_for_the_tokens_leaves_no_tokens(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

        out = self.scratch / "tokens"
        result = mote("prepare", self.shared / "train.txt", "--out", out, "--tokenizer", "bytes",
                      preexec_fn=limit)
        self.assert_refused(result, 1, "too large")
        self.assertEqual(list(self.scratch.iterdir()), [])


if __name__ == "__main__":
    unittest.main()

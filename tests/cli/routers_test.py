"""Mixtures with other routers, through the whole program: training and resuming, saving, inspecting, compressing, and what
the program says of routers that cannot learn or do not follow from the tokens before."""

import json
import unittest

from program import ProgramTest, losses, mote, state_of, tensors_in

ROUTER = "model.feed_forward.router."
RECURRENT = ["score={kind=\"recurrent\", state_dim=6}", "gate=softmax_before", "renormalise=true",
             "balance=[{kind=\"switch\", weight=0.01}]"]
NOISY = ["gate=softmax_after", "noise.kind=learned",
         "balance=[{kind=\"importance\"}, {kind=\"load\"}, {kind=\"z\"}]"]
SWITCH = ["experts_per_token=1", "gate=softmax_before", "noise={kind=\"jitter\", epsilon=0.1}",
          "capacity={kind=\"factor\", factor=1.0}", "balance=[{kind=\"switch\"}]"]
UNLEARNED = ["gate=one", "entropy_weight=0", "expert_dropout=0"]
AVG_K = ["score.kind=avg_k", *UNLEARNED]
HASH = ["score.kind=hash", *UNLEARNED]
EXPERT_CHOICE = ["select.kind=expert_choice", "gate=softmax_before"]
SINKHORN = ["select={kind=\"sinkhorn\", form=\"published\"}"]
BASE = ["experts_per_token=1", "select.kind=base"]
ALL = {"recurrent": RECURRENT, "noisy": NOISY, "switch": SWITCH, "avg_k": AVG_K, "hash": HASH,
       "expert_choice": EXPERT_CHOICE, "sinkhorn": SINKHORN, "base": BASE}


def settings(router, **training):
    values = [ROUTER + each for each in router]
    values += [f"training.{key}={value}" for key, value in training.items()]
    return [word for value in values for word in ("--set", spelled(value))]


def spelled(value):
    """Keys of version 1 stand beside the layer's others."""
    for key in ("experts_per_token", "entropy_weight", "expert_dropout"):
        value = value.replace(ROUTER + key, "model.feed_forward." + key)
    return value


class Routers(ProgramTest):
    def trained(self, name, router, **training):
        out = self.scratch / name
        result = self.train(out, *settings(router, **{"steps": 8, "eval_every": 8, **training}))
        self.assert_done(result)
        return out, result

    def test_a_resumed_run_repeats_every_bit_of_one_that_was_not_stopped(self):
        for name in ("recurrent", "noisy", "switch", "sinkhorn", "base", "hash", "avg_k"):
            with self.subTest(name):
                whole = self.scratch / f"{name}-whole"
                parts = self.scratch / f"{name}-parts"
                plan = {"eval_every": 4, "save_every": 4, "schedule_steps": 12}
                self.assert_done(self.train(whole, *settings(ALL[name], steps=12, **plan)))
                self.assert_done(self.train(parts, *settings(ALL[name], steps=8, **plan)))
                self.assert_done(self.train(parts, "--resume",
                                            *settings(ALL[name], steps=12, **plan)))
                self.assertEqual(losses(parts), losses(whole))
                for file in ("model.safetensors", "config.json"):
                    self.assertEqual((parts / file).read_bytes(), (whole / file).read_bytes())
                whole_state, part_state = state_of(whole), state_of(parts)
                spans = tensors_in(whole_state)
                self.assertEqual(spans, tensors_in(part_state))
                a, b = whole_state.read_bytes(), part_state.read_bytes()
                for tensor, (begin, end) in spans.items():
                    self.assertEqual(a[begin:end], b[begin:end], tensor)

    def test_inspect_names_what_a_router_has(self):
        wanted = {
            "recurrent": {"router_cell.input.weight": [18, 6], "router_cell.hidden.bias": [18],
                          "blocks.1.feed_forward.router.project.weight": [6, 16],
                          "blocks.1.feed_forward.router.weight": [4, 6]},
            "noisy": {"blocks.0.feed_forward.router.noise.weight": [4, 16],
                      "blocks.0.feed_forward.router.weight": [4, 16]},
            "avg_k": {"blocks.0.feed_forward.router.weight": [4, 16]}}
        for name, tensors in wanted.items():
            model, _ = self.trained(name, ALL[name])
            listed = mote("inspect", model, "--tensors", "--json")
            self.assert_done(listed)
            shapes = {t["name"]: t["shape"] for t in listed.json()["tensors"]}
            for tensor, shape in tensors.items():
                self.assertEqual(shapes.get(tensor), shape, tensor)
        model, _ = self.trained("hash", HASH)
        shapes = [t["name"] for t in mote("inspect", model, "--tensors", "--json").json()["tensors"]]
        self.assertFalse([name for name in shapes if ".router." in name])

    def test_experts_are_compressed_and_routers_stay(self):
        for name in ("recurrent", "avg_k", "hash", "switch", "expert_choice"):
            with self.subTest(name):
                model, _ = self.trained(name, ALL[name])
                small = self.scratch / f"{name}-small"
                result = mote("compress", model, small, "--bits", "2", "--samples", "4",
                              "--calibration", self.shared / "train.txt", "--validation",
                              self.shared / "valid.txt", "--json")
                self.assert_done(result)
                report = result.json()
                self.assertEqual(report["experts"]["total"], 8)
                self.assertLess(abs(report["loss_after"] - report["loss_before"]), 0.5)
                before, after = model / "model.safetensors", small / "model.safetensors"
                spans, packed = tensors_in(before), tensors_in(after)
                routers = [t for t in spans if ".router." in t or t.startswith("router_cell.")]
                self.assertEqual(bool(routers), name != "hash")
                for tensor in routers:
                    (a, b), (c, d) = spans[tensor], packed[tensor]
                    self.assertEqual(before.read_bytes()[a:b], after.read_bytes()[c:d], tensor)
                self.assertIn("blocks.0.feed_forward.experts.up.codes", packed)
                self.assert_done(mote("eval", small, "--data", self.shared / "valid.txt"))

    def test_expert_choice_is_said_not_to_be_causal_and_makes_no_text(self):
        model, trained = self.trained("choice", EXPERT_CHOICE)
        self.assertIn("not causal", trained.stderr)
        evaluated = mote("eval", model, "--data", self.shared / "valid.txt")
        self.assert_done(evaluated)
        self.assertIn("not causal", evaluated.stderr)
        made = mote("generate", model, "-p", "a", "-n", "3")
        self.assertEqual(made.status, 1)
        self.assertIn("select.elsewhere", made.complaint())
        config = json.loads((model / "config.json").read_text())
        config["feed_forward"]["router"]["select"]["elsewhere"] = "topk"
        (model / "config.json").unlink()
        (model / "config.json").write_text(json.dumps(config))
        made = mote("generate", model, "-p", "a", "-n", "3")
        self.assert_done(made)
        self.assertNotIn("not causal", made.stderr)

    def test_capacity_outside_training_is_warned_of(self):
        model, trained = self.trained(
            "capacity", ["capacity={kind=\"count\", count=2, elsewhere=true}"])
        self.assertIn("capacity.elsewhere", trained.stderr)
        self.assertIn("capacity.elsewhere",
                      mote("eval", model, "--data", self.shared / "valid.txt").stderr)
        made = mote("generate", model, "-p", "a", "-n", "3")
        self.assert_done(made)
        self.assertIn("capacity.elsewhere", made.stderr)

    def test_a_router_that_cannot_learn_is_warned_of(self):
        for router in (["experts_per_token=1", "gate=softmax_after"],
                       ["experts_per_token=1", "renormalise=true"], ["gate=one"],
                       ["expert_dropout=1"]):
            _, result = self.trained("-".join(router).replace("=", "-"), router)
            self.assertIn("model.feed_forward.router: ", result.stderr)
        dry = mote("train", self.recipe, "--dry-run",
                   *settings(["experts_per_token=1", "gate=softmax_after"]))
        self.assert_done(dry)
        self.assertIn("is always 1", dry.stderr)
        _, fine = self.trained("fine", ["experts_per_token=1", "gate=softmax_before"])
        self.assertNotIn("feed_forward.router", fine.stderr)

    def test_settings_that_do_not_fit_are_refused_by_field(self):
        refusals = {
            ("experts_per_token=5",): ("experts_per_token", 5, 4),
            ("capacity={kind=\"count\", count=0}",): ("capacity.count", 0),
            ("capacity={kind=\"factor\", factor=0}",): ("capacity.factor", 0),
            ("select.kind=base",): ("experts_per_token", 2, 1),
            ("select.kind=expert_chioce",): ("select.kind", "expert_choice"),
            ("score.kind=hash", "gate=one"): ("entropy_weight",),
            (*HASH, "score={kind=\"hash\", table=[0, 4]}"): ("score.table.1", 4, 3),
            ("score={kind=\"linear\", state_dim=3}",): ("state_dim", "recurrent"),
            ("balance=[{kind=\"load\"}]",): ("noise.kind", "learned")}
        for router, parts in refusals.items():
            with self.subTest(router):
                out = self.scratch / "out"
                result = self.train(out, *settings(router))
                self.assertIn(result.status, (1, 2))
                for part in parts:
                    self.assertIn(str(part), result.complaint())
                self.assertFalse(out.exists())
        table = ", ".join(["0", "1"] * 100)
        result = self.train(self.scratch / "out", *settings(
            [*HASH, "score={kind=\"hash\", table=[" + table + "]}"]))
        self.assertEqual(result.status, 1)
        for part in ("score.table", 200, 257, 514):
            self.assertIn(str(part), result.complaint())
        self.assertFalse((self.scratch / "out").exists())


if __name__ == "__main__":
    unittest.main()

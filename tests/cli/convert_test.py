"""Models in another format: what is written, that it says what it was made from, and what is refused."""

import json
import math
import resource
import signal
import struct
import subprocess
import time
import unittest

from foreign_test import mixtral, write_tensors, write_tokenizer
from gguf_test import gguf_model
from program import PROGRAM, TrainedTest, header_of, mote


class Convert(TrainedTest):
    def done(self, *words):
        result = mote(*words, "--json")
        self.assert_done(result)
        return result.json()

    def loss(self, model):
        return self.done("eval", model, "--data", self.shared / "valid.txt")["loss"]

    def mixtral(self):
        folder = self.scratch / "mixtral"
        folder.mkdir()
        config, tensors = mixtral()
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [256, 258]}))
        (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
        write_tensors(folder / "model.safetensors", tensors)
        write_tokenizer(folder)
        return folder

    def test_a_mixture_goes_to_gguf_and_back(self):
        folder, file, back = self.mixtral(), self.scratch / "m.gguf", self.scratch / "back"
        facts = self.done("convert", folder, file, "--to", "gguf")
        self.assertEqual(set(facts), {"tensors", "bytes", "seconds"})
        self.assertEqual(facts["bytes"], file.stat().st_size)
        described = self.done("inspect", file)
        self.assertEqual((described["family"], described["experts_per_layer"]), ("llama", 4))
        self.assertNotIn("problem", described)
        loss = self.loss(folder)
        self.assertAlmostEqual(self.loss(file), loss, delta=1e-6)

        facts = self.done("convert", file, back, "--to", "safetensors")
        self.assertEqual(facts["tensors"], len(header_of(folder / "model.safetensors")))
        self.assertEqual(set(header_of(back / "model.safetensors")), set(header_of(folder / "model.safetensors")))
        self.assertEqual(json.loads((back / "config.json").read_text())["model_type"], "mixtral")
        self.assertAlmostEqual(self.loss(back), loss, delta=1e-6)
        self.assertEqual(json.loads((back / "generation_config.json").read_text())["eos_token_id"], [256, 258])
        self.assertEqual((back / "chat_template.jinja").read_text(), "{{ messages[0].content }}")
        words = ("-p", "a small", "-n", "8", "--temperature", "0")
        self.assertEqual(*(self.done("generate", model, *words)["token_ids"] for model in (folder, file)))

    def test_a_folder_keeps_its_family_its_names_and_its_tokenizer(self):
        folder, out = self.mixtral(), self.scratch / "out"
        self.done("convert", folder, out, "--to", "safetensors", "--dtype", "bf16")
        config = json.loads((out / "config.json").read_text())
        self.assertEqual((config["model_type"], config["dtype"]), ("mixtral", "bfloat16"))
        self.assertEqual({t["dtype"] for t in header_of(out / "model.safetensors").values()}, {"BF16"})
        self.assertNotIn(b"__pad", (out / "model.safetensors").read_bytes(), "no program would know it")
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
            self.assertEqual((out / name).read_bytes(), (folder / name).read_bytes(), name)
        self.assertAlmostEqual(self.loss(out), self.loss(folder), delta=0.05)

    def test_blocks_become_numbers_that_hold_them(self):
        file, out = self.scratch / "m.gguf", self.scratch / "out"
        file.write_bytes(gguf_model())
        result = mote("convert", file, out, "--to", "safetensors", "--json")
        self.assert_done(result)
        self.assertIn("F32", result.stderr, "says what the blocks became")
        self.assertEqual(header_of(out / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]["dtype"], "F32")
        self.assertAlmostEqual(self.loss(out), self.loss(file), delta=1e-5)
        again = self.scratch / "again.gguf"
        self.done("convert", file, again, "--to", "gguf")
        self.assertEqual(self.loss(again), self.loss(file), "blocks stay as they are")

    def test_a_compressed_folder_becomes_a_plain_one(self):
        small, out = self.scratch / "small", self.scratch / "out"
        self.done("compress", self.model, small, "--bits", "2", "--method", "rtn")
        self.done("convert", small, out, "--to", "safetensors")
        self.assertNotIn("quantization_config", json.loads((out / "config.json").read_text()))
        self.assertAlmostEqual(self.loss(out), self.loss(small), delta=1e-5)

    def test_compressed_experts_become_numbers_for_other_programs(self):
        small, file = self.scratch / "small", self.scratch / "m.gguf"
        self.done("compress", self.mixtral(), small, "--bits", "ternary", "--method", "rtn", "--validation", self.shared / "valid.txt")
        self.done("convert", small, file, "--to", "gguf")
        self.assertAlmostEqual(self.loss(file), self.loss(small), delta=1e-6)
        types = {t["name"]: t["dtype"] for t in self.done("inspect", file, "--tensors")["tensors"]}
        self.assertEqual(types["blk.0.ffn_up_exps.weight"], "BF16", "which holds three values of a row exactly")
        result = mote("convert", small, self.scratch / "t.gguf", "--to", "gguf", "--dtype", "tq1_0")
        self.assert_refused(result, 1, "blocks.0.feed_forward.experts", "ternary", "rows of 16", "--dtype bf16")

    def test_what_gguf_has_no_way_to_say_is_refused_by_its_name(self):
        self.assert_refused(mote("convert", self.model, self.scratch / "m.gguf", "--to", "gguf"), 1, "GGUF", "attention")
        self.assertEqual(list(self.scratch.iterdir()), [])

    def test_misuse_and_bad_input(self):
        folder, out = self.mixtral(), self.scratch / "out"
        call = lambda *words: mote("convert", folder, *words)
        self.assert_refused(call(out, "--to", "onnx"), 2, "safetensors", "gguf")
        self.assert_refused(call(out, "--to", "gguf", "--dtype", "q9"), 2, "q8_0")
        self.assert_refused(call(out, "--to", "safetensors", "--dtype", "q8_0"), 2, "--dtype", "bf16")
        self.assert_refused(call(out), 2, "--to")
        self.assert_refused(call(folder, "--to", "safetensors"), 1, folder, "another name")
        self.assert_refused(call(out, "--to", "gguf"), 1, ".gguf")
        (self.scratch / "there.gguf").write_text("x")
        self.assert_refused(call(self.scratch / "there.gguf", "--to", "gguf"), 1, "there.gguf")
        out.mkdir()
        (out / "x").write_text("x")
        self.assert_refused(call(out, "--to", "safetensors"), 1, out)
        self.assert_refused(call(self.scratch / "q.gguf", "--to", "gguf", "--dtype", "q8_0"), 1, "rows of 16", "blocks of 32")
        self.assert_refused(call(self.scratch / "t.gguf", "--to", "gguf", "--dtype", "tq2_0"), 1, "TQ2_0", "--dtype")
        self.assert_refused(mote("convert", self.scratch / "none", out, "--to", "gguf"), 1, "none")
        self.assert_nothing_temporary(self.scratch)
        self.assertEqual({p.name for p in self.scratch.iterdir()}, {"mixtral", "out", "there.gguf"})

    def test_a_full_disk_leaves_nothing(self):
        folder = self.mixtral()

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

        for out, to in (("out", "safetensors"), ("m.gguf", "gguf")):
            result = mote("convert", folder, self.scratch / out, "--to", to, preexec_fn=limit)
            self.assert_refused(result, 1, out)
            self.assertEqual([p.name for p in self.scratch.iterdir()], ["mixtral"])

    def large(self):
        """A mixtral of a quarter of a gigabyte, nearly all of it zeros that take no room on the disk."""
        folder = self.scratch / "large"
        folder.mkdir()
        config, tensors = mixtral()
        config["vocab_size"], header, end = 2_000_000, {}, 0
        for name, (shape, _) in tensors.items():
            shape = [config["vocab_size"], shape[1]] if name in ("model.embed_tokens.weight", "lm_head.weight") else shape
            size = 4 * math.prod(shape)
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
            end += size
        text = json.dumps(header).encode()
        with open(folder / "model.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def test_an_interrupt_leaves_nothing(self):
        folder = self.large()
        for out, to in (("out", "safetensors"), ("m.gguf", "gguf")):
            process = subprocess.Popen([PROGRAM, "convert", folder, self.scratch / out, "--to", to, "--dtype", "bf16"],
                                       stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            deadline = time.monotonic() + 60
            while not list(self.scratch.glob(".*tmp-*")) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, stderr)
            self.assertIn(b"nothing was written", stderr)
            self.assertEqual([p.name for p in self.scratch.iterdir()], ["large"])


if __name__ == "__main__":
    unittest.main()

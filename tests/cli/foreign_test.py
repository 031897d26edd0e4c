"""Folders in the layouts of Hugging Face's transformers, made here with random weights: read, scored, continued, talked to,
compressed; and what disagrees in them is named."""

import json
import random
import struct
import unittest

from program import ProgramTest, mote

HIDDEN, WIDTH, EXPERTS, LAYERS, HEADS, KEY_HEADS, HEAD_DIM = 16, 12, 4, 2, 2, 1, 8
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def byte_alphabet():
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in kept]
    return {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(others)}


def write_tokenizer(folder):
    """Bytes as tokens, then three special ones; nothing is put before a text."""
    vocab = {letter: byte for byte, letter in byte_alphabet().items()}
    added = [{"id": 256 + i, "content": name, "special": True, "normalized": False, "lstrip": False, "rstrip": False,
              "single_word": False} for i, name in enumerate(SPECIALS)]
    tokenizer = {"version": "1.0", "added_tokens": added, "normalizer": None, "post_processor": None,
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                 "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                 "model": {"type": "BPE", "vocab": vocab | {t["content"]: t["id"] for t in added}, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in sorted(tensors.items()):
        bytes_ = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def mixtral(seed=1):
    """Config and tensors, experts apart as published."""
    draw = random.Random(seed)
    vocabulary = 256 + len(SPECIALS) + 5  # rows without a token
    config = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu", "hidden_size": HIDDEN,
              "intermediate_size": WIDTH, "max_position_embeddings": 64, "num_attention_heads": HEADS,
              "num_key_value_heads": KEY_HEADS, "head_dim": HEAD_DIM, "num_hidden_layers": LAYERS, "num_experts_per_tok": 2,
              "num_local_experts": EXPERTS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "vocab_size": vocabulary,
              "tie_word_embeddings": False, "eos_token_id": 256, "bos_token_id": None}
    tensors = {}

    def add(name, *shape):
        count = 1
        for size in shape:
            count *= size
        spread = 1 if len(shape) == 1 else shape[-1] ** -0.5
        tensors[name] = (list(shape), [1 + 0.1 * draw.gauss(0, 1) if len(shape) == 1 else draw.gauss(0, spread) for _ in range(count)])

    add("model.embed_tokens.weight", vocabulary, HIDDEN)
    add("lm_head.weight", vocabulary, HIDDEN)
    add("model.norm.weight", HIDDEN)
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        add(f"{layer}.input_layernorm.weight", HIDDEN)
        add(f"{layer}.post_attention_layernorm.weight", HIDDEN)
        add(f"{layer}.self_attn.q_proj.weight", HEADS * HEAD_DIM, HIDDEN)
        add(f"{layer}.self_attn.k_proj.weight", KEY_HEADS * HEAD_DIM, HIDDEN)
        add(f"{layer}.self_attn.v_proj.weight", KEY_HEADS * HEAD_DIM, HIDDEN)
        add(f"{layer}.self_attn.o_proj.weight", HIDDEN, HEADS * HEAD_DIM)
        add(f"{layer}.block_sparse_moe.gate.weight", EXPERTS, HIDDEN)
        for e in range(EXPERTS):
            expert = f"{layer}.block_sparse_moe.experts.{e}"
            add(f"{expert}.w1.weight", WIDTH, HIDDEN)
            add(f"{expert}.w3.weight", WIDTH, HIDDEN)
            add(f"{expert}.w2.weight", HIDDEN, WIDTH)
    return config, tensors


def merged(tensors):
    """The same experts stacked, rows of the gate first, as version 5 has them in memory."""
    result = {name: value for name, value in tensors.items() if ".experts." not in name}
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        numbers = {part: [tensors[f"{layer}.block_sparse_moe.experts.{e}.{part}.weight"][1] for e in range(EXPERTS)]
                   for part in ("w1", "w2", "w3")}
        result[f"{layer}.mlp.experts.gate_up_proj"] = (
            [EXPERTS, 2 * WIDTH, HIDDEN], [x for e in range(EXPERTS) for x in numbers["w1"][e] + numbers["w3"][e]])
        result[f"{layer}.mlp.experts.down_proj"] = ([EXPERTS, HIDDEN, WIDTH], [x for e in range(EXPERTS) for x in numbers["w2"][e]])
        result[f"{layer}.mlp.gate.weight"] = result.pop(f"{layer}.block_sparse_moe.gate.weight")
    return result


class Foreign(ProgramTest):
    def folder(self, name, config=None, tensors=None):
        own_config, own_tensors = mixtral()
        folder = self.scratch / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config or own_config))
        write_tensors(folder / "model.safetensors", tensors or own_tensors)
        write_tokenizer(folder)
        return folder

    def facts(self, *words):
        result = mote(*words, "--json")
        self.assert_done(result)
        return result.json()

    def evaluated(self, folder, *words):
        return self.facts("eval", folder, "--data", self.shared / "valid.txt", *words)

    def generated(self, folder, *words):
        return self.facts("generate", folder, "--temperature", "0", *words)

    def test_experts_apart_and_merged_are_the_same_model(self):
        config, tensors = mixtral()
        apart, together = self.folder("apart"), self.folder("together", tensors=merged(tensors))
        self.assertEqual(self.evaluated(apart)["loss"], self.evaluated(together)["loss"])
        facts = self.facts("inspect", apart)
        self.assertEqual((facts["family"], facts["experts_per_layer"], facts["experts_per_token"]),
                         ("mixtral", EXPERTS, 2))
        self.assertEqual(facts["parameters"]["total"], sum(len(values) for _, values in tensors.values()))

    def test_what_is_missing_left_over_or_of_another_shape_is_named(self):
        config, tensors = mixtral()
        lost = "model.layers.1.block_sparse_moe.experts.3.w3.weight"
        for name, change, words in (
                ("lost", {lost: None}, (lost,)),
                ("scales", {"model.layers.0.mlp.router.per_expert_scale": ([EXPERTS], [1.0] * EXPERTS)}, ("per_expert_scale",)),
                ("turned", {lost: ([HIDDEN, WIDTH], tensors[lost][1])}, (lost, f"[{HIDDEN}, {WIDTH}]", f"[{WIDTH}, {HIDDEN}]"))):
            changed = {key: value for key, value in (tensors | change).items() if value}
            result = mote("eval", self.folder(name, tensors=changed), "--data", self.shared / "valid.txt")
            self.assert_refused(result, 1, *words)
        result = mote("eval", self.folder("field", config | {"logits_scaling": 2.0}), "--data", self.shared / "valid.txt")
        self.assert_refused(result, 1, "logits_scaling")
        result = mote("eval", self.folder("gptq", config | {"quantization_config": {"quant_method": "gptq", "bits": 4}}), "--data",
                      self.shared / "valid.txt")
        self.assert_refused(result, 1, "gptq")

    def test_layers_behind_the_last_one_are_left_out(self):
        _, tensors = mixtral()
        more = dict(tensors)
        for name, value in tensors.items():
            if name.startswith("model.layers.1."):
                more[name.replace("layers.1.", f"layers.{LAYERS}.")] = value
        more["model.layers.0.self_attn.rotary_emb.inv_freq"] = ([HEAD_DIM // 2], [1.0] * (HEAD_DIM // 2))
        folder, plain = self.folder("more", tensors=more), self.folder("plain")
        self.assertEqual(self.evaluated(folder)["loss"], self.evaluated(plain)["loss"])
        self.assertEqual(mote("inspect", folder, "--json").json()["ignored"], sorted(set(more) - set(tensors)))
        self.assertNotIn("ignored", mote("inspect", plain, "--json").json())

    def test_a_text_begins_as_the_tokenizer_begins_it(self):
        folder = self.folder("model")
        facts = self.evaluated(folder)
        self.assertEqual(facts["tokens"], facts["bytes"] - 1, "the first byte follows from nothing")
        self.assertEqual(self.generated(folder, "-p", "abc", "-n", "1")["prompt_tokens"], 3)
        self.assert_refused(mote("generate", folder, "-n", "1"), 2, "-p", "empty")
        (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text().replace(
            '"post_processor": null',
            '"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},'
            ' {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"<|im_start|>": {"id": "<|im_start|>",'
            ' "ids": [257], "tokens": ["<|im_start|>"]}}}'))
        facts = self.evaluated(folder)
        self.assertEqual(facts["tokens"], facts["bytes"])
        self.assertEqual(self.generated(folder, "-p", "abc", "-n", "1")["prompt_tokens"], 4)

    def test_of_several_prompts_the_one_that_cannot_be_read_is_named(self):
        prompts = self.scratch / "prompts.txt"
        prompts.write_text("abc\n\nabc\n")
        self.assert_refused(mote("generate", self.folder("model"), "--prompts", prompts, "-n", "1"), 2, "prompt 2", "empty")

    def test_a_text_longer_than_the_model_was_made_for_is_a_warning(self):
        folder = self.folder("model")
        for prompt, new in ((60, "4"), (65, "0"), (64, "3")):
            result = mote("generate", folder, "-p", prompt * "a", "-n", new, "--ignore-eos")
            self.assert_done(result)
            self.assertEqual("more than the 64 tokens" in result.stderr, prompt + int(new) > 64, result.stderr)

    def test_any_end_of_any_file_ends_a_text(self):
        folder = self.folder("model")
        forced = ("-p", "abc", "-n", "5", "--logit-bias", "120=100")
        self.assertEqual(self.generated(folder, *forced)["text"], "xxxxx")
        (folder / "generation_config.json").write_text('{"eos_token_id": [258, 120]}')
        self.assertEqual(self.generated(folder, *forced)["stop_reason"], "end_of_text")
        for end in (256, 258):  # of config.json, of the list
            self.assertEqual(self.generated(folder, "-p", "abc", "-n", "5", "--logit-bias", f"{end}=100")["stop_reason"], "end_of_text")
        self.assertEqual(self.generated(folder, "-p", "abc", "-n", "5", "--logit-bias", "258=90", "--ignore-eos")["stop_reason"],
                         "length")
        self.assert_refused(mote("generate", folder, "-p", "a", "--logit-bias", "300=1"), 2, "--logit-bias", "300")
        self.assert_refused(mote("generate", folder, "-p", "a", "--logit-bias", "a"), 2, "--logit-bias")

    def test_long_texts_are_scored_in_windows_that_overlap(self):
        folder = self.folder("model")
        whole = self.evaluated(folder, "--ctx-size", "100000")
        for window in ("64", "7", "2"):
            facts = self.evaluated(folder, "--ctx-size", window)
            self.assertEqual(facts["tokens"], whole["tokens"])
            self.assertNotEqual(facts["loss"], whole["loss"])
        self.assertEqual(self.evaluated(folder)["loss"], self.evaluated(folder, "--ctx-size", "64")["loss"])

    def test_chat_goes_on_with_the_models_own_template(self):
        folder = self.folder("model")
        self.assert_refused(mote("chat", folder, input=b"hello\n"), 1, "chat template")
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        said = mote("chat", folder, "--temperature", "0", "-n", "6", "--system", "Be brief.", input=b"hello\n\nand then?\n")
        self.assert_done(said)
        lines = said.stdout.split("\n")
        self.assertEqual(len(lines), 3)
        self.assertIn("--predict", said.stderr)
        again = mote("chat", folder, "--temperature", "0", "-n", "6", "--system", "Be brief.", input=b"hello\n")
        self.assertEqual(again.stdout.split("\n")[0], lines[0])
        self.assert_refused(mote("chat", folder, "--template-values", "[1]", input=b""), 2, "--template-values")

    def test_a_compressed_model_begins_ends_and_talks_as_before(self):
        folder, packed = self.folder("model"), self.scratch / "packed"
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        (folder / "generation_config.json").write_text('{"eos_token_id": [258, 120]}')
        self.assert_done(mote("compress", folder, packed, "--bits", "2", "--calibration", self.shared / "train.txt", "--samples", "4"))
        self.assertEqual(self.evaluated(packed)["tokens"], self.evaluated(folder)["tokens"])
        self.assertEqual(self.generated(packed, "-p", "abc", "-n", "5", "--logit-bias", "120=100")["stop_reason"], "end_of_text")
        self.assert_done(mote("chat", packed, "-n", "2", input=b"hello\n"))


if __name__ == "__main__":
    unittest.main()

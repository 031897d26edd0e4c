"""GGUF files that `mote convert` writes, opened by llama.cpp: does it cut a text into the same tokens and continue it alike?

A Mixtral and an OLMoE of random weights with a tokenizer of bytes, made here. Fetches llama.cpp by npm and numpy by pip, at pinned
versions, into a cache. MOTE names the program. Skips aloud (exit 77) where nothing can be fetched.

llama.cpp keeps keys and values in float16: greedy ids are compared up to the first step whose two best logits are closer than GAP.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cli")]
import llama_cpp  # noqa: E402
import models_test  # noqa: E402
from foreign_test import EXPERTS, HEAD_DIM, HEADS, LAYERS, mixtral, write_tensors, write_tokenizer  # noqa: E402

GAP, NEW = 0.05, 24
PROMPTS = ["a small model", "it's 12 o'clock\n\nand", "caf\u00e9, na\u00efve"]
OLMOE = {"block_sparse_moe.gate": "mlp.gate", "block_sparse_moe": "mlp", "w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}


def olmoe():
    """The same weights as an OLMoE, which norms queries and keys; key heads are as many as those of queries."""
    config, tensors = mixtral()
    config |= {"model_type": "olmoe", "architectures": ["OlmoeForCausalLM"], "num_key_value_heads": HEADS, "norm_topk_prob": False,
               "num_experts": config.pop("num_local_experts")}
    config.pop("head_dim")
    renamed = {}
    for name, (shape, values) in tensors.items():
        for ours, theirs in OLMOE.items():
            name = name.replace(ours, theirs)
        if "k_proj" in name or "v_proj" in name:
            shape, values = [HEADS * shape[0], shape[1]], values * HEADS
        renamed[name] = (shape, values)
    for layer in range(LAYERS):
        for norm in ("q_norm", "k_norm"):
            renamed[f"model.layers.{layer}.self_attn.{norm}.weight"] = ([HEADS * HEAD_DIM], [1 + 0.1 * i for i in range(HEADS * HEAD_DIM)])
    return config, renamed


class Converted(unittest.TestCase):
    def test_llama_cpp_cuts_and_continues_as_mote_does(self):
        for make in (mixtral, olmoe):
            with tempfile.TemporaryDirectory() as scratch:
                folder, file = pathlib.Path(scratch) / "folder", pathlib.Path(scratch) / "m.gguf"
                folder.mkdir()
                config, tensors = make()
                (folder / "config.json").write_text(json.dumps(config))
                write_tensors(folder / "model.safetensors", tensors)
                write_tokenizer(folder)
                models_test.mote("convert", folder, file, "--to", "gguf")
                peer, compared = llama_cpp.Llama(LIBRARIES, file, 2), 0
                for prompt in PROMPTS:
                    wanted, gaps = peer.greedy(prompt, NEW)
                    facts = models_test.mote("generate", folder, "-p", prompt, "-n", NEW, "--temperature", "0")
                    self.assertEqual(facts["prompt_tokens"], len(peer.ids(prompt)))
                    count = min(next((i for i, gap in enumerate(gaps) if gap < GAP), NEW), len(facts["token_ids"]))
                    self.assertEqual(facts["token_ids"][:count], wanted[:count], (make.__name__, prompt))
                    compared += count
                print(json.dumps({"model": make.__name__, "experts": EXPERTS, "steps": compared}))
                self.assertGreater(compared, 10, "too few steps were sure")


if __name__ == "__main__":
    try:
        LIBRARIES = models_test.fetch_peer()
    except (OSError, RuntimeError, subprocess.CalledProcessError) as problem:
        print(f"skipped: cannot fetch llama.cpp: {problem}")
        sys.exit(77)
    unittest.main()

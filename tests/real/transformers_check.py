"""Folders that `mote convert` writes, opened by transformers: do they give the logits that the reference checkpoints expect?

    MOTE=build/mote python tests/real/transformers_check.py FIXTURES [NAME...]

wants torch, transformers (4.57 or 5.23) and safetensors. Each folder of FIXTURES with a config.json and an expected.safetensors is
converted to safetensors, and to GGUF and back where GGUF can say it; a line tells how far the logits are apart. Not a test of ctest:
docs/formats.md says what came out. Exit 1 where one is over 1e-4 of the largest logit.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

MOTE = os.environ.get("MOTE", "build/mote")
MOST = 1e-4


def convert(model, out, to):
    """What the program says where it refuses."""
    done = subprocess.run([MOTE, "convert", str(model), str(out), "--to", to, "--quiet"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


def distance(folder, expected):
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                                       output_loading_info=True)
    left = {key: sorted(map(str, value)) for key, value in loading.items() if value}
    with torch.no_grad():
        logits = model.eval()(expected["input_ids"]).logits
    wanted = expected["logits"]
    return float((logits - wanted).abs().max() / wanted.abs().max().clamp(min=1)), left


def main():
    root, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
    worst = 0.0
    for folder in sorted(root.iterdir()):
        if not (folder / "expected.safetensors").exists() or names and folder.name not in names:
            continue
        expected = load_file(folder / "expected.safetensors")
        if "decoder_input_ids" in expected or "logits" not in expected or not (folder / "config.json").exists():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            row = {"model": folder.name, "transformers": transformers.__version__}
            if problem := convert(folder, scratch / "out", "safetensors"):
                row["problem"] = problem
            else:
                row["safetensors"], row["left"] = distance(scratch / "out", expected)
                if problem := convert(folder, scratch / "m.gguf", "gguf"):
                    row["gguf_refused"] = problem
                elif problem := convert(scratch / "m.gguf", scratch / "back", "safetensors"):
                    row["back_refused"] = problem
                else:
                    row["by_gguf"], row["left_by_gguf"] = distance(scratch / "back", expected)
            print(json.dumps({key: value for key, value in row.items() if value != {}}), flush=True)
            worst = max(worst, row.get("safetensors", 0.0), row.get("by_gguf", 0.0))
    return int(not worst <= MOST)


if __name__ == "__main__":
    sys.exit(main())

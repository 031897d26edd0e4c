#!/usr/bin/env python3
"""Whether two builds of mote train alike, bit for bit: what a refactor must show against its parent.

    scripts/same_losses.py OLD_MOTE NEW_MOTE [RECIPE...]

Runs both programs on each recipe (default: those of tests/golden) with --isa reference and one thread, and compares every loss and
gradient norm of metrics.jsonl exactly. Prints a line per recipe; exit status 1 where something differs.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"


def run(mote, recipe):
    with tempfile.TemporaryDirectory(prefix="mote-same-") as scratch:
        out = Path(scratch) / "run"
        subprocess.run([mote, "train", recipe.name, "--out", out, "--isa", "reference", "--threads", "1", "--quiet"],
                       cwd=recipe.parent, check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["grad_norm"]) for line in lines if "loss" in line]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    old, new = (str(Path(program).resolve()) for program in sys.argv[1:3])
    recipes = [Path(r).resolve() for r in sys.argv[3:]] or sorted(GOLDEN.glob("*.toml"))
    differ = False
    for recipe in recipes:
        a, b = run(old, recipe), run(new, recipe)
        wrong = [(x, y) for x, y in zip(a, b) if x != y]
        if len(a) != len(b) or wrong:
            differ = True
            (step, *was), (_, *now) = wrong[0] if wrong else (a[-1], b[-1])
            print(f"{recipe.name}: {len(wrong)} of {len(a)} steps differ, first {step}: loss and norm {was} before, {now} after")
        else:
            print(f"{recipe.name}: identical, {len(a)} steps, last loss {a[-1][1]!r}")
    sys.exit(differ)


if __name__ == "__main__":
    main()

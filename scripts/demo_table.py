"""Prints the table of scripts/demo.sh from the JSON that the commands printed."""
import json
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
read = lambda name: json.loads((out / f"{name}.json").read_text())
train = read("train")
parameters = train["parameters"]
share = parameters["feed_forward_active"] / parameters["feed_forward"]
print(f"parameters {parameters['total']:,}, feed-forward {parameters['feed_forward']:,} "
      f"of which a token uses {share:.1%}; trained on {train['tokens']:,} tokens at {train['tokens_per_second']:,.0f} a second")
print()
print("| model | parameters | bytes | bits per expert weight | loss (nats per token) | bits per byte |")
print("|---|---|---|---|---|---|")
names = {"trained": "trained, float32", "2-bit": "2-bit, second-order", "ternary": "ternary, second-order",
         "ternary-rtn": "ternary, round to nearest"}
for model, title in names.items():
    score = read(f"{model}.eval")
    packed = read(model) if model != "trained" else {}
    bits = packed.get("expert_bits_per_weight", 32)
    size = (out / model / "model.safetensors").stat().st_size
    print(f"| {title} | {parameters['total']:,} | {size:,} | {bits:.3f} | {score['loss']:.4f} | {score['bits_per_byte']:.4f} |")
for model in list(names)[1:]:
    packed = read(model)
    experts = packed["experts"]
    print(f"\n{names[model]}: {packed['seconds']:.1f} s, peak memory {packed['peak_rss_bytes'] / 1e6:,.0f} MB, "
          f"{packed['zeros']:.1%} zeros, entropy {packed['entropy_bits_per_weight']:.3f} bits, "
          f"{experts['calibrated']} of {experts['total']} experts calibrated", end="")
print()

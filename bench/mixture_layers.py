"""The mixture layers of transformers beside the rows `moe_layer` of Mixtral, OLMoE, Qwen3-MoE and Switch of `mote bench moe-layer`.

Forward, router included, in each way that transformers runs experts; records have the form and names of mote's.
  VENV/bin/python bench/mixture_layers.py PEERS [--threads N] [--repeat 5] [--only "WORDS"] [--isa avx2] --json

PEERS is the folder of the peers' scripts (moe_layer.py), whose sampling and records are used; VENV has their requirements.
"""
import sys

sys.path.insert(0, sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ".")

try:
    import common
except ImportError:
    sys.exit(f"no common.py in {sys.path[0]!r}: the first argument is the folder of the peers' scripts\n{__doc__}")

# family, model width d, experts E, expert width G, experts per token K, token counts: those of bench/moe_layer.cpp
LAYERS = [("Mixtral", 1024, 8, 3584, 2, (1, 16, 2048)), ("OLMoE", 1024, 64, 256, 8, (1, 16, 2048)), ("OLMoE", 1024, 64, 512, 8, (1, 128)),
          ("Qwen3-MoE", 1024, 64, 256, 8, (1, 16, 2048)), ("Qwen3-MoE", 1024, 64, 512, 8, (1, 128)),
          ("Switch", 768, 128, 3072, 1, (1, 16, 1024))]


def qwen3(how, d, E, G, K):
    import transformers
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

    config = transformers.Qwen3MoeConfig(hidden_size=d, moe_intermediate_size=G, num_experts=E, num_experts_per_tok=K, norm_topk_prob=True)
    config._experts_implementation = how
    return Qwen3MoeSparseMoeBlock(config)


def blocks(family, d, E, G, K):
    """(peer, maker of its module) of every way; Switch has one."""
    from moe_layer import transformers_layers

    if family == "Qwen3-MoE":
        return [(f"transformers {how}", lambda how=how: qwen3(how, d, E, G, K)) for how in ("eager", "grouped_mm")]
    ways = [(peer, make) for peer, make, _ in transformers_layers(d, E, G, K)]
    return [("transformers " + ("grouped_mm" if "grouped_mm" in peer else "eager"), make) for peer, make in ways]


def time_layer(report, args, torch, version, family, d, E, G, K, tokens):
    for peer, make in blocks(family, d, E, G, K):
        for dtype, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            layer = None
            for count in tokens:
                shape = f"{family} d={d} E={E} G={G} K={K} tokens={count} {dtype} forward"
                if not report.wants("moe_layer", peer, shape):
                    continue
                try:
                    if layer is None:
                        layer = make().to(kind)
                        for p in layer.parameters():
                            torch.nn.init.normal_(p, std=0.02)
                    batches = [torch.randn(1, count, d).to(kind) for _ in range(8)]  # other tokens reach other experts
                    turn = iter(range(10**9))

                    def forward():
                        with torch.inference_mode():
                            layer(batches[next(turn) % 8])

                    seconds = common.sample(forward, args.repeat)
                except Exception as error:  # a way that cannot run this shape is left out
                    common.skip(f"{peer} {shape}", error)
                    continue
                median = sorted(seconds)[len(seconds) // 2]
                work = 2e-9 * count * d * G * K * (2 if family == "Switch" else 3)
                report.rate("moe_layer", peer, version, shape, "tokens/s", count, seconds, ms=round(1e3 * median, 4),
                            GFLOP_per_s=round(work / median, 2))


def main():
    args = common.arguments(__doc__)
    report, torch = common.Report(args), common.torch_with(args.threads)
    import transformers

    for family, *sizes, tokens in LAYERS:
        time_layer(report, args, torch, transformers.__version__, family, *sizes, tokens)


if __name__ == "__main__":
    main()

"""A PEER layer as it is written in PyTorch with sparse gradients: two embeddings updated by SparseAdam, the rest by Adam.

One training step, as the row `peer ... step-adam` of `mote bench peer-layer`; the record has the same form.
  .venv/bin/python bench/sparse_adam.py [--threads N] [--experts 1048576] [--dim 256] [--tokens 512] [--repeat 5]
"""
import argparse
import json
import resource
import time

import torch
from torch import nn
from torch.nn import functional as F

HEADS, PICKS = 8, 16


class Peer(nn.Module):
    def __init__(self, dim, experts):
        super().__init__()
        self.n = round(experts**0.5)
        self.query = nn.Linear(dim, HEADS * dim, bias=False)
        self.keys = nn.Parameter(torch.randn(2, self.n, dim // 2) * dim**-0.5)
        self.up, self.down = (nn.Embedding.from_pretrained(torch.empty(experts, dim).uniform_(-0.02, 0.02), freeze=False, sparse=True)
                              for _ in range(2))

    def forward(self, x):
        q = self.query(x).view(-1, HEADS, 2, x.size(-1) // 2)
        scores = torch.einsum("thpd,pnd->pthn", q, self.keys)
        (a, i), (b, j) = scores[0].topk(PICKS), scores[1].topk(PICKS)
        score, flat = (a[..., :, None] + b[..., None, :]).flatten(-2).topk(PICKS)
        index = (i.gather(-1, flat // PICKS) * self.n + j.gather(-1, flat % PICKS)).flatten(1)
        gate = F.softmax(score, -1).flatten(1)
        hidden = F.gelu(torch.einsum("td,tkd->tk", x, self.up(index))) * gate
        return torch.einsum("tk,tkd->td", hidden, self.down(index))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"threads": 1, "experts": 1 << 20, "dim": 256, "tokens": 512, "repeat": 5}.items():
        parser.add_argument("--" + name, type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    layer = Peer(args.dim, args.experts)
    tables = [layer.up.weight, layer.down.weight]
    optimizers = [torch.optim.SparseAdam(tables, lr=1e-4), torch.optim.Adam([layer.query.weight, layer.keys], lr=1e-4)]
    batches = [torch.randn(args.tokens, args.dim) for _ in range(4)]

    def step(turn):
        layer(batches[turn % 4]).pow(2).mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    step(0)
    rates = []
    for turn in range(args.repeat):
        start = time.perf_counter()
        step(turn)
        rates.append(args.tokens / (time.perf_counter() - start))
    print(json.dumps({
        "name": "peer_layer", "peer": "torch SparseAdam", "version": torch.__version__, "dtype": "fp32", "threads": args.threads,
        "shape": f"peer N={args.experts} d={args.dim} heads={HEADS} k={PICKS} tokens={args.tokens} fp32 step-adam",
        "metric": "rate", "unit": "tokens/s", "median": sorted(rates)[len(rates) // 2], "min": min(rates), "best": max(rates),
        "n": len(rates), "clock": "wall", "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


if __name__ == "__main__":
    main()

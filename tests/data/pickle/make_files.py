"""Makes the files of this folder with torch (2.13): `python3 make_files.py`.

zip.pt, legacy.pt   the same state in both forms: every type, a transposed tensor, a slice, two tensors that share a
                    storage, one of one element, an empty one, a parameter, dicts inside dicts, values that are no tensors
ordered.pt          an OrderedDict with the `_metadata` that state_dict() gives it
twin.json           the bytes of each tensor of zip.pt in C order, as hexadecimal digits
"""
import collections
import json
import pathlib

import torch

HERE = pathlib.Path(__file__).parent
torch.manual_seed(7)
table = torch.randn(4, 6)
TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
         torch.uint8, torch.bool]
tensors = {f"types.{str(t)[6:]}": (10 * torch.randn(3)).to(t) for t in TYPES}
tensors |= {"table": table, "tied": table, "transposed": table.t(), "slice": table[1:3], "column": table[:, 2],
            "one": torch.tensor(2.5), "none": torch.empty(0, 3), "parameter": torch.nn.Parameter(torch.randn(2, 2))}
state = dict(tensors) | {"inside": {"deeper": {"weight": torch.arange(5)}, "list": [torch.ones(1), 3]}, "steps": 12,
                         "rate": 0.25, "name": "na\u00efve", "flag": True, "nothing": None, "large": 1 << 40, "below": -5}
torch.save(state, HERE / "zip.pt")
torch.save(state, HERE / "legacy.pt", _use_new_zipfile_serialization=False)
module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
assert isinstance(module.state_dict(), collections.OrderedDict)
torch.save(module.state_dict(), HERE / "ordered.pt")
tensors |= {"inside.deeper.weight": torch.arange(5), "inside.list.0": torch.ones(1)}
twin = {}
for name, tensor in tensors.items():
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    twin[name] = {"shape": list(tensor.shape), "bytes": bytes(raw.tolist()).hex()}
(HERE / "twin.json").write_text(json.dumps(twin, indent=1) + "\n")

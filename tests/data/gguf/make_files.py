"""Makes the GGUF files of this folder with PyPI's gguf (0.19.0): `python3 make_files.py`.

TYPE.gguf   `blocks`, two rows of blocks of the type, and `values`, F32, what gguf makes of them. Where gguf writes the
            type too, `written` is what it makes of `source`. Codes and scales that gguf cannot write are random.
keys.gguf   a key of each type and an array of each, tensors of all ranks
split-*     one model in two files
"""
import pathlib

import gguf
import numpy as np

HERE = pathlib.Path(__file__).parent
TYPES = gguf.GGMLQuantizationType
READ = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K TQ1_0 TQ2_0 MXFP4".split()
# Where a block has its float16 numbers.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "TQ1_0": [52], "TQ2_0": [64]}
draw = np.random.default_rng(7)


def random_blocks(name, rows, blocks):
    elements, size = gguf.GGML_QUANT_SIZES[TYPES[name]]
    if elements == 1:
        values = draw.normal(size=(rows, 32 * blocks)).astype(np.float32)
        return gguf.quants.quantize(values, TYPES[name])
    raw = draw.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    for at in HALVES.get(name, []):
        half = draw.normal(size=(rows, blocks, 1)).astype(np.float16)
        raw[:, :, at:at + 2] = half.view(np.uint8)
    return raw.reshape(rows, blocks * size)


def add(writer, name, values, kind):
    writer.add_tensor(name, values, raw_dtype=TYPES[kind])


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


for name in READ:
    elements = gguf.GGML_QUANT_SIZES[TYPES[name]][0]
    blocks = random_blocks(name, 2, 2 if elements < 256 else 1)
    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", "none")
    add(writer, "blocks", blocks, name)
    add(writer, "values", gguf.quants.dequantize(blocks, TYPES[name]), "F32")
    if name in ("F16", "BF16", "Q8_0", "TQ1_0", "TQ2_0"):
        source = draw.normal(size=(2, 256)).astype(np.float32)
        source[0, :32] = 0
        source[1, 5], source[1, 70], source[1, 71] = -3.5, 1e-7, 2.5
        if elements == 256:
            source[0] = 0
        add(writer, "source", source, "F32")
        add(writer, "written", gguf.quants.quantize(source, TYPES[name]), name)
    finish(writer)

writer = gguf.GGUFWriter(HERE / "keys.gguf", "llama")
writer.add_uint8("k.u8", 200)
writer.add_int8("k.i8", -100)
writer.add_uint16("k.u16", 60000)
writer.add_int16("k.i16", -30000)
writer.add_uint32("k.u32", 4000000000)
writer.add_int32("k.i32", -2000000000)
writer.add_uint64("k.u64", 1 << 63)
writer.add_int64("k.i64", -(1 << 62))
writer.add_float32("k.f32", 0.5)
writer.add_float64("k.f64", 0.1)
writer.add_bool("k.bool", True)
writer.add_string("k.text", "na\u00efve \u65e5\u672c")
writer.add_array("k.numbers", [1, -2, 3])
writer.add_array("k.floats", [0.5, -1.5])
writer.add_array("k.texts", ["", "a", "bc"])
writer.add_array("k.bools", [True, False, True])
for rank in range(1, 5):
    shape = (2, 3, 4, 5)[4 - rank:]
    add(writer, f"rank{rank}", np.arange(np.prod(shape), dtype=np.float32).reshape(shape), "F32")
finish(writer)

for part in range(2):
    writer = gguf.GGUFWriter(HERE / f"split-{part + 1:05}-of-00002.gguf", "llama")
    writer.add_uint16("split.no", part)
    writer.add_uint16("split.count", 2)
    writer.add_int32("split.tensors.count", 3)
    if part == 0:
        writer.add_uint32("llama.block_count", 1)
    for i in range(2 - part):
        add(writer, f"part{part}.{i}", np.full((2, 3), 10 * part + i, np.float32), "F32")
    finish(writer)

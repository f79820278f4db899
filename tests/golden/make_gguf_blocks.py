#!/usr/bin/env python3
"""Make tests/kernels/gguf_blocks.h with the gguf package (llama.cpp's own): what it packs numbers into for Q8_0, and
what it makes of this program's blocks of Q4_K and Q6_K.
usage: make_gguf_blocks.py QUANT > gguf_blocks.h
QUANT 8|4|6: reads f32 from standard input, writes blocks: a few lines of C around compute/quant.h."""
import subprocess, sys
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

state, x = 12345, []
for i in range(512):
    state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    x.append(((state >> 8) / (1 << 24) - 0.5) * (1 + i % 7) * (8.0 if i == 300 else 0.1))
x = np.array(x, np.float32).reshape(2, 256)


def ours(kind, n):
    out = subprocess.run([sys.argv[1], str(kind)], input=x.tobytes(), capture_output=True, check=True).stdout
    return np.frombuffer(out, np.uint8).reshape(2, n)


def array(ctype, name, values, fmt):
    print("static const %s %s[] = {" % (ctype, name))
    values = [fmt(v) for v in np.asarray(values).reshape(-1)]
    line = "   "
    for v in values:
        if len(line) + len(v) + 2 > 98:
            print(line)
            line = "   "
        line += " " + v + ","
    print(line + "\n};")


byte, real = lambda v: "%d" % v, lambda v: float(v).hex().replace("0000000p", "p") + "f"
q4, q6 = ours(4, 144), ours(6, 210)
print("/* Made by tests/golden/make_gguf_blocks.py with the gguf package. */")
print("/* clang-format off */")
array("uint8_t", "package_q8_0", quantize(x, T.Q8_0), byte)
array("uint8_t", "block_q4_k", q4, byte)
array("float", "package_of_q4_k", dequantize(q4, T.Q4_K), real)
array("uint8_t", "block_q6_k", q6, byte)
array("float", "package_of_q6_k", dequantize(q6, T.Q6_K), real)
print("/* clang-format on */")

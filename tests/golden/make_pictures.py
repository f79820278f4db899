#!/usr/bin/env python3
"""Write small pictures of the kinds that the zoo lacks, to FOLDER.

usage: make_pictures.py FOLDER; then make_image_sums.py FOLDER > picture_sums.txt

PNG: every colour type and depth, interlaced and not, with a tRNS chunk, a short palette.
JPEG: grey, CMYK, RGB without YCbCr, odd sampling, restart markers. WebP: lossless, with alpha.
Needs Pillow and NumPy; the tests do not.
"""
import pathlib
import struct
import sys
import zlib

import numpy
from PIL import Image

WIDTH, HEIGHT = 19, 13
folder = pathlib.Path(sys.argv[1])
rng = numpy.random.default_rng(1)
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows(samples, depth):
    """Scanlines of (height, width, channels) samples, filter 0."""
    out = b""
    for row in samples:
        bits = "".join(format(int(v), f"0{depth}b") for v in row.reshape(-1))
        bits += "0" * (-len(bits) % 8)
        out += b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return out


def png(name, colour, depth, interlaced=False, trns=b"", n_palette=0):
    top = n_palette or 1 << depth
    samples = rng.integers(0, top, (HEIGHT, WIDTH, CHANNELS[colour]))
    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        data = b"".join(rows(p, depth) for p in parts if p.size)
    else:
        data = rows(samples, depth)
    out = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, int(interlaced)))
    if n_palette:
        out += chunk(b"PLTE", rng.integers(0, 256, 3 * n_palette, dtype=numpy.uint8).tobytes())
    if trns:
        out += chunk(b"tRNS", trns)
    out += chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    (folder / name).write_bytes(out)


def smooth(channels):
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [127 + 120 * numpy.sin(x / (2.0 + c) + y / (3.0 - c / 2)) for c in range(channels)]
    return numpy.stack(waves, -1).astype(numpy.uint8)


for depth in (1, 2, 4, 8):
    png(f"grey{depth}.png", 0, depth)
    png(f"grey{depth}_interlaced.png", 0, depth, interlaced=True)
    png(f"palette{depth}.png", 3, depth, n_palette=1 << depth)
png("palette4_interlaced.png", 3, 4, interlaced=True, n_palette=11)
png("palette8_transparent.png", 3, 8, trns=bytes(range(0, 200, 20)), n_palette=40)
png("grey8_transparent.png", 0, 8, trns=struct.pack(">H", 100))
png("rgb8_interlaced.png", 2, 8, interlaced=True)
png("rgb8_transparent.png", 2, 8, trns=struct.pack(">HHH", 1, 2, 3))
png("rgb16.png", 2, 16)
png("rgb16_interlaced.png", 2, 16, interlaced=True)
png("greyalpha8.png", 4, 8)
png("greyalpha16.png", 4, 16)
png("rgba8_interlaced.png", 6, 8, interlaced=True)
png("rgba16.png", 6, 16)

rgb = Image.fromarray(smooth(3), "RGB")
Image.fromarray(smooth(1)[:, :, 0], "L").save(folder / "grey.jpg", quality=80)
Image.fromarray(smooth(4), "CMYK").save(folder / "cmyk.jpg", quality=80)
rgb.save(folder / "rgb.jpg", quality=80, keep_rgb=True)
for sampling in (0, 1, 2):
    rgb.save(folder / f"sampling{sampling}.jpg", quality=70, subsampling=sampling)
rgb.save(folder / "restart.jpg", quality=80, restart_marker_blocks=1)
rgb.save(folder / "progressive.jpg", quality=80, progressive=True)
rgb.save(folder / "lossless.webp", lossless=True)
rgba = Image.fromarray(smooth(4), "RGBA")
rgba.save(folder / "alpha_lossless.webp", lossless=True, exact=True)
rgba.save(folder / "alpha_lossy.webp", quality=70)

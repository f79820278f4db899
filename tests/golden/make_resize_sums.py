#!/usr/bin/env python3
"""Print SHA-256 of planar pictures padded or not, resized and cropped, as Pillow makes them.

usage: make_resize_sums.py IMAGES-FOLDER > resize_sums.txt

One line a case: sum, side, 1 if padded to a square, name. Without padding the shorter side is
resized to `side` and the middle is kept. Needs Pillow and NumPy; the tests do not.
"""
import hashlib
import pathlib
import sys

import numpy
from PIL import Image

for path in sorted(pathlib.Path(sys.argv[1]).iterdir())[::40]:
    picture = Image.open(path).convert("RGB")
    w, h = picture.size
    canvas = Image.new("RGB", (max(w, h),) * 2, (122, 116, 104))
    canvas.paste(picture, ((max(w, h) - w) // 2, (max(w, h) - h) // 2))
    for side in (7, 56, 336):
        small = min(w, h)
        plain = picture.resize((int(side * w / small), int(side * h / small)), Image.BICUBIC)
        x, y = (plain.width - side) // 2, (plain.height - side) // 2
        for padded, made in (
            (1, canvas.resize((side, side), Image.BICUBIC)),
            (0, plain.crop((x, y, x + side, y + side))),
        ):
            planar = numpy.ascontiguousarray(numpy.asarray(made).transpose(2, 0, 1))
            print(hashlib.sha256(planar.tobytes()).hexdigest(), side, padded, path.name)

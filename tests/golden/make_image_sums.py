#!/usr/bin/env python3
"""Print SHA-256 of the planar RGB pixels of pictures, as Pillow decodes them.

usage: make_image_sums.py FOLDER > image_sums.txt

One line a picture: sum, width, height, name. Needs Pillow and NumPy; the tests do not.
"""
import hashlib
import pathlib
import sys

import numpy
from PIL import Image

for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    pixels = numpy.asarray(Image.open(path).convert("RGB"))
    planar = numpy.ascontiguousarray(pixels.transpose(2, 0, 1))
    digest = hashlib.sha256(planar.tobytes()).hexdigest()
    print(digest, pixels.shape[1], pixels.shape[0], path.name)

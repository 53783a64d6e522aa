#!/usr/bin/env python3
"""Takes the pictures that the README shows from what the tests left, in few colours: small files.

screenshots.py [FOLDER]
"""

import pathlib
import sys

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[3]
TAKEN = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target/screenshots/shop"
SHOWN = ROOT / "docs/screenshots"
NAMES = ("sale", "buyer-dark", "photos", "phone", "progress")

SHOWN.mkdir(exist_ok=True)
for name in NAMES:
    picture = Image.open(TAKEN / f"{name}.png").convert("RGB")
    palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    palette.save(SHOWN / f"shop-{name}.png", optimize=True)

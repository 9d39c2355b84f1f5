"""Draw docs/images/start.png: phantoms of nuclei, their truth, and what the shipped model finds.

python docs/scripts/start_picture.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

import unmask
from unmask.apps.pictures import triptych
from unmask.phantoms.cells import nuclei

PICTURE = Path(__file__).resolve().parents[1] / "images" / "start.png"


def main() -> None:
    """Draw one image of touching nuclei."""
    phantom = nuclei((224, 224), rng=np.random.default_rng(11))
    image = np.asarray(phantom.image)
    image = image if image.ndim == 3 else image[None]
    found = unmask.predict("nuclei", image)
    png = triptych([(image, phantom.labels, np.asarray(found.labels))])
    # 128 colors are enough for it and keep the page small.
    drawing = Image.open(io.BytesIO(png)).convert("P", palette=Image.Palette.ADAPTIVE, colors=128)
    drawing.save(PICTURE, optimize=True)
    print(f"{PICTURE}: {len(np.unique(found.labels)) - 1} objects")


if __name__ == "__main__":
    main()

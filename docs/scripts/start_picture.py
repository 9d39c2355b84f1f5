"""Draw docs/images/start.png: phantoms of nuclei, their truth, and what the shipped model finds.

python docs/scripts/start_picture.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

import unmask
from unmask.infer.picture import label_picture
from unmask.phantoms.cells import nuclei

GAP = 8
PICTURE = Path(__file__).resolve().parents[1] / "images" / "start.png"


def main() -> None:
    """Draw one image of touching nuclei."""
    phantom = nuclei((224, 224), rng=np.random.default_rng(11))
    image = np.asarray(phantom.image)
    image = image if image.ndim == 3 else image[None]
    found = unmask.predict("nuclei", image)
    low, high = np.percentile(image, (1, 99.8))
    gray = np.clip((image[0] - low) / (high - low), 0, 1)
    drawn = (label_picture(labels) for labels in (phantom.labels, np.asarray(found.labels)))
    panels = [Image.fromarray((255 * gray).astype(np.uint8)).convert("RGB")]
    panels += [Image.open(io.BytesIO(png)).convert("RGB") for png in drawn]
    width, height = panels[0].size
    drawing = Image.new("RGB", (3 * width + 2 * GAP, height), "white")
    for number, panel in enumerate(panels):
        drawing.paste(panel, (number * (width + GAP), 0))
    # 128 colors are enough for it and keep the page small.
    small = drawing.convert("P", palette=Image.Palette.ADAPTIVE, colors=128)
    small.save(PICTURE, optimize=True)
    print(f"{PICTURE}: {len(np.unique(found.labels)) - 1} objects")


if __name__ == "__main__":
    main()

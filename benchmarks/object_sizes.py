"""Put the sizes of the training objects into the card of a model that lacks them.

    python benchmarks/object_sizes.py nuclei TRAIN/images TRAIN/labels

The labels are those that the model was trained on. The tensors are written back as they were read,
bit for bit; only the card changes, and with it the digest of the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from unmask import shipped
from unmask.build import layout
from unmask.checkpoint import load_model, save_model
from unmask.data.diameters import measure_diameters
from unmask.data.pairs import apply_view, open_pairs
from unmask.recipe import parse


def add_sizes(model: str | Path, images: Path, labels: Path) -> dict[str, dict[str, Any]]:
    """Rewrite the card of a model file or shipped model; what was added."""
    before = load_model(model)
    recipe = parse(before.card["recipe"], source=f"{model}: recipe inside")
    rules = layout(recipe)
    pairs = open_pairs(images, labels, rules, channels=recipe.data.channels)
    sizes = measure_diameters(apply_view(pairs, rules.view), ignore_label=recipe.data.ignore_label)
    if sizes is None:
        raise SystemExit(
            f"{labels}: expected objects, found none. Give the labels of the training."
        )
    added = {"object_diameters": sizes.to_card()}
    save_model(before.path, before.weights, {**before.card, **added})
    after = load_model(before.path)
    same = all(value.equal(after.weights[name]) for name, value in before.weights.items())
    if not same or set(after.weights) != set(before.weights):
        raise SystemExit(f"{before.path}: the tensors changed. Restore the file.")
    return added


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help=f"model file, or one of {', '.join(shipped.names())}")
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    asked = parser.parse_args()
    print(add_sizes(asked.model, asked.images, asked.labels))


if __name__ == "__main__":
    main()

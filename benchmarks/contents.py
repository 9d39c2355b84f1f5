"""What a vector is made of: image, brightness or class; why clusters find a class or do not.

    python benchmarks/contents.py SET RUN [RUN...] [--side 640] [--labels labels_semantic]

SET is as for ``organelles.py``. Features are those at the middles of patches. For training images,
the shares of the variance of all features are reported that the image explains, the brightness of
the voxel's own patch (16 levels), both, and both with the class; over all classes and over the two
lowest ones alone. A linear map from features to classes, of training images and each class of equal
weight, is scored on both parts by mean Dice: a bound of what naming features could reach.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from organelles import middle
from unmask.clustering.centers import prepare
from unmask.clustering.encoder import Encoder, Features, load_encoder
from unmask.data import NORMALIZERS
from unmask.io import Image, list_files, open_image, open_labels
from unmask.lookup import build

_LEVELS = 16
_RIDGE = 1e-3  # of the mean variance of a feature


@dataclass(frozen=True)
class Table:
    """Patches of one part.

    Attributes:
        vectors: ``(n, d)``.
        brightness: ``(n,)`` mean of the own patch.
        classes: ``(n,)`` at the middle of the patch.
        images: ``(n,)`` number of the image.
    """

    vectors: np.ndarray
    brightness: np.ndarray
    classes: np.ndarray
    images: np.ndarray


def table(encoder: Encoder, part: Path, labels: str, side: int) -> Table:
    """The patches of a part's images, cut to their middles."""
    dense = encoder.dense(Features(quality="draft"))
    patch = encoder.backbone.patch[0]
    normalize = build(encoder.recipe.data.normalize.choice, NORMALIZERS, "data.normalize")
    vectors, brightness, classes, numbers = [], [], [], []
    for number, path in enumerate(list_files(part / "images")):
        image = middle(open_image(path, ndim=2).read()[0], side)
        truth = middle(open_labels(part / labels / Path(path).name, ndim=2).read()[0], side)
        rows, columns = (n // patch for n in image.shape)
        whole = (slice(rows * patch), slice(columns * patch))
        image, truth = np.ascontiguousarray(image[whole]), truth[whole]
        made = Image.from_array(image[None], ndim=2, name=Path(path).stem)
        volume = prepare(dense, made, channels=1, normalize=normalize)
        first = patch // 2
        for box in dense.blocks(volume.space):
            found = dense.compute(volume.read, volume.space, box).cpu().numpy()
            begin = [(first - start) % patch for start in box.start]
            vectors.append(found[begin[0] :: patch, begin[1] :: patch].reshape(-1, dense.dim))
            place = tuple(
                slice(start + ahead, stop, patch)
                for start, ahead, stop in zip(box.start, begin, box.stop, strict=True)
            )
            gray = image.reshape(rows, patch, columns, patch).mean(axis=(1, 3))
            brightness.append(gray.repeat(patch, 0).repeat(patch, 1)[place].ravel())
            classes.append(truth[place].ravel().astype(np.int64))
            numbers.append(np.full(classes[-1].size, number))
    return Table(*(np.concatenate(each) for each in (vectors, brightness, classes, numbers)))


def explained(vectors: np.ndarray, groups: np.ndarray) -> float:
    """Share of the variance that lies between groups."""
    total = ((vectors - vectors.mean(axis=0)) ** 2).sum()
    within = sum(
        float(((members - members.mean(axis=0)) ** 2).sum())
        for members in (vectors[groups == group] for group in np.unique(groups))
    )
    return float(1 - within / total)


def shares(given: Table) -> dict[str, float]:
    """Shares of the variance, by what explains them."""
    bounds = np.quantile(given.brightness, np.linspace(0, 1, _LEVELS + 1)[1:-1])
    level = np.digitize(given.brightness, bounds)
    both = given.images * _LEVELS + level
    every = both * (given.classes.max() + 1) + given.classes
    groups = {"image": given.images, "brightness": level, "both": both, "class": given.classes}
    groups["both and class"] = every
    return {name: explained(given.vectors, group) for name, group in groups.items()}


def linear(train: Table, parts: list[Table]) -> list[float]:
    """Mean Dice of a ridge regression on one-hot classes, fitted to ``train``, on every part."""
    count = int(train.classes.max()) + 1
    sizes = np.bincount(train.classes, minlength=count)
    weight = (1 / np.maximum(sizes, 1))[train.classes][:, None]
    center = train.vectors.mean(axis=0)
    known = train.vectors.astype(np.float64) - center
    gram = (known * weight).T @ known
    gram += np.eye(len(gram)) * np.trace(gram) / len(gram) * _RIDGE
    wanted = np.eye(count)[train.classes] - 1 / count
    turned = np.linalg.solve(gram, (known * weight).T @ wanted)
    found = []
    for part in parts:
        named = ((part.vectors - center) @ turned).argmax(axis=1)
        hits = np.array([((named == c) & (part.classes == c)).sum() for c in range(count)])
        sizes = np.bincount(named, minlength=count) + np.bincount(part.classes, minlength=count)
        found.append(float(np.mean(2 * hits / np.maximum(sizes, 1))))
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("set_folder", type=Path)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--labels", default="labels_semantic")
    parser.add_argument("--side", type=int, default=640)
    given = parser.parse_args()
    for run in given.runs:
        encoder = load_encoder(run, ())
        train, val = (
            table(encoder, given.set_folder / part, given.labels, given.side)
            for part in ("train", "val")
        )
        two = train.classes < 2
        alone = Table(*(values[two] for values in vars(train).values()))
        for what, part in (("all classes", train), ("classes 0 and 1", alone)):
            text = ", ".join(f"{name} {share:.3f}" for name, share in shares(part).items())
            print(f"{run}, {what}: {text}", flush=True)
        fitted, held = linear(train, [train, val])
        print(f"{run}, linear map: Dice {fitted:.3f} on training images, {held:.3f} on validation")


if __name__ == "__main__":
    main()

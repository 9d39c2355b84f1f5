"""Every part of a recipe is built once per run, and prediction needs no training code."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections import Counter

import pytest

import unmask
from unmask.data import AUGMENTATIONS, NORMALIZERS
from unmask.lookup import find
from unmask.models import BACKBONES, DECODERS, HEADS
from unmask.optim import OPTIMIZERS
from unmask.recipe import load
from unmask.tasks import TASKS


@pytest.fixture
def built(monkeypatch):
    """Counts constructor calls of the parts of `cells`, by name."""
    counts: Counter[str] = Counter()
    recipe = load("cells")
    parts = [
        (recipe.task, TASKS),
        (recipe.data.normalize, NORMALIZERS),
        (recipe.train.optimizer, OPTIMIZERS),
        (recipe.model.backbone, BACKBONES),
        (recipe.model.decoder, DECODERS),
        (recipe.model.head, HEADS),
        *((part, AUGMENTATIONS) for part in recipe.data.augment),
    ]
    for part, table in parts:
        if part is not None:
            watch(part.name, table, counts, monkeypatch)
    return counts


def watch(name, table, counts, monkeypatch):
    made = find(name, table, "part")
    counts[name] = 0

    def counted(call):
        @functools.wraps(call)
        def wrapper(*given, **named):
            counts[name] += 1
            return call(*given, **named)

        return wrapper

    if isinstance(made, type):
        monkeypatch.setattr(made, "__init__", counted(made.__init__))
    else:
        monkeypatch.setattr(sys.modules[made.__module__], made.__name__, counted(made))


def test_training_with_validation_builds_every_part_once(phantoms, tmp_path, tiny, built):
    folder = phantoms[2]
    given = {"images": folder / "images", "labels": folder / "labels"}
    held_out = {"val_images": folder / "images", "val_labels": folder / "labels"}
    settings = [*tiny(2)[1::2], "train.validate_every=1", "train.steps=2"]
    unmask.train("cells", **given, **held_out, out=tmp_path / "run", settings=settings)
    assert {name: count for name, count in built.items() if count > 1} == {}
    assert built["flows"] == built["percentile"] == built["adamw"] == 1
    built.clear()
    unmask.predict(tmp_path / "run", next((folder / "images").iterdir()))
    assert (built["flows"], built["percentile"], built["adamw"]) == (1, 1, 0)


def test_prediction_loads_no_training_code():
    program = (
        "import sys, unmask.build, unmask.infer.load, unmask.infer.predict_blocks; "
        "from unmask.build import build_segmenter, build_task; "
        "print(*[name for name in sys.modules if name.startswith('unmask.training')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []

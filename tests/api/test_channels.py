"""``--channels`` from training to prediction and tables, and models that know channels by name."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from unmask import api
from unmask.api.prediction import Options
from unmask.checkpoint import describe_model
from unmask.errors import DataError
from unmask.io import open_image, open_labels, save_image
from unmask.recipe import Recipe, parse

NAMES = ("DAPI", "empty", "actin")
TINY = {
    2: {"crop": [32, 32], "tile": [32, 32]},
    3: {"crop": [8, 16, 16], "tile": [8, 16, 16]},
}


def recipe(ndim: int, steps: int = 2) -> Recipe:
    sizes = TINY[ndim]
    return parse(
        {
            "name": "tiny",
            "data": {"crop": sizes["crop"], "holdout": 0.0, "channels": 2},
            "model": {"backbone": {"name": "resunet", "width": 4, "depth": 2}},
            "task": {"name": "semantic", "classes": 2},
            "train": {"steps": steps, "batch_size": 1, "workers": 0, "warmup": 0},
            "infer": {"tile": sizes["tile"]},
        },
        source="test",
    )


def write(path: Path, ndim: int, names: tuple[str, ...] = NAMES) -> Path:
    """An image whose channels hold the same things wherever they stand."""
    shape = {2: (40, 48), 3: (10, 24, 24)}[ndim]
    objects = np.zeros(shape, np.uint8)
    objects[..., 5:12, 4:15] = 1
    rng = np.random.default_rng(0)
    blurred = 150 * objects + rng.integers(0, 60, shape)
    known = {"DAPI": blurred, "actin": 255 - blurred}
    noise = rng.integers(0, 255, shape)
    array = np.stack([known.get(name, noise) for name in names]).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if ndim == 3:
        array = array.transpose(1, 0, 2, 3)
    tifffile.imwrite(
        path, np.ascontiguousarray(array), ome=True,
        metadata={"axes": "ZCYX"[4 - array.ndim:], "Channel": {"Name": list(names)}},
    )  # fmt: skip
    labels = path.parent.parent / "labels"
    labels.mkdir(exist_ok=True)
    tifffile.imwrite(labels / f"{path.name.split('.')[0]}.tif", objects)
    return path


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_model_keeps_its_channels(tmp_path, ndim):
    image = write(tmp_path / "images" / "a.ome.tif", ndim)
    run = api.train(
        recipe(ndim), images=tmp_path / "images", labels=tmp_path / "labels", out=tmp_path / "run",
        settings=['data.use_channels=["actin", 0]'],
    )  # fmt: skip
    assert describe_model(run.model).card["channel_names"] == ["actin", "DAPI"]
    assert "2 (actin, DAPI)" in api.model_card(run.model).facts["channels"]
    other = write(tmp_path / "other" / "a.ome.tif", ndim, ("actin", "x", "DAPI", "y"))
    plain = write(tmp_path / "plain" / "a.ome.tif", ndim, ("q", "r", "s", "t"))

    def predicted(path: Path, *settings: str, **options: Any) -> np.ndarray:
        out = tmp_path / "out"
        files = api.predict_files(
            run.model, str(path), out=out, settings=settings, say=lines.append,
            options=Options(overwrite=True, **options),
        )  # fmt: skip
        return open_labels(files[0], ndim=ndim).read()

    lines: list[str] = []
    expected = predicted(image)
    scores = api.predict(run.model, image).scores
    for path in (other, image):
        np.testing.assert_array_equal(api.predict(run.model, path).scores, scores)
    np.testing.assert_array_equal(predicted(other), expected)
    np.testing.assert_array_equal(predicted(image, "data.use_channels=[2, 0]"), expected)
    assert not any("taken for" in line for line in lines)
    # In blocks, and in other workers that open the file again.
    block = f"infer.block={[20] * ndim}"
    np.testing.assert_array_equal(predicted(other, block), expected)
    np.testing.assert_array_equal(predicted(other, block, cluster="threads:1"), expected)
    np.testing.assert_array_equal(api.predict(run.model, other).labels, expected[0])
    with pytest.raises(DataError, match=r"actin, DAPI.*found 4 channels: 0 \(q\)"):
        predicted(plain)
    with pytest.raises(DataError, match=r"the channel nope, found 3 channels: 0 \(DAPI\)"):
        predicted(image, "data.use_channels=[nope, 0]")
    # Labels go into the store of an OME-Zarr, at once and in blocks.
    store = tmp_path / "z.ome.zarr"
    save_image(store, open_image(image, ndim=ndim).read()[[2, 0]], axes="C" + "ZYX"[-ndim:])
    for options, settings in ((Options(in_place=True), []),
                              (Options(in_place=True, label_name="blocks"), [block])):  # fmt: skip
        api.predict_files(run.model, store, out=tmp_path / "work", settings=settings,
                          options=options, say=lines.append)  # fmt: skip
    for name in ("run", "blocks"):
        labels = open_labels(store / "labels" / name, ndim=ndim).read()
        np.testing.assert_array_equal(labels, expected)
    with pytest.raises(DataError, match=r"z\.ome\.zarr: .*no labels called 'run'"):
        api.predict_files(run.model, store, out=tmp_path / "work", options=Options(in_place=True))
    # The table measures every channel of the file.
    assert set(NAMES) <= {
        name.removeprefix("mean_").removeprefix("intensity_mean_")
        for name in api.predict(run.model, image).objects.columns
    }


def test_check_and_plan_read_the_same_channels(tmp_path):
    write(tmp_path / "images" / "a.ome.tif", 2)
    settings = ["data.channels=1", "data.use_channels=[DAPI]"]
    given: dict[str, Any] = {"labels": tmp_path / "labels", "settings": settings}
    tiny = recipe(2)
    assert api.check(tmp_path / "images", **given, recipe=tiny, say=lambda _: None).problems == []
    plan = api.plan(tmp_path / "images", **given)
    assert (plan.recipe.data.channels, plan.recipe.data.use_channels) == (1, ("DAPI",))
    bad = ["data.channels=1", "data.use_channels=[GFP]"]
    found = api.check(tmp_path / "images", labels=tmp_path / "labels", settings=bad, recipe=tiny,
                      say=lambda _: None)  # fmt: skip
    assert "found 3 channels: 0 (DAPI), 1 (empty), 2 (actin)" in found.problems[0]


def test_measure_takes_channels_by_name(tmp_path):
    write(tmp_path / "images" / "a.ome.tif", 2)
    given: dict[str, Any] = {"images": tmp_path / "images", "say": lambda _: None}
    out = tmp_path / "objects.csv"
    options = api.MeasureOptions(channels=("actin", 0))
    api.measure_files(tmp_path / "labels", out=out, options=options, **given)
    with out.open() as file:
        columns = next(csv.reader(file))
    assert sum("actin" in name for name in columns) == sum("DAPI" in name for name in columns) > 0
    assert not any("empty" in name for name in columns)
    options = api.MeasureOptions(channels=("x",), overwrite=True)
    with pytest.raises(DataError, match="found 3 channels"):
        api.measure_files(tmp_path / "labels", out=out, options=options, **given)

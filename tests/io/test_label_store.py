"""Label images of OME-Zarr: as NGFF and its readers want them, in new stores and in place."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr

from unmask import atomic
from unmask.data.pairs import Layout, open_pairs
from unmask.errors import DataError, SaveError
from unmask.io import Image, list_files, open_image, open_labels, output_name, save_labels
from unmask.io.identity import identity
from unmask.io.label_groups import label_name, labels_in_place
from unmask.io.majority import majority
from unmask.io.paths import named_files
from unmask.io.pyramid import Level, plan_levels

SHAPES = {2: (300, 270), 3: (20, 130, 270)}
SPACING = {2: (0.5, 0.5), 3: (2.0, 0.5, 0.5)}


def objects(ndim: int) -> np.ndarray:
    grid = np.indices([n // 7 + 1 for n in SHAPES[ndim]]).sum(axis=0) % 5
    for axis in range(ndim):
        grid = grid.repeat(7, axis)
    return np.ascontiguousarray(grid[tuple(slice(n) for n in SHAPES[ndim])]).astype(np.uint8)


def source(path: Path, ndim: int, version: int = 3, levels: int = 3, moved: bool = True) -> Path:
    """An image of two channels as other programs write it, with levels of their own."""
    group = zarr.create_group(path, zarr_format=2 if version == 2 else 3)
    array = np.random.default_rng(0).integers(0, 255, (2, *SHAPES[ndim])).astype("u1")
    datasets = []
    letters = "c" + "zyx"[-ndim:]
    for number in range(levels):
        names: dict[str, Any] = {"dimension_names": list(letters)} if version == 3 else {}
        level: Any = group.create_array(str(number), shape=array.shape, dtype="u1", **names)
        level[...] = array
        factor = [1, *(1 if a == "z" else 2**number for a in letters[1:])]
        scale = [a * b for a, b in zip(factor, (1, *SPACING[ndim]), strict=True)]
        steps: list[Any] = [{"type": "scale", "scale": scale}]
        steps += [{"type": "translation", "translation": [0, *range(5, 5 + ndim)]}] * moved
        datasets.append({"path": str(number), "coordinateTransformations": steps})
        array = array[..., ::2, ::2]
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in letters[1:]]
    image: dict[str, Any] = {"name": "x", "axes": axes, "datasets": datasets}
    tree: dict[str, Any] = {"multiscales": [image]}
    if version == 2:
        image["version"] = "0.4"
        group.attrs.update(tree)
    else:
        group.attrs["ome"] = {"version": "0.5", **tree}
    return path


def ome(folder: Path) -> dict[str, Any]:
    attributes: Any = zarr.open_group(folder, mode="r").attrs.asdict()
    return attributes.get("ome", attributes)


def valid(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yaozarrs.validate_zarr_store(str(path))


@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("in_place", [False, True])
def test_labels_are_a_group_that_readers_know(
    tmp_path: Path, ndim: int, version: int, in_place: bool
) -> None:
    path, labels = source(tmp_path / "a.ome.zarr", ndim, version), objects(ndim)
    image, before = open_image(path, ndim=ndim), identity(path)
    out = labels_in_place(str(path), "my.cells") if in_place else tmp_path / "out" / "a.ome.zarr"
    save_labels(out, labels, like=image, name="my.cells", provenance=lambda: {"weights": "x"})
    root = path if in_place else out
    group = root / "labels" / "my.cells"
    valid(root)
    valid(group)
    assert ome(root / "labels")["labels"] == ["my.cells"]
    tree, own = ome(group), ome(path)
    assert [each["name"] for each in tree["multiscales"]] == ["my.cells"]
    (described,) = tree["multiscales"]
    expected = [each["coordinateTransformations"] for each in own["multiscales"][0]["datasets"]]
    for steps, known in zip(described["datasets"], expected, strict=True):
        for step, other in zip(steps["coordinateTransformations"], known, strict=True):
            assert step[step["type"]] == other[other["type"]][1:]
    assert [axis.get("unit") for axis in described["axes"]] == ["micrometer"] * ndim
    colors = tree["image-label"]["colors"]
    assert [color["label-value"] for color in colors] == [0, 1, 2, 3, 4]
    assert len({tuple(color["rgba"]) for color in colors}) == 5
    assert zarr.open_group(group, mode="r").attrs["unmask"] == {"weights": "x"}
    levels: list[Any] = [zarr.open_array(group / str(n), mode="r")[...] for n in range(3)]
    step = (1, 2, 2)[-ndim:]
    np.testing.assert_array_equal(levels[0], labels)
    np.testing.assert_array_equal(levels[1], majority(labels, step))
    np.testing.assert_array_equal(levels[2], majority(levels[1], step))
    for given in (group, *([] if in_place else [root])):
        found = open_labels(given, ndim=ndim)
        assert (found.name, found.spacing, found.unit) == ("a", SPACING[ndim], "um")
        np.testing.assert_array_equal(found.read()[0], labels)
    # Labels in the store do not change the image.
    assert identity(path) == before
    np.testing.assert_array_equal(open_image(path, ndim=ndim).read(), image.read())


@pytest.mark.parametrize("version", [2, 3])
def test_napari_opens_a_labels_layer(tmp_path: Path, version: int) -> None:
    reader = pytest.importorskip("napari_ome_zarr")
    path = source(tmp_path / "a.ome.zarr", 3, version)
    save_labels(
        labels_in_place(str(path), "cells"), objects(3), like=open_image(path, ndim=3), name="cells"
    )
    save_labels(tmp_path / "b.ome.zarr", objects(3), like=open_image(path, ndim=3), name="cells")
    for store in (path, tmp_path / "b.ome.zarr"):
        layers = reader.napari_get_reader(str(store))()
        ((data, facts, _),) = [layer for layer in layers if layer[2] == "labels"]
        np.testing.assert_array_equal(np.asarray(data[0]), objects(3))
        assert facts["name"].endswith("cells")
        assert (facts["scale"], len(data)) == ([2.0, 0.5, 0.5], 3)


@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.parametrize("version", [2, 3])
def test_labels_that_are_there_are_kept(tmp_path: Path, version: int, consolidated: bool) -> None:
    path = source(tmp_path / "a.zarr", 2, version)
    image = open_image(path, ndim=2)
    if consolidated:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(path)
    for name in ("first", "second"):
        save_labels(labels_in_place(str(path), name), objects(2), like=image, name=name)
    labels: Any = zarr.open_group(path, mode="r")["labels"]
    assert sorted(labels.group_keys()) == ["first", "second"]
    assert ome(path / "labels")["labels"] == ["first", "second"]
    valid(path)
    with pytest.raises(DataError, match=r"a\.zarr: .*no labels called 'first'.*--label-name"):
        labels_in_place(str(path), "first")
    with pytest.raises(DataError, match="the group of an OME-Zarr image"):
        labels_in_place(f"{path}/labels/first", "third")
    with pytest.raises(DataError, match="the group of an OME-Zarr image"):
        labels_in_place(f"{path}/0", "third")


def test_a_store_without_write_permission_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    path = source(tmp_path / "a.zarr", 2)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match=r"a\.zarr: .*no write permission"):
        labels_in_place(str(path), "cells")


@pytest.mark.parametrize("moment", ["level", "list"])
def test_an_interrupted_write_leaves_a_valid_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = source(tmp_path / "a.zarr", 2)
    image = open_image(path, ndim=2)
    save_labels(labels_in_place(str(path), "old"), objects(2), like=image, name="old")
    target = labels_in_place(str(path), "new")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    name = "fill_levels" if moment == "level" else "add_label"
    with monkeypatch.context() as patch:
        patch.setattr(f"unmask.io.label_store.{name}", full)
        with pytest.raises(SaveError, match="No space left"):
            save_labels(target, objects(2), like=image, name="new")
    valid(path)
    assert ome(path / "labels")["labels"] == ["old"]
    left = {entry.name for entry in (path / "labels").iterdir()} - {"zarr.json", "old"}
    assert left == ({"new"} if moment == "list" else set())


def test_levels_of_an_image_without_any(tmp_path: Path) -> None:
    path = source(tmp_path / "a.zarr", 3, levels=1, moved=False)
    image = open_image(path, ndim=3)
    save_labels(tmp_path / "b.ome.zarr", objects(3), like=image)
    (described,) = ome(tmp_path / "b.ome.zarr" / "labels" / "labels")["multiscales"]
    steps = [each["coordinateTransformations"] for each in described["datasets"]]
    assert [step[0]["scale"] for step in steps] == [[2, 0.5, 0.5], [2, 0.5, 1]]
    # The center of two joined voxels lies between theirs.
    assert steps[1][1] == {"type": "translation", "translation": [0, 0, 0.25]}
    array = Image.from_array(objects(2), name="x")
    save_labels(tmp_path / "c.ome.zarr", objects(2), like=array)
    valid(tmp_path / "c.ome.zarr")
    assert open_labels(tmp_path / "c.ome.zarr", ndim=2).spacing is None


def test_levels_that_are_no_whole_number_of_voxels() -> None:
    def level(*shape: int) -> Level:
        return Level(shape, None, (1.0,) * len(shape), (0.0,) * len(shape))

    found = plan_levels(level(100, 99), [level(100, 99), level(50, 49), level(15, 20)])
    assert [each.step for each in found] == [None, (2, 2), None]


def test_labels_where_an_image_was_meant(tmp_path: Path) -> None:
    """A folder of images with labels inside gives both."""
    for name in ("a", "b"):
        path = source(tmp_path / "in" / f"{name}.ome.zarr", 2)
        image = open_image(path, ndim=2)
        save_labels(labels_in_place(str(path), "cells"), objects(2), like=image, name="cells")
    pairs = open_pairs(tmp_path / "in", tmp_path / "in", Layout(2))
    assert [pair.name for pair in pairs] == ["a", "b"]
    assert all(pair.labels and pair.labels.read().max() == 4 for pair in pairs)
    assert [pair.image.read().max() > 4 for pair in pairs] == [True, True]
    path = tmp_path / "in" / "a.ome.zarr"
    save_labels(labels_in_place(str(path), "more"), objects(2), like=open_image(path, ndim=2),
                name="more")  # fmt: skip
    with pytest.raises(DataError, match=r"a\.ome\.zarr: .*labels/cells, .*labels/more"):
        named_files(path, labels=True)


@pytest.mark.parametrize("version", [2, 3])
def test_results_of_a_plate_are_a_plate(tmp_path: Path, version: int) -> None:
    root = tmp_path / "p.zarr"
    fields = {"A/1": ["0", "1"], "B/10": ["0"]}
    wells = [{"path": well, "rowIndex": row, "columnIndex": row} for row, well in enumerate(fields)]
    plate = {"name": "p", "rows": [{"name": "A"}, {"name": "B"}],
             "columns": [{"name": "1"}, {"name": "10"}], "wells": wells}  # fmt: skip

    def group(folder: Path, tree: dict[str, Any]) -> None:
        found = zarr.open_group(folder, mode="a", zarr_format=2 if version == 2 else 3)
        found.attrs.update(tree if version == 2 else {"ome": {"version": "0.5", **tree}})

    group(root, {"plate": plate | ({"version": "0.4"} if version == 2 else {})})
    for well, names in fields.items():
        group(root / well.split("/")[0], {})
        group(root / well, {"well": {"images": [{"path": name} for name in names]}})
        for name in names:
            source(root / well / name, 2, version)
    out = tmp_path / "out"
    killed = atomic.aside_name(Path("zarr.json")).replace(f"-{os.getpid()}-", f"-{2**30}-")
    for number, path in enumerate(list_files(root)):
        image = open_image(path, ndim=2)
        target = output_name(image, out)
        for group_folder in (target.parent, target.parents[2]):
            group_folder.mkdir(parents=True, exist_ok=True)
            (group_folder / killed).write_text("{")
        assert target == out / "p.ome.zarr" / Path(path).relative_to(root)
        save_labels(target, objects(2) * (number % 2), like=image, name="cells")
        valid(out / "p.ome.zarr")
    assert not list(out.rglob(killed))
    result = ome(out / "p.ome.zarr")["plate"]
    assert result == plate
    pairs = open_pairs(root, out, Layout(2))
    assert [pair.name for pair in pairs] == ["p_A_1_0", "p_A_1_1", "p_B_10_0"]
    assert [pair.labels.read().max() for pair in pairs if pair.labels] == [0, 4, 0]
    # In place, every field gets its own labels.
    path = list_files(root)[0]
    image = open_image(path, ndim=2)
    save_labels(labels_in_place(path, "cells"), objects(2), like=image, name="cells")
    assert open_labels(f"{path}/labels/cells", ndim=2).name == "p_A_1_0"
    valid(root)


def test_the_most_frequent_label_wins() -> None:
    rng = np.random.default_rng(1)
    for shape, step in [((9, 11), (2, 2)), ((5, 6, 7), (1, 2, 3)), ((4, 4), (7, 2)), ((3,), (2,))]:
        labels = rng.integers(0, 4, shape).astype(np.uint16)
        found = majority(labels, step)
        for cell in np.ndindex(found.shape):
            places = zip(cell, step, strict=True)
            window = labels[tuple(slice(i * s, (i + 1) * s) for i, s in places)]
            counts = np.bincount(window.ravel(), minlength=4)
            best = np.flatnonzero(counts == counts.max())
            assert found[cell] == (best[best > 0][0] if best.any() else 0)


def test_names_are_those_that_stores_can_hold() -> None:
    assert label_name("a b/c") == "a_b_c"
    assert label_name("../.hidden") == "hidden"
    assert label_name("cells+nuclei") == "cells+nuclei"


def test_old_results_are_read(tmp_path: Path) -> None:
    """Earlier versions wrote the label image at the root."""
    from unmask.io.zarr import create_zarr

    create_zarr(tmp_path / "a.ome.zarr", (40, 30), "u1", axes="YX")[...] = objects(2)[:40, :30]
    tree = json.loads((tmp_path / "a.ome.zarr" / "zarr.json").read_text())
    tree["attributes"]["ome"]["image-label"] = {}
    (tmp_path / "a.ome.zarr" / "zarr.json").write_text(json.dumps(tree))
    (found,) = named_files(tmp_path, labels=True)
    np.testing.assert_array_equal(open_labels(found[1], ndim=2).read()[0], objects(2)[:40, :30])
    shutil.copytree(tmp_path / "a.ome.zarr", tmp_path / atomic.aside_name(Path("a.ome.zarr")))
    assert len(list_files(tmp_path)) == 1

"""``measure`` on files: pairing, planes, channels, voxel sizes and refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Picture

import unmask
from unmask.api import MeasureOptions, measure_files
from unmask.errors import DataError, RecipeError
from unmask.interruption import notes_of
from unmask.io import save_image
from unmask.io.outlines.coco import write_coco
from unmask.measurement import volume

LABELS = np.kron(np.arange(6, dtype=np.uint16).reshape(2, 3), np.ones((4, 5), np.uint16))


def quiet(_: str) -> None:
    pass


@pytest.fixture
def folders(tmp_path):
    for name in ("a", "b"):
        save_image(tmp_path / "labels" / f"{name}_label.tif", LABELS, spacing=(0.5, 0.5), unit="um")
        save_image(tmp_path / "images" / f"{name}.png", (10 * LABELS).astype(np.uint8))
    return tmp_path


def test_a_folder_gives_one_table(folders):
    lines = []
    path = folders / "out" / "objects.csv"
    table = measure_files(folders / "labels", images=folders / "images", out=path, say=lines.append)
    assert table["image"].tolist() == ["a"] * 5 + ["b"] * 5
    np.testing.assert_array_equal(table["mean_channel_0"], 10.0 * table["id"])
    np.testing.assert_array_equal(table["area_um2"], 5.0)
    assert lines[0] == "labels pair without '_label'."
    assert [line.rpartition(" (")[0] for line in lines[1:]] == [
        f"[{k}/2] {folders / 'labels' / name}_label.tif: 5 objects"
        for k, name in ((1, "a"), (2, "b"))
    ]
    assert path.read_text().count("\n") == 11
    one = unmask.measure(LABELS, images=folders / "images" / "a.png")
    assert set(one["image"]) == {"a"}
    python = unmask.measure(folders / "labels", images=folders / "images")
    for name in table:
        np.testing.assert_array_equal(table[name], python[name])


def test_a_table_without_images(folders):
    table = unmask.measure(folders / "labels")
    assert table["image"].tolist() == ["a_label"] * 5 + ["b_label"] * 5
    assert not any(name.startswith("mean") for name in table)


def test_every_problem_at_once(folders):
    save_image(folders / "labels" / "c.tif", LABELS)
    save_image(folders / "images" / "b.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(DataError) as error:
        measure_files(folders / "labels", images=folders / "images", out=folders / "o.csv")
    text = str(error.value)
    assert "2 problems" in text
    assert "expected an image named 'c'" in text
    assert "(3, 3), found (8, 15)" in text
    assert not (folders / "o.csv").exists()


def test_files_pair_as_in_training(tmp_path):
    for name in ("a1", "a12"):
        save_image(tmp_path / "labels" / f"{name}.tif", LABELS)
        save_image(tmp_path / "images" / f"{name}_0000.tif", LABELS)
    save_image(tmp_path / "images" / "b_0000.tif", LABELS)
    lines = []
    table = unmask.measure(tmp_path / "labels", images=tmp_path / "images", say=lines.append)
    assert sorted(set(table["image"])) == ["a1", "a12"]
    assert any("'_0000'" in line for line in lines)
    save_image(tmp_path / "x.tif", LABELS)
    table = unmask.measure(tmp_path / "x.tif", images=tmp_path / "images" / "b_0000.tif")
    assert set(table["image"]) == {"b_0000"}


@pytest.mark.parametrize("planes", ["z", "t"])
def test_planes_are_measured_one_by_one(tmp_path, planes):
    stack = np.stack([LABELS, 2 * LABELS])
    axes = {"z": "ZYX", "t": "TYX"}[planes]
    tifffile.imwrite(tmp_path / "l.tif", stack, metadata={"axes": axes}, imagej=True)
    movie = np.stack([stack + 1, stack + 2], 1).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "i.tif", movie, metadata={"axes": f"{planes.upper()}CYX"}, imagej=True
    )
    options = MeasureOptions(planes=planes, spacing=(0.5, 0.5))
    table = unmask.measure(tmp_path / "l.tif", images=tmp_path / "i.tif", options=options)
    name, other = ("plane", "time") if planes == "z" else ("time", "plane")
    np.testing.assert_array_equal(table[name], [0] * 5 + [1] * 5)
    np.testing.assert_array_equal(table[other], 0)
    np.testing.assert_array_equal(table["mean_channel_1"], table["id"] + 2.0)
    assert (table["area"] == 20).all()
    with pytest.raises(DataError, match="a stack to be divided"):
        unmask.measure(LABELS, options=MeasureOptions(planes="z"))
    with pytest.raises(DataError, match="z or t"):
        unmask.measure(LABELS, options=MeasureOptions(planes="x"))


@pytest.mark.parametrize(("axes", "planes"), [("TYX", None), ("TZYX", None), ("TZYX", "z")])
def test_a_movie_is_measured_point_by_point(tmp_path, axes, planes):
    frame = LABELS if axes == "TYX" else np.stack([LABELS, LABELS])
    movie = np.stack([frame, frame, 2 * frame])
    for name, array in (("l", movie), ("i", movie + 1)):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, metadata={"axes": axes}, imagej=True)
    options = MeasureOptions(planes=planes)
    table = unmask.measure(tmp_path / "l.tif", images=tmp_path / "i.tif", options=options)
    per_point = 10 if planes else 5
    np.testing.assert_array_equal(table["time"], np.repeat([0, 1, 2], per_point))
    np.testing.assert_array_equal(table["mean_channel_0"], table["id"] + 1.0)
    size = table["area" if planes or axes == "TYX" else "volume"]
    assert (size == (40 if axes == "TZYX" and not planes else 20)).all()
    if planes:
        np.testing.assert_array_equal(table["plane"], np.tile([0] * 5 + [1] * 5, 3))
    if axes == "TZYX":
        with pytest.raises(DataError, match="movie of volumes"):
            measure_files(tmp_path / "l.tif", out=tmp_path / "o.csv", say=quiet,
                          options=MeasureOptions(rois=("geojson",)))  # fmt: skip


def test_fields_of_a_plate_have_a_well(tmp_path):
    plate = tmp_path / "p.zarr"
    zarr.open_group(plate, mode="a").attrs["ome"] = {"plate": {"wells": [{"path": "B/10"}]}}
    well = zarr.open_group(plate / "B" / "10", mode="a")
    well.attrs["ome"] = {"well": {"images": [{"path": "0"}, {"path": "1"}]}}
    for field in "01":
        save_image(tmp_path / f"{field}.ome.zarr", LABELS)
        shutil.copytree(tmp_path / f"{field}.ome.zarr", plate / "B" / "10" / field)
    table = unmask.measure(plate)
    assert table["image"].tolist() == ["p_B_10_0"] * 5 + ["p_B_10_1"] * 5
    assert set(table["well"]) == {"B10"}
    assert "well" not in unmask.measure(tmp_path / "0.ome.zarr")


def test_a_volume_is_one_object_across_planes(tmp_path):
    save_image(tmp_path / "l.nii.gz", np.stack([LABELS, LABELS]), spacing=(2, 1, 1), unit="mm")
    table = unmask.measure(tmp_path / "l.nii.gz")
    np.testing.assert_array_equal(table["volume_mm3"], 80.0)
    assert "plane" not in table
    np.testing.assert_array_equal(table["centroid_z_mm"], 1.0)


def test_voxel_sizes_that_differ_are_reported(tmp_path):
    save_image(tmp_path / "l.tif", LABELS, spacing=(0.5, 0.5), unit="um")
    save_image(tmp_path / "i.tif", LABELS, spacing=(0.25, 0.25), unit="um")
    lines = []
    measure_files(
        tmp_path / "l.tif", images=tmp_path / "i.tif", out=tmp_path / "o.csv", say=lines.append
    )
    assert "(0.5, 0.5) um is used, not that of" in lines[0]
    save_image(tmp_path / "l.tif", LABELS)
    table = unmask.measure(tmp_path / "l.tif", images=tmp_path / "i.tif")
    np.testing.assert_array_equal(table["area_um2"], 20 / 16)
    table = unmask.measure(tmp_path / "l.tif", spacing=(2, 3), unit="nm")
    np.testing.assert_array_equal(table["area_nm2"], 120.0)
    with pytest.raises(DataError, match="2 positive voxel sizes"):
        unmask.measure(LABELS, spacing=(1, 1, 1))


def test_pictures_are_no_labels(tmp_path):
    rng = np.random.default_rng(0)
    gray = rng.normal(120, 20, (64, 72)).astype(np.uint8)
    save_image(tmp_path / "gray.png", gray)
    color = np.add(rng.integers(150, 200, (64, 72, 1)), [0, 9, 30]).astype(np.uint8)
    # White without tissue, as in a stained section.
    color[:30] = 255
    Picture.fromarray(color).save(tmp_path / "color.png")
    with pytest.raises(DataError, match=r"color\.png: .*found a picture"):
        unmask.measure(tmp_path / "color.png")
    # Gray values may be ids, so they are only doubted.
    said: list[str] = []
    unmask.measure(tmp_path / "gray.png", say=said.append)
    assert "its values change from pixel to pixel, as in a picture" in said[0]
    save_image(tmp_path / "dots.tif", np.arange(900, dtype=np.uint16).reshape(30, 30))
    said.clear()
    assert len(unmask.measure(tmp_path / "dots.tif", say=said.append)) == 899
    assert said == []
    # Palettes and ids of 24 bits are label images.
    labels = np.kron(np.arange(30).reshape(5, 6), np.ones((6, 6), int)).astype(np.uint8)
    palette = Picture.fromarray(labels, mode="P")
    palette.putpalette(rng.integers(0, 255, 768).astype(np.uint8).tobytes())
    palette.save(tmp_path / "palette.png")
    wide = (
        np.stack([labels * 8, 255 - labels, labels], -1).astype(np.uint8) * (labels > 0)[..., None]
    )
    Picture.fromarray(wide).save(tmp_path / "wide.png")
    for name in ("palette", "wide"):
        table = unmask.measure(tmp_path / f"{name}.png", say=quiet)
        np.testing.assert_array_equal(table["area"], 36)
        assert len(table) == 29


def test_more_columns():
    labels = np.array([[0, 3, 9]])
    table = unmask.measure(labels, columns={"score": {9: 0.5}, "kind": np.array(["a", "b"])})
    np.testing.assert_array_equal(table["score"], [np.nan, 0.5])
    assert table["kind"].tolist() == ["a", "b"]
    with pytest.raises(DataError, match="each of 2 objects"):
        unmask.measure(labels, columns={"score": np.zeros(3)})


def test_inputs_are_never_overwritten(tmp_path):
    path = tmp_path / "labels.npy"
    np.save(path, LABELS)
    copy = tmp_path / "labels.csv"
    copy.symlink_to(path)
    with pytest.raises(DataError, match="one of the inputs"):
        measure_files(path, out=copy, say=quiet)


def test_the_command(folders, command):
    path = folders / "objects.csv"
    done = command("measure", "--labels", folders / "labels", "--images", folders / "images",
                   "--out", path, "--spacing", "2,3", "--unit", "nm",
                   "--channels", "DAPI")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f"10 objects in {path}"
    head = path.read_text().splitlines()[0]
    assert "area_nm2" in head
    assert "std_DAPI" in head


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "objects.xlsx"], "suffixes .csv .parquet .h5ad"),
        (["--out", "objects.csv", "--channels", "a,b"], "1 channel"),
        (["--out", "objects.csv", "--spacing", "a"], "--spacing: expected numbers, found 'a'"),
        (["--out", "objects.csv", "--planes", "q"], "z or t"),
        (["--out", "objects.csv", "--labels", "nothing.tif"], "no such file"),
        (["--out", "objects.csv", "--workers", "processes:0"], "--workers processes:0: expected"),
    ],
)
def test_wrong_requests_end_with_exit_code_2(folders, command, monkeypatch, arguments, message):
    monkeypatch.chdir(folders)
    done = command("measure", "--labels", "labels", "--images", "images", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not (folders / "objects.csv").exists()


@pytest.fixture
def workers():
    """Address of a scheduler with two workers in this process."""
    distributed = pytest.importorskip("distributed")
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=2, **options) as cluster:
        yield cluster.scheduler_address


def test_workers_give_the_same_table(folders, workers, monkeypatch):
    """Objects over several blocks, outlines, movies and chosen channels included."""
    monkeypatch.setattr(volume, "block_shape", lambda shape: (3, 4))
    save_image(folders / "plain" / "a.tif", LABELS, spacing=(0.5, 0.5), unit="um")
    drawn = unmask.write_outlines(folders / "drawn" / "b.geojson", LABELS)
    movie = np.stack([LABELS, 0 * LABELS, 2 * LABELS])
    both = np.stack([movie, movie + 1], 1)
    for name, array, axes in (("l", movie, "TYX"), ("i", both, "TCYX")):
        tifffile.imwrite(folders / f"{name}.tif", array, metadata={"axes": axes}, imagej=True)
    monkeypatch.chdir(folders)
    requests = [
        (["plain/a.tif", str(drawn)], "images", MeasureOptions()),
        ("l.tif", "i.tif", MeasureOptions(channels=[1], spacing=(0.5, 0.5))),
        ("labels", None, MeasureOptions()),
    ]
    for labels, images, request in requests:
        options = replace(request, overwrite=True)
        seen: list[tuple[int, int]] = []
        given = {"images": images, "say": quiet, "progress": lambda *now, s=seen: s.append(now)}
        here = measure_files(labels, out="here.csv", options=options, **given)
        seen.clear()
        there = measure_files(
            labels, out="there.csv", options=replace(options, cluster=workers), **given
        )
        assert len(here) >= 10
        assert (folders / "here.csv").read_bytes() == (folders / "there.csv").read_bytes()
        assert list(here) == list(there)
        assert seen[-1][0] == seen[-1][1] == len(seen) > 10
    with pytest.raises(RecipeError, match="found some in memory"):
        unmask.measure(LABELS, options=MeasureOptions(cluster=workers))


def test_measuring_never_loads_torch(tmp_path):
    np.save(tmp_path / "l.npy", LABELS)
    program = (
        "import sys, numpy as np, unmask; "
        f"unmask.measure(np.load({str(tmp_path / 'l.npy')!r})); "
        "from unmask.cli import main; "
        f"sys.argv = ['unmask', 'measure', '--labels', {str(tmp_path / 'l.npy')!r}, "
        f"'--out', {str(tmp_path / 'o.csv')!r}]; "
        "\ntry: main()\nexcept SystemExit as end: print('code', end.code)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ["code", "0", "False"]


def test_outlines_next_to_the_table(folders, command):
    out = folders / "out" / "objects.csv"
    done = command("measure", "--labels", folders / "labels", "--images", folders / "images",
                   "--out", out, "--rois", "imagej,geojson,coco")  # fmt: skip
    assert done.code == 0, done.err
    written = folders / "out" / "objects_rois"
    assert f"Outlines: {written}\n" in done.out
    assert sorted(path.name for path in written.iterdir()) == [
        "a.geojson", "a.zip", "b.geojson", "b.zip", "coco.json",
    ]  # fmt: skip
    for name in ("a.zip", "a.geojson", "coco.json"):
        labels = unmask.read_outlines(written / name, LABELS.shape, image="a")
        np.testing.assert_array_equal(labels, LABELS)
    tree = json.loads((written / "a.geojson").read_text())
    assert tree["features"][0]["properties"]["measurements"]["area_um2"] == 5.0


@pytest.mark.parametrize("name", ["geojson", "coco.json", "roi.zip"])
def test_outlines_as_labels(folders, name, tmp_path):
    suffix = f".{name.split('.')[-1]}"
    if name == "coco.json":
        images = [("a.png", LABELS), ("b.png", LABELS)]
        write_coco(tmp_path / "drawn" / name, images)
        given = tmp_path / "drawn" / name
    else:
        for image in ("a", "b"):
            path = unmask.write_outlines(tmp_path / "drawn" / f"{image}{suffix}", LABELS)
            path.rename(path.with_name(f"{image}.{name}"))
        given = tmp_path / "drawn"
    table = unmask.measure(given, images=folders / "images")
    plain = unmask.measure(folders / "labels", images=folders / "images")
    for column in table:
        if not column.endswith(("_um", "_um2")):
            np.testing.assert_array_equal(table[column], plain[column], err_msg=column)


def test_outlines_in_a_volume_and_on_planes(tmp_path):
    stack = np.stack([LABELS, 2 * LABELS]).astype(np.uint16)
    save_image(tmp_path / "s.tif", stack, axes="ZYX")
    measure_files(tmp_path / "s.tif", out=tmp_path / "o.csv", say=quiet,
                  options=MeasureOptions(rois=["imagej", "geojson"]))  # fmt: skip
    for suffix in ("zip", "geojson"):
        path = tmp_path / "o_rois" / f"s.{suffix}"
        np.testing.assert_array_equal(unmask.read_outlines(path, stack.shape), stack)
    with pytest.raises(DataError, match="coco, which has no volumes"):
        measure_files(tmp_path / "s.tif", out=tmp_path / "p.csv", say=quiet,
                      options=MeasureOptions(rois=["coco"]))  # fmt: skip
    assert not (tmp_path / "p.csv").exists()
    measure_files(tmp_path / "s.tif", out=tmp_path / "p.csv", say=quiet,
                  options=MeasureOptions(rois=["coco", "geojson"], planes="z"))  # fmt: skip
    labels = unmask.read_outlines(tmp_path / "p_rois" / "coco.json", image="s-0001")
    np.testing.assert_array_equal(labels, stack[1])
    tree = json.loads((tmp_path / "p_rois" / "s.geojson").read_text())
    assert tree["features"][-1]["properties"]["measurements"]["area"] == 20


def test_ids_in_colors_and_equal_channels(tmp_path):
    colors = np.stack([LABELS, 0 * LABELS, 3 * LABELS]).astype(np.uint8)
    save_image(tmp_path / "c.png", colors, axes="CYX")
    lines = []
    table = unmask.measure(tmp_path / "c.png", say=lines.append)
    np.testing.assert_array_equal(table["id"], np.arange(1, 6) * (65536 + 3))
    assert "colors are read as ids" in lines[0]
    save_image(tmp_path / "g.png", np.stack([LABELS] * 3).astype(np.uint8), axes="CYX")
    np.testing.assert_array_equal(unmask.measure(tmp_path / "g.png")["id"], np.arange(1, 6))


def test_a_photograph_whose_pixels_all_differ_is_no_label_image(tmp_path):
    """In a stained tissue, hardly two pixels have one color."""
    picture = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    save_image(tmp_path / "c.png", picture, axes="CYX")
    with pytest.raises(DataError, match=r"c\.png.*found a picture"):
        measure_files(tmp_path / "c.png", out=tmp_path / "o.csv", say=quiet)
    assert not (tmp_path / "o.csv").exists()


def test_unknown_formats_of_outlines_are_refused_before_the_work(folders):
    with pytest.raises(DataError, match="imagej, geojson, coco"):
        measure_files(
            folders / "labels", out=folders / "o.csv", options=MeasureOptions(rois=["svg"])
        )
    assert not (folders / "o.csv").exists()


@pytest.mark.parametrize("ndim", [2, 3])
def test_objects_of_predictions(command, phantoms, trained, tmp_path, ndim):
    images, out = phantoms[ndim] / "images", tmp_path / "out"
    answer = command("predict", images, "--model", trained[ndim], "--out", out, "--table")
    assert answer.code == 0, answer.err
    lines = (out / "objects.csv").read_text().splitlines()
    assert f"objects.csv: {len(lines) - 1} objects" in answer.out
    labels = sorted(path for path in out.iterdir() if path.suffix != ".csv")
    table = unmask.measure([str(path) for path in labels], images=images, say=quiet)
    assert len(table) == len(lines) - 1 > (0 if ndim == 2 else -1)
    assert lines[0].split(",") == [*table, "uncertainty", "score"]
    # The table in the folder is not taken for label images.
    assert len(unmask.evaluate(truth=images.parent / "classes", predicted=out).images) == len(
        labels
    )
    path = sorted(images.iterdir())[0]
    result = unmask.predict(trained[ndim], path)
    rows = [k for k, name in enumerate(table["image"]) if name == path.name.split(".")[0]]
    for name in (name for name in result.objects if name in table):
        np.testing.assert_allclose(result.objects[name], table[name][rows], err_msg=name)
    assert "mean_channel_0" in result.objects
    assert len(result.objects.to_pandas()) == len(rows)
    again = ("predict", images, "--model", trained[ndim], "--out", out, "--table", "--resume")
    assert command(*again).code == 0
    assert (out / "objects.csv").read_text().splitlines() == lines


@pytest.mark.parametrize("rois", [(), ("geojson",)])
def test_an_end_names_the_outlines_that_are_written(tmp_path, monkeypatch, rois):
    for name in ("a", "b"):
        save_image(tmp_path / "labels" / f"{name}.tif", np.eye(8, dtype=np.uint8), axes="YX")

    def end(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.api.measuring.write_table", end)
    out, options = tmp_path / "objects.csv", MeasureOptions(rois=rois)
    with pytest.raises(KeyboardInterrupt) as ended:
        measure_files(tmp_path / "labels", out=out, options=options, say=lambda _: None)
    folder = tmp_path / "objects_rois"
    expected = f"Outlines written so far are in {folder}; there is no table." if rois else ""
    assert notes_of(ended.value) == expected

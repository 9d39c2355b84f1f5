"""Stacks and movies: every position once, one file with the axes of the input, joined if asked."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, replace

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from unmask.data.normalize import NoNormalize
from unmask.errors import DataError, RecipeError
from unmask.infer import planes as module
from unmask.infer.planes import PlanesWork, predict_planes, predict_stack
from unmask.infer.predictor import Predictor
from unmask.interruption import note_kept, notes_of
from unmask.io import save_image
from unmask.io.stacks import open_stack
from unmask.labels import connected_components
from unmask.space.tiling import Tiling
from unmask.testing.untrained import Untrained


class Same(nn.Module):
    """A network whose logits are the image; windows are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.windows = 0

    def logits(self, image):
        self.windows += len(image)
        return image


@dataclass(frozen=True)
class Pieces(Untrained):
    """Connected pieces above one half."""

    context = 3
    metrics = ("dice",)

    def decode(self, scores, spacing):
        return connected_components(scores[0] > 0.5)


class Classes(Pieces):
    context = 0

    def decode(self, scores, spacing):
        return (scores[0] > 0.5).astype(np.uint8) * 7


def predictor(ndim=2, task=None):
    tiling = Tiling((32,) * ndim, batch_size=1)
    return Predictor([Same()], task or Pieces(), 1, tiling, normalize=NoNormalize())


def moving(count=4, ndim=2):
    """Two squares or cubes; one moves by a voxel per position, the other appears in the second."""
    movie = np.zeros((count, *(32,) * ndim), np.uint8)
    for t in range(count):
        rest = (slice(3, 9),) * (ndim - 1)
        movie[(t, *rest, slice(2 + t, 9 + t))] = 1
        if t:
            movie[(t, *(slice(20, 26),) * ndim)] = 1
    return movie


def write(path, movie, axes):
    tifffile.imwrite(path, movie, imagej=True, metadata={"axes": axes, "unit": "um"},
                     resolution=(2, 2))  # fmt: skip
    return path


def stack_of(path, ndim=2, planes=None):
    stack = open_stack(path, ndim=ndim, planes=planes)
    assert stack is not None
    return stack


@pytest.mark.parametrize("ndim", [2, 3])
def test_each_position_is_predicted_once_and_alone(tmp_path, ndim):
    axes = "TZYX"[-ndim - 1 :] if ndim == 3 else "TYX"
    path = write(tmp_path / "a.tif", moving(ndim=ndim), axes)
    model = predictor(ndim)
    found = predict_planes(PlanesWork(model, stack_of(path, ndim)), tmp_path / "out.tif")
    assert found == {"objects": 7, "positions": 4}
    assert model.segmenters[0].windows == 4
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.series[0].axes == axes
        assert file.series[0].dtype == np.uint8
        labels = file.asarray()
    # Without joining, nothing looks as if it were one object that is not.
    assert [np.unique(part)[1:].tolist() for part in labels] == [[1], [2, 3], [4, 5], [6, 7]]
    np.testing.assert_array_equal(labels > 0, moving(ndim=ndim) > 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "out.tif"]


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.h5", "out.nii.gz", "out.ome.zarr"])
def test_every_format_keeps_axes_and_spacing(tmp_path, name):
    path = write(tmp_path / "a.tif", moving(), "TYX")
    predict_planes(PlanesWork(predictor(), stack_of(path)), tmp_path / name)
    again = stack_of(tmp_path / name)
    assert again.axes == "CTYX"
    assert again.spacing == pytest.approx((0.5, 0.5))
    np.testing.assert_array_equal(again.read()[0] > 0, moving() > 0)


def test_a_volume_of_time_keeps_its_position_in_the_body(tmp_path):
    affine = np.diag([-2.0, 2, 3, 1])
    affine[:3, 3] = 5, 6, 7
    movie = moving(3, 3).transpose(3, 2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(movie, affine), tmp_path / "a.nii.gz")
    work = PlanesWork(predictor(3), stack_of(tmp_path / "a.nii.gz", 3))
    predict_planes(work, tmp_path / "out.nii.gz")
    found = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(found.affine, affine)
    np.testing.assert_array_equal(np.asarray(found.dataobj) > 0, movie > 0)


def test_slices_are_joined_into_objects(tmp_path):
    path = write(tmp_path / "a.tif", moving(), "ZYX")
    work = PlanesWork(predictor(), stack_of(path, planes="z"), join=True)
    assert predict_planes(work, tmp_path / "out.tif") == {"objects": 2, "positions": 4}
    labels = tifffile.imread(tmp_path / "out.tif")
    assert [np.unique(part)[1:].tolist() for part in labels] == [[1], [1, 2], [1, 2], [1, 2]]
    found = predict_planes(replace(work, uncertain=True), tmp_path / "again.tif")
    assert found.pop("uncertainty")["ids"] == [1, 2]
    assert found == {"objects": 2, "positions": 4}


def test_objects_are_followed_and_tracks_written(tmp_path):
    path = write(tmp_path / "a.tif", moving(), "TYX")
    work = PlanesWork(predictor(), stack_of(path), join=True, tracks=tmp_path / "tracks")
    assert predict_planes(work, tmp_path / "out.tif") == {"tracks": 2, "positions": 4}
    labels = tifffile.imread(tmp_path / "out.tif")
    assert (tmp_path / "tracks/a_RES/res_track.txt").read_text() == "1 0 3 0\n2 1 3 0\n"
    masks = [tifffile.imread(tmp_path / f"tracks/a_RES/mask{t:03d}.tif") for t in range(4)]
    np.testing.assert_array_equal(np.stack(masks), labels)
    assert masks[0].dtype == np.uint16
    assert (tmp_path / "tracks/a.xml").read_text().count("<Edge ") > 0
    head, first, *rest = (tmp_path / "tracks/a.csv").read_text().splitlines()
    assert head.startswith("LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z")
    # The center of columns 2 to 8 and lines 3 to 8, in micrometers.
    assert first.split(",")[4:9] == ["2.5", "2.75", "0.0", "0", "0"]
    assert len(rest) == 6


def test_slices_and_time_together(tmp_path):
    movie = np.stack([moving(), moving()[::-1]])
    path = write(tmp_path / "a.tif", movie, "TZYX")
    work = PlanesWork(predictor(), stack_of(path, planes="z"), join=True)
    assert predict_planes(work, tmp_path / "out.tif") == {"tracks": 2, "positions": 8}
    labels = tifffile.imread(tmp_path / "out.tif")
    for number, part in enumerate(labels):
        assert np.unique(part[:, 3:9, :15][movie[number, :, 3:9, :15] > 0]).tolist() == [1]
        assert np.unique(part[:, 20:26, 20:26]).tolist() == [0, 2]


@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("planes", ["t", "z"])
def test_memory_and_files_give_the_same(tmp_path, join, planes):
    stack = stack_of(write(tmp_path / "a.tif", moving(), "TYX"), planes=planes)
    predict_planes(PlanesWork(predictor(), stack, join), tmp_path / "out.tif")
    result = predict_stack(predictor(), stack, join=join)
    np.testing.assert_array_equal(result.labels, tifffile.imread(tmp_path / "out.tif"))
    assert (result.tracks is not None) == (join and planes == "t")


def test_tables_say_where_an_object_is(tmp_path):
    stack = stack_of(write(tmp_path / "a.tif", moving(), "TYX"))
    table = predict_stack(predictor(), stack).objects
    assert table["time"].tolist() == [0, 1, 1, 2, 2, 3, 3]
    assert table["id"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert table["area_um2"][0] == 42 / 4
    slices = stack_of(tmp_path / "a.tif", planes="z")
    assert predict_stack(predictor(), slices).objects["plane"].tolist() == [0, 1, 1, 2, 2, 3, 3]
    joined = predict_stack(predictor(), slices, join=True).objects
    assert joined["volume"].tolist() == [168, 108]


def test_classes_stay_classes(tmp_path):
    stack = stack_of(write(tmp_path / "a.tif", moving(), "TYX"))
    predict_planes(PlanesWork(predictor(task=Classes()), stack), tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), 7 * moving())
    with pytest.raises(RecipeError, match="--join: expected a model that numbers objects"):
        predict_planes(PlanesWork(predictor(task=Classes()), stack, join=True), tmp_path / "b.tif")


def test_finished_positions_are_kept(tmp_path, monkeypatch):
    stack = stack_of(write(tmp_path / "a.tif", moving(), "TYX"))
    done = []

    def fail(predictor, plane, progress):
        if len(done) == 2:
            raise DataError(f"{plane.source}: damaged")
        done.append(plane.source)
        return real(predictor, plane, progress)

    real = module.label_plane
    monkeypatch.setattr(module, "label_plane", fail)
    with pytest.raises(DataError, match=r"a\.tif \(t = \d\): damaged"):
        predict_planes(PlanesWork(predictor(), stack), tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()
    monkeypatch.setattr(module, "label_plane", real)
    model = predictor()
    predict_planes(PlanesWork(model, stack), tmp_path / "out.tif", resume=True)
    assert model.segmenters[0].windows == 2
    assert len(np.unique(tifffile.imread(tmp_path / "out.tif"))) == 8


@pytest.mark.parametrize(("axes", "unit"), [("TYX", "time point"), ("ZYX", "plane")])
def test_an_end_says_how_many_positions_are_kept(tmp_path, monkeypatch, axes, unit):
    stack = stack_of(write(tmp_path / "a.tif", moving(), axes), planes=axes[0].lower())
    done = []

    def end(predictor, plane, progress):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(plane.source)
        return real(predictor, plane, progress)

    real = module.label_plane
    monkeypatch.setattr(module, "label_plane", end)
    with pytest.raises(KeyboardInterrupt) as ended:
        predict_planes(PlanesWork(predictor(), stack), tmp_path / "out.tif")
    kept = f"2 of {len(moving())} {unit}s are finished and kept in {tmp_path / '.predict'}."
    assert notes_of(ended.value) == f"{stack.source}: {kept}"


def test_blocks_of_one_plane_are_not_said_to_be_kept(tmp_path, monkeypatch):
    """A plane that is larger than memory is labeled in blocks, which no later run resumes."""
    stack = stack_of(write(tmp_path / "a.tif", moving(), "TYX"))

    def end(*_, **__):
        with note_kept(lambda: "5 of 9 blocks are finished."):
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "is_large", lambda *_: True)
    monkeypatch.setattr(module, "run_work", end)
    with pytest.raises(KeyboardInterrupt) as ended:
        predict_planes(PlanesWork(predictor(), stack), tmp_path / "out.tif")
    assert notes_of(ended.value) == ""


def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch):
    # What is kept for the next read has bounds of its own.
    monkeypatch.setattr("unmask.blocks.write._PAGES_BYTES", 1)
    monkeypatch.setattr(module, "_KEPT_BYTES", 1)

    def peak(count, *, traced=True):
        movie = np.zeros((count, 256, 256), np.uint8)
        movie[:, 20:40, 30:90] = 1
        path = tmp_path / f"{count}.tif"
        save_image(path, movie, axes="ZYX")
        work = PlanesWork(predictor(), stack_of(path, planes="t"), join=True)
        del movie
        if traced:
            tracemalloc.start()
        predict_planes(work, tmp_path / "out.tif")
        found = tracemalloc.get_traced_memory()[1] if traced else 0
        tracemalloc.stop()
        return found

    peak(2, traced=False)
    assert peak(24) < 1.3 * peak(6)

"""OME-TIFF sets: one image in several files is read from all of them, and from no other file."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from unmask.data.pairs import Pair, check_unchanged, fingerprint
from unmask.errors import DataError
from unmask.io import list_files, open_image, save_image, tiff
from unmask.io.contract import Location
from unmask.space import Box

RNG = np.random.default_rng(7)
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True, "tile": (16, 32)},
    {"tile": (16, 16), "byteorder": ">"},
    {"rowsperstrip": 7, "bigtiff": True},
]


def planes(count: int, per_file: int = 1) -> list[np.ndarray]:
    return [
        RNG.integers(0, 60000, (per_file, 50, 70)).astype(np.uint16).squeeze() for _ in range(count)
    ]


def write_set(
    folder: Path,
    arrays: list[np.ndarray],
    axis: str = "C",
    *,
    names: list[str] | None = None,
    holder: str = "",
    options: list[dict[str, Any]] | None = None,
) -> list[Path]:
    """One file per position along ``axis``; a stack in a file goes along the other of C and Z.

    Args:
        folder: made if needed.
        arrays: of the files.
        axis: C or Z.
        names: of the files as the metadata have them.
        holder: name of the one file with all metadata; the others point there.
        options: how each file is written.
    """
    folder.mkdir(exist_ok=True)
    count, inner = len(arrays), 1 if arrays[0].ndim == 2 else len(arrays[0])
    ids = [f"urn:uuid:{uuid.UUID(int=number + 1)}" for number in range(count)]
    files = [f"img_{axis}{number}.ome.tif" for number in range(count)]
    size = {axis: count, {"C": "Z", "Z": "C"}[axis]: inner}
    data = "".join(
        f'<TiffData First{axis}="{number}" IFD="0" PlaneCount="{inner}">'
        f'<UUID FileName="{(names or files)[number]}">{ids[number]}</UUID></TiffData>'
        for number in range(count)
    )
    channels = "".join(
        f'<Channel ID="Channel:0:{number}" Name="dye {number}" SamplesPerPixel="1"/>'
        for number in range(size["C"])
    )
    order = "XYZCT" if axis == "C" else "XYCZT"
    height, width = arrays[0].shape[-2:]
    image = (
        f'<Image ID="Image:0" Name="x"><Pixels ID="Pixels:0" DimensionOrder="{order}" '
        f'Type="uint16" SizeX="{width}" SizeY="{height}" SizeC="{size["C"]}" SizeZ="{size["Z"]}" '
        f'SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.25" PhysicalSizeZ="2">{channels}{data}'
        "</Pixels></Image>"
    )
    schema = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    for number, array in enumerate(arrays):
        content = image
        if holder and files[number] != holder:
            content = f'<BinaryOnly MetadataFile="{holder}" UUID="urn:uuid:0"/>'
        text = f'<?xml version="1.0"?><OME {schema} UUID="{ids[number]}">{content}</OME>'
        extra = (options or [{}] * count)[number]
        tifffile.imwrite(
            folder / files[number], array, description=text, metadata=None,
            photometric="minisblack", **extra,
        )  # fmt: skip
    if holder.endswith(".companion.ome"):
        (folder / holder).write_text(f'<OME {schema} UUID="urn:uuid:0">{image}</OME>')
    return [folder / name for name in files]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("axis", ["C", "Z"])
@pytest.mark.parametrize("inner", [1, 3])
def test_every_page_comes_from_its_own_file(
    tmp_path: Path, layout: dict[str, Any], axis: str, inner: int
) -> None:
    arrays = planes(3, inner)
    files = write_set(tmp_path, arrays, axis, options=[layout] * 3)
    whole = np.stack(arrays)
    if inner == 1:
        truth = whole if axis == "C" else whole[None]
    else:
        truth = whole if axis == "C" else whole.swapaxes(0, 1)
    ndim = truth.ndim - 1
    for file in files:
        image = open_image(file, ndim=ndim)
        np.testing.assert_array_equal(image.read(), truth)
        box = Box((0, 13, 20)[-ndim:], (2, 44, 55)[-ndim:])
        if ndim == 3:
            box = box.clip(Box.of(truth.shape[1:]))
        np.testing.assert_array_equal(image.read(box), truth[(slice(None), *box.slices)])
        assert image.spacing == (2, 0.25, 0.5)[-ndim:]
        assert set(image.meta["files"]) == {str(path) for path in files}
        assert image.meta["channels"] == tuple(f"dye {number}" for number in range(len(truth)))


def test_files_may_be_packed_each_in_its_own_way(tmp_path: Path) -> None:
    arrays = planes(len(LAYOUTS))
    files = write_set(tmp_path, arrays, options=LAYOUTS)
    np.testing.assert_array_equal(open_image(files[2]).read(), np.stack(arrays))


@pytest.mark.parametrize("holder", ["img_C0.ome.tif", "x.companion.ome"])
def test_metadata_may_lie_in_one_file(tmp_path: Path, holder: str) -> None:
    arrays = planes(3)
    files = write_set(tmp_path, arrays, holder=holder)
    for file in files:
        np.testing.assert_array_equal(open_image(file).read(), np.stack(arrays))
    assert list_files(tmp_path) == [str(files[0])]
    (tmp_path / holder).rename(tmp_path / "away")
    with pytest.raises(DataError, match=f"{holder}.*no such file"):
        open_image(files[1])


def test_a_set_is_one_image_of_a_folder(tmp_path: Path) -> None:
    files = write_set(tmp_path, planes(3))
    save_image(tmp_path / "other.tif", np.zeros((8, 8), np.uint8))
    both = [str(files[0]), str(tmp_path / "other.tif")]
    assert list_files(tmp_path) == both
    assert list_files(str(tmp_path / "*.tif")) == both
    assert list_files([*files, tmp_path / "other.tif"]) == both
    assert list_files(files[1]) == [str(files[1])]
    # A file that only another one counts in stays an image of its own.
    save_image(files[2], np.ones((8, 8), np.uint8))
    assert list_files(tmp_path) == [str(files[0]), str(files[2]), str(tmp_path / "other.tif")]


def test_a_missing_partner_is_named(tmp_path: Path) -> None:
    files = write_set(tmp_path, planes(3))
    files[1].unlink()
    with pytest.raises(DataError, match=r"img_C0.*img_C1\.ome\.tif.*no such file.*one folder"):
        open_image(files[0])
    assert list_files(tmp_path) == [str(files[0])]


def test_a_renamed_file_is_read_by_itself(tmp_path: Path) -> None:
    (array,) = planes(1, 3)
    (file,) = write_set(tmp_path, [array], names=["before.ome.tif"])
    file = file.rename(tmp_path / "after.ome.tif")
    image = open_image(file, ndim=3)
    np.testing.assert_array_equal(image.read()[0], array)
    assert image.axes == "CZYX"


@pytest.mark.parametrize(
    "name", ["../out.ome.tif", "{tmp}/out.ome.tif", "sub/../../out.ome.tif", "..\\out.ome.tif",
             "C:\\out.ome.tif", "link.ome.tif", "pipe.ome.tif", "sub", "/dev/zero"],
)  # fmt: skip
def test_a_partner_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    arrays = planes(2)
    tifffile.imwrite(tmp_path / "out.ome.tif", arrays[1])
    (folder / "link.ome.tif").symlink_to(tmp_path / "out.ome.tif")
    os.mkfifo(folder / "pipe.ome.tif")
    names = ["img_C0.ome.tif", name.replace("{tmp}", str(tmp_path))]
    files = write_set(folder, arrays, names=names)
    with pytest.raises(DataError, match=r"img_C0\.ome\.tif: expected a file of its set"):
        open_image(files[0])
    assert str(files[0]) in list_files(folder)


@pytest.mark.parametrize("name", ["../x.companion.ome", "pipe", "link"])
def test_metadata_never_lie_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "x.companion.ome").write_text("<OME></OME>")
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(tmp_path / "x.companion.ome")
    files = write_set(folder, planes(2), holder=name if name != "../x.companion.ome" else "y")
    text = f'<OME xmlns="http://x/OME"><BinaryOnly MetadataFile="{name}"/></OME>'
    tifffile.imwrite(files[0], planes(1)[0], description=text, metadata=None)
    with pytest.raises(DataError, match="expected its metadata file"):
        open_image(files[0])


def test_a_partner_of_another_size_is_refused(tmp_path: Path) -> None:
    files = write_set(tmp_path, planes(2))
    tifffile.imwrite(files[1], np.zeros((50, 71), np.uint16))
    with pytest.raises(DataError, match=r"img_C1\.ome\.tif: expected pages of shape"):
        open_image(files[0])


def test_a_partner_that_changes_is_noticed(tmp_path: Path) -> None:
    files = write_set(tmp_path, planes(2))
    image = open_image(files[0])
    image.read()
    write_set(tmp_path, planes(2))
    with pytest.raises(DataError, match="another size or time"):
        image.read()


def test_two_positions_in_two_files_are_two_images(tmp_path: Path) -> None:
    arrays = planes(2)
    ids = [f"urn:uuid:{uuid.UUID(int=number + 1)}" for number in range(2)]
    images = "".join(
        f'<Image ID="Image:{n}" Name="position {n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYCZT" '
        f'Type="uint16" SizeX="70" SizeY="50" SizeC="1" SizeZ="1" SizeT="1" '
        f'PhysicalSizeX="{n + 1}" PhysicalSizeY="{n + 1}"><TiffData IFD="0" PlaneCount="1">'
        f'<UUID FileName="p{n}.ome.tif">{ids[n]}</UUID></TiffData></Pixels></Image>'
        for n in range(2)
    )
    for number, array in enumerate(arrays):
        text = f'<OME xmlns="http://x/OME" UUID="{ids[number]}">{images}</OME>'
        tifffile.imwrite(tmp_path / f"p{number}.ome.tif", array, description=text, metadata=None)
    assert len(list_files(tmp_path)) == 2
    (tmp_path / "p0.ome.tif").rename(tmp_path / "gone")
    image = open_image(tmp_path / "p1.ome.tif", ndim=2)
    np.testing.assert_array_equal(image.read()[0], arrays[1])
    assert image.spacing == (2, 2)


def test_runs_notice_a_partner_that_changes(tmp_path: Path) -> None:
    files = write_set(tmp_path, planes(2))
    pairs = [Pair("img_C0", open_image(files[0]))]
    before = fingerprint(pairs)
    os.utime(files[1], ns=(1, 1))
    with pytest.raises(DataError, match="Input files changed"):
        check_unchanged(before, pairs)


def test_braces_do_not_take_a_set_twice(tmp_path: Path) -> None:
    write_set(tmp_path, planes(2))
    with pytest.raises(DataError, match="stands for the whole set"):
        open_image(tmp_path / "img_C{0,1}.ome.tif")
    other = tmp_path / "other"
    write_set(other, planes(2))
    both = open_image(f"{tmp_path}/{{img_C0.ome.tif,other/img_C0.ome.tif}}")
    assert both.meta["channels"] == ("dye 0", "dye 1") * 2
    assert len(both.meta["files"]) == both.shape[0] == 4


def test_micro_manager_sets_are_not_searched_for(tmp_path: Path) -> None:
    """The library opens whatever has a fitting name, pipes too; partners come from the metadata."""
    path = tmp_path / "a_MMStack.ome.tif"
    file: Any = SimpleNamespace(is_mmstack=True, is_ndtiff=False)
    path.touch()
    tiff._only_this_file(Location(str(path), path), file)
    assert file.is_mmstack
    os.mkfifo(tmp_path / "a_MMStack_1.ome.tif")
    tiff._only_this_file(Location(str(path), path), file)
    assert not file.is_mmstack
    (tmp_path / "NDTiff.index").touch()
    file.is_ndtiff = True
    with pytest.raises(DataError, match="NDTiff"):
        tiff._only_this_file(Location(str(path), path), file)

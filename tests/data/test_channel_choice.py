"""Channels by number, by name, and by the names that a model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from unmask.checkpoint.card import channel_fields, channel_names
from unmask.data.channel_choice import (
    ChannelChoice,
    all_channels,
    channel_notes,
    common_names,
    select_channels,
)
from unmask.data.grid import View
from unmask.data.pairs import Layout, audit_pairs, open_pairs
from unmask.errors import DataError
from unmask.io import Image, open_image, save_image
from unmask.space.box import Box

NAMES = ("DAPI", "actin", "Tubulin")
SHAPES = {2: (9, 11), 3: (4, 9, 11)}


def named(ndim: int = 2, names: tuple[str, ...] = NAMES, *, whole: bool = False) -> Image:
    values = np.arange(len(names), dtype=np.uint8)
    array = np.broadcast_to(
        values.reshape(-1, *(1 for _ in SHAPES[ndim])), (len(names), *SHAPES[ndim])
    )
    image = Image.from_array(array, axes="C" + "ZYX"[-ndim:], name="a")
    return Image(**{**vars(image), "meta": {"channels": names}, "whole": whole})


def order(image: Image) -> list[int]:
    return [int(channel.flat[0]) for channel in image.read()]


@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((2, 0), [2, 0]),
        (("dapi ",), [0]),
        (("tubulin", 1), [2, 1]),
        ((1, 1), [1, 1]),
        ((0, 1, 2), [0, 1, 2]),
    ],
)
def test_channels_are_chosen_by_number_and_name(ndim, whole, wanted, expected):
    image = named(ndim, whole=whole)
    chosen = ChannelChoice(wanted).choose(image)
    assert order(chosen) == expected
    assert chosen.meta["channels"] == tuple(NAMES[n] for n in expected)
    box = Box((1,) * ndim, (3,) * ndim)
    np.testing.assert_array_equal(chosen.read(box), image.read(box)[expected])
    assert chosen[-1].flat[0] == expected[-1]
    assert all_channels(chosen).shape[0] == 3


@pytest.mark.parametrize("wanted", [(3,), (-1,), ("GFP",), ("",), ("DAPI", "nuclei")])
def test_unknown_channels_are_listed(wanted):
    with pytest.raises(DataError, match=r"found 3 channels: 0 \(DAPI\), 1 \(actin\), 2 \(Tubulin"):
        ChannelChoice(wanted).choose(named())


def test_a_name_of_two_channels_says_nothing():
    with pytest.raises(DataError, match="channel"):
        ChannelChoice(("DAPI",)).choose(named(names=("dapi", "dapi")))
    assert order(ChannelChoice(("DAPI",)).choose(named(names=("dapi", "DAPI")))) == [1]


def test_a_model_finds_its_channels_by_name():
    trained = ChannelChoice((0, 2), ("DAPI", "Tubulin"))
    notes: list[str] = []
    assert order(trained.choose(named(), notes)) == [0, 2]
    assert order(trained.choose(named(names=("tubulin", "x", "y", "dapi")), notes)) == [3, 0]
    assert notes == []
    # Without the names, the numbers of the training hold, and that is reported.
    assert order(trained.choose(named(names=("a", "b", "c")), notes)) == [0, 2]
    assert "taken for DAPI, Tubulin" in notes[0]
    # As many channels as the network has are taken as they are.
    assert order(trained.choose(named(names=("", "")), notes)) == [0, 1]
    assert len(notes) == 1
    assert order(trained.choose(named(names=("a", "b")), notes)) == [0, 1]
    assert "a, b are taken for" in notes[1]
    assert order(ChannelChoice(None, ("DAPI",)).choose(named())) == [0]
    with pytest.raises(DataError, match=r"DAPI, Tubulin, .* found 4 channels: 0 \(a\).*--channels"):
        ChannelChoice(None, ("DAPI", "Tubulin")).choose(named(names=("a", "b", "c", "d")))


def test_cards_hold_names_that_all_images_share():
    assert common_names([named(), named(3)]) == NAMES
    assert common_names([named(), named(names=("a", "b", "c"))]) == ()
    assert common_names([named(names=("a", "A"))]) == common_names([named(names=("a", ""))]) == ()
    assert channel_names(channel_fields(common_names([named()]))) == NAMES
    assert channel_fields(common_names([named(names=("",))])) == {}
    for card in ({}, {"channel_names": 3}, {"channel_names": ["a", 3]}):
        assert channel_names(card) == ()


def test_names_survive_another_grid():
    image = select_channels(named(3), [2, 0])
    seen = View(scale=0.5).place(image).seen(image)
    assert (seen.meta["channels"], seen.meta["selected"]) == (("Tubulin", "DAPI"), (2, 0))
    assert order(seen) == [2, 0]


def write(path: Path, kind: str) -> Path:
    array = np.stack([np.full((20, 30), n, np.uint8) for n in range(3)])
    if kind == "ome":
        tifffile.imwrite(path / "a.ome.tif", array, metadata={
            "axes": "CYX", "Channel": {"Name": list(NAMES)}})  # fmt: skip
        return path / "a.ome.tif"
    if kind == "imagej":
        tifffile.imwrite(path / "a.tif", array, imagej=True, metadata={
            "axes": "CYX", "Labels": list(NAMES)})  # fmt: skip
        return path / "a.tif"
    if kind == "zarr":
        save_image(path / "a.ome.zarr", array, axes="CYX")
        group = zarr.open_group(path / "a.ome.zarr")
        tree: Any = group.attrs.asdict()["ome"]
        tree["omero"] = {"channels": [{"label": name} for name in NAMES]}
        group.attrs["ome"] = tree
        return path / "a.ome.zarr"
    for name, channel in zip(NAMES, array, strict=True):
        tifffile.imwrite(path / f"a_{name}.tif", channel)
    return path


@pytest.mark.parametrize("kind", ["ome", "imagej", "zarr", "files"])
def test_names_come_from_every_kind_of_file(tmp_path, kind):
    given = write(tmp_path, kind)
    notes: list[str] = []
    layout = Layout(2, channels=ChannelChoice(("Tubulin", "DAPI")))
    (pair,) = open_pairs(str(given), None, layout, channels=2, notes=notes)
    assert (pair.name, order(pair.image)) == ("a", [2, 0])
    assert pair.image.meta["channels"] == ("Tubulin", "DAPI")
    assert bool(notes) == (kind == "files")


def test_a_case_without_a_file_of_a_channel_is_named(tmp_path):
    write(tmp_path, "files")
    save_image(tmp_path / "b-dapi.tif", np.zeros((20, 30), np.uint8))
    layout = Layout(2, channels=ChannelChoice(("DAPI", "actin")))
    audit = audit_pairs(str(tmp_path), None, layout)
    assert [pair.name for pair in audit.pairs] == ["a"]
    assert "b-dapi.tif" in audit.problems[0]
    assert "none for actin" in audit.problems[0]


def test_braces_name_channels_by_what_differs(tmp_path):
    write(tmp_path, "files")
    image = open_image(f"{tmp_path}/a_{{DAPI,actin}}.tif", ndim=2)
    assert image.meta["channels"] == ("DAPI", "actin")


def plain(count: int, **meta: object) -> Image:
    image = Image.from_array(np.zeros((count, 9, 11), np.uint8), axes="CYX", name="a")
    return Image(**{**vars(image), "meta": meta})


def test_channels_that_a_model_joins_are_noted_once():
    every = ChannelChoice()
    notes = channel_notes([named(), named(), plain(1)], 1, every)
    assert notes == [
        "2 of 3 images have 3 channels (DAPI, actin, Tubulin), and the model sees one: the mean "
        "of the first three channels. Choose others with --channels."
    ]
    assert "taken for those that the model was trained on" in channel_notes([named()], 3, every)[0]
    assert "first three colors" in channel_notes([plain(3, color=True)], 1, every)[0]
    assert "the fourth, which is constant, is left out" in channel_notes([plain(4)], 3, every)[0]


@pytest.mark.parametrize(
    ("image", "channels", "choice"),
    [
        (plain(3, color=True), 3, ChannelChoice()),
        (plain(3), 3, ChannelChoice()),
        (plain(1), 3, ChannelChoice()),
        (named(), 1, ChannelChoice((0, 1, 2))),
        (named(), 3, ChannelChoice(trained=NAMES)),
    ],
)
def test_channels_without_another_reading_are_not_noted(image, channels, choice):
    assert not channel_notes([image], channels, choice)

"""The file of TrackMate: spots by frame, links within tracks and from a mother to her daughters."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as Xml

import numpy as np

from unmask.io import Image
from unmask.measurement.trackmate import write_trackmate_xml
from unmask.measurement.tracks import TrackTable


def test_spots_links_and_families(tmp_path):
    # Track 1 divides after frame 1 into 2 and 3; track 4 is alone in frame 2.
    table = TrackTable(
        frame=np.array([0, 1, 2, 2, 2, 3]),
        track=np.array([1, 1, 2, 3, 4, 3]),
        center=np.arange(12.0).reshape(6, 2),
        radius=np.full(6, 2.5),
        parents={2: 1, 3: 1},
    )
    movie = replace(
        Image.from_array(np.zeros((4, 8, 9), np.uint8), axes="ZYX"), axes="CTYX",
        spacing=(0.5, 0.25), unit="um", source="a<b.tif",
    )  # fmt: skip
    write_trackmate_xml(table, tmp_path / "a.xml", movie)
    root = Xml.parse(tmp_path / "a.xml").getroot()
    spots = {spot.get("ID"): spot for spot in root.iter("Spot")}
    assert len(spots) == 6
    assert [spots["3"].get(f"POSITION_{axis}") for axis in "XYZ"] == ["7.0", "6.0", "0.0"]
    assert [len(frame) for frame in root.iter("SpotsInFrame")] == [1, 1, 3, 1]
    tracks = [
        [(edge.get("SPOT_SOURCE_ID"), edge.get("SPOT_TARGET_ID")) for edge in track]
        for track in root.iter("Track")
    ]
    assert tracks == [[("0", "1"), ("1", "2"), ("1", "3"), ("3", "5")]]
    assert len(list(root.iter("TrackID"))) == 1
    data = root.find("Settings/ImageData")
    assert data is not None
    assert (data.get("filename"), data.get("nframes"), data.get("pixelwidth")) == (
        "a<b.tif", "4", "0.25",
    )  # fmt: skip

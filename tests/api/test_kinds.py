"""Metrics are chosen by all truth images; odd pairs are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import unmask
from unmask.api.kinds import Look, choose_metrics, look_at
from unmask.errors import DataError
from unmask.io import save_image
from unmask.metrics import INSTANCE, SEMANTIC


def objects(count: int, *, size: int = 60, seed: int = 0) -> np.ndarray:
    """Squares that do not touch, in random places of a grid."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation((size // 6) ** 2)[:count]
    labels = np.zeros((size, size), np.uint16)
    for name, cell in enumerate(cells, 1):
        y, x = (6 * int(n) for n in np.unravel_index(cell, (size // 6, size // 6)))
        labels[y : y + 4, x : x + 4] = name
    return labels


def write(folder: Path, images: dict[str, np.ndarray]) -> Path:
    for name, labels in images.items():
        save_image(folder / f"{name}.tif", labels)
    return folder


class TestChoice:
    def test_the_first_image_does_not_decide(self, tmp_path):
        truth = {"a": objects(1), "b": objects(30, seed=1), "c": objects(12, seed=2)}
        folder = write(tmp_path / "t", truth)
        report = unmask.evaluate(truth=folder, predicted=folder)
        assert report.settings["metrics"] == list(INSTANCE)
        note = report.settings["notes"][0]
        assert "compared as objects, because truth has 43 pieces of 30 label values" in note
        assert "--metrics dice,iou" in note

    def test_classes(self, tmp_path):
        truth = {name: objects(30, seed=n) % 4 for n, name in enumerate("abc")}
        folder = write(tmp_path / "t", truth)
        report = unmask.evaluate(truth=folder, predicted=folder)
        assert report.settings["metrics"] == list(SEMANTIC)
        assert "compared as classes" in report.settings["notes"][0]

    def test_ignored_values_say_nothing(self):
        labels = objects(20)
        labels[5::6, ::2] = 255
        assert look_at(labels, 255).pieces == 20 < look_at(labels).pieces
        assert 255 not in look_at(labels, 255).ids

    @pytest.mark.parametrize(
        ("looks", "expected"),
        [
            ([], SEMANTIC),
            ([Look((), 0), Look((1, 2, 3), 3)], INSTANCE),
            ([Look((1,), 1), Look((1, 2), 2)], SEMANTIC),
            ([Look((1,), 1), Look((1, 2, 3), 3)], INSTANCE),
            ([Look((1, 2, 3, 4), 40), Look((1, 2), 2)], SEMANTIC),
            ([Look((1, 2, 3, 4), 5)] * 3, SEMANTIC),  # organs: the same in all volumes
            ([Look((1, 2, 3, 4), 5)] * 2, INSTANCE),
            ([Look(tuple(range(1, n)), n) for n in range(4, 9)], INSTANCE),
        ],
    )
    def test_rules(self, looks, expected):
        metrics, reason = choose_metrics(looks)
        assert metrics == expected
        assert reason


class TestDoubts:
    def test_a_binary_truth_against_objects(self, tmp_path, command):
        predicted = objects(8)
        truth = np.where(predicted > 0, 255, 0).astype(np.uint8)
        folders = write(tmp_path / "t", {"a": truth}), write(tmp_path / "p", {"a": predicted})
        where = ("--truth", folders[0], "--predicted", folders[1])
        out = tmp_path / "report.json"
        answer = command("evaluate", *where, "--metrics", "f1@0.5,aji", "--out", out)
        assert answer.code == 0
        sentence = (
            "a: the truth has 255 in 8 separate pieces, the prediction 8 ids: is it a mask of "
            "classes? f1@0.5, aji compare numbered objects"
        )
        assert f"Note: {sentence}" in answer.out
        assert json.loads(out.read_text())["settings"]["notes"] == [sentence]
        unmask.evaluate(truth=folders[0], predicted=folders[1], metrics=["aji"]).write(
            tmp_path / "report.html"
        )
        assert "in 8 separate pieces" in (tmp_path / "report.html").read_text()
        answer = command("evaluate", *where, "--metrics", "dice")
        assert "classes 1..8 of the prediction and 255 of the truth have nothing in" in answer.out
        answer = command("evaluate", *where)
        assert "compared as classes" in answer.out
        assert "have nothing in common" in answer.out

    @pytest.mark.parametrize(
        ("change", "listed"),
        [
            (lambda labels: labels + 1, "classes 1, 2, the truth 0, 1"),
            (lambda labels: 2 * labels, "classes 0, 2, the truth 0, 1"),
            (lambda labels: labels, ""),
            (lambda labels: 0 * labels, ""),
        ],
    )
    def test_classes_of_other_numbers(self, tmp_path, command, change, listed):
        truth = {name: (objects(9, seed=n) > 0).astype(np.uint8) for n, name in enumerate("ab")}
        folders = (
            write(tmp_path / "t", truth),
            write(tmp_path / "p", {name: change(labels) for name, labels in truth.items()}),
        )
        where = ("--truth", folders[0], "--predicted", folders[1])
        answer = command("evaluate", *where)
        assert ("their numbers differ, and" in answer.out) == bool(listed)
        assert answer.out.count("have nothing in common") == 0
        assert listed in answer.out
        if listed:
            answer = command("evaluate", *where, "--mapping", "one_to_one", "--json")
            assert json.loads(answer.out)["summary"]["dice one_to_one (oracle)"]["mean"] == 1

    def test_the_other_way_round_in_volumes(self, tmp_path):
        truth = np.stack([objects(8)] * 3)
        predicted = (truth > 0).astype(np.uint8)
        save_image(tmp_path / "t" / "a.nii.gz", truth)
        save_image(tmp_path / "p" / "a.nii.gz", predicted)
        report = unmask.evaluate(
            truth=tmp_path / "t", predicted=tmp_path / "p", metrics=["pq", "dice"]
        )
        one, two = report.settings["notes"]
        assert "the prediction has 1 in 8 separate pieces, the truth 8 ids" in one
        assert "does one side number objects?" in two

    def test_many_images_are_one_line(self, tmp_path):
        predicted = {f"{n:02}": objects(8) for n in range(9)}
        truth = {name: (labels > 0).astype(np.uint8) for name, labels in predicted.items()}
        folders = write(tmp_path / "t", truth), write(tmp_path / "p", predicted)
        report = unmask.evaluate(truth=folders[0], predicted=folders[1], metrics=["aji"])
        [note] = report.settings["notes"]
        assert note.startswith("00, 01, 02 and 6 more: the truth has 1 in 8 separate pieces")

    def test_nothing_is_said_of_pairs_of_one_kind(self, tmp_path):
        labels = {"a": objects(8), "b": objects(1), "c": objects(0)}
        folders = [write(tmp_path / side, labels) for side in "tp"]
        report = unmask.evaluate(truth=folders[0], predicted=folders[1], metrics=["f1@0.5", "dice"])
        assert "notes" not in report.settings
        assert report.summary["f1@0.5"] == {"mean": 1, "median": 1, "n": 2, "undefined": 1}

    def test_an_empty_prediction_is_one_segment(self, tmp_path):
        folders = write(tmp_path / "t", {"a": objects(1)}), write(tmp_path / "p", {"a": objects(0)})
        report = unmask.evaluate(truth=folders[0], predicted=folders[1], metrics=["arand", "voi"])
        assert "a: the prediction is empty" in report.settings["notes"][0]

    def test_ids_that_cannot_be_compared_name_the_file(self, tmp_path):
        labels = objects(3).astype(np.int32)
        other = np.where(labels == 2, -1, labels).astype(np.int32)
        folders = write(tmp_path / "t", {"a": labels}), write(tmp_path / "p", {"a": other})
        with pytest.raises(DataError, match=r"p.a\.tif"):
            unmask.evaluate(truth=folders[0], predicted=folders[1], metrics=["aji"])

"""Folders that cannot be used as they are: one message each, exit code 2, nothing written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import unmask
from unmask.errors import CheckpointError, DataError
from unmask.io import save_image

IMAGES = [np.random.default_rng(n).integers(1, 250, (40, 36)).astype(np.uint8) for n in range(6)]
LABELS = np.zeros((40, 36), np.uint8)
LABELS[2:10, 2:10], LABELS[20:30, 4:16], LABELS[6:18, 20:30] = 1, 2, 3


def images(folder, suffix=".png"):
    for number, image in enumerate(IMAGES):
        save_image(folder / f"{number}{suffix}", image)


def labels(folder, suffix=".png", array=LABELS):
    for number in range(len(IMAGES)):
        save_image(folder / f"{number}{suffix}", array)


def three_folders(root):
    images(root / "images")
    labels(root / "masks")
    labels(root / "labels")
    return f"{root / 'labels'}, {root / 'masks'}. Choose one: --labels"


def two_ways(root):
    images(root)
    labels(root, "_masks.png")
    labels(root / "labels")
    return f"found 2: {root}, {root / 'labels'}"


def two_image_folders(root):
    images(root / "images")
    images(root / "raw")
    labels(root / "masks")
    return f"one place with images, found 2: {root / 'images'}, {root / 'raw'}"


def another_size(root):
    images(root / "images")
    labels(root / "masks", array=LABELS[:, :-2])
    return "6 files: expected the size of its image, (40, 36), found (40, 34) (x has 34 voxels"


def another_order(root):
    images(root / "images")
    labels(root / "masks", array=LABELS.T)
    return "The axes have another order"


def one_label_for_all(root):
    images(root / "images")
    save_image(root / "labels" / "mask.png", LABELS)
    return "found mask.png, so that no name fits. Each image needs labels of its own"


def no_label_file(root):
    images(root / "images")
    (root / "labels").mkdir()
    return "found an empty folder"


def twice(root):
    images(root / "images")
    images(root / "images", ".tif")
    labels(root / "masks")
    return "6 files: expected one file of that name, found two"


def damaged_list(root):
    images(root / "images")
    labels(root / "masks")
    (root / "dataset.json").write_text("{")
    return "dataset.json: expected a list in JSON"


def parts_and_more(root):
    images(root / "train" / "images")
    labels(root / "train" / "masks")
    images(root / "images")
    return f"one place with images, found 2: {root / 'train'}, {root / 'images'}"


def no_image(root):
    (root / "a").mkdir(parents=True)
    (root / "notes.txt").write_text("x")
    return "no image in this folder, which holds a/, notes.txt"


MISTAKES = [
    three_folders, two_ways, two_image_folders, another_size, another_order, one_label_for_all,
    no_label_file, twice, damaged_list, parts_and_more, no_image,
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_message(mistake, command, tiny, tmp_path, monkeypatch):
    root = tmp_path / "my data"
    text = mistake(root)
    before = sorted(root.rglob("*"))
    work = tmp_path / "work" / "deeper"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    answer = command("check", root, "--preset", "cells", *tiny(2))
    assert answer.code == 2
    said = answer.out + answer.err
    assert text in said
    assert said.count("PROBLEM") + said.count("Error: ") == 1, said
    assert "Traceback" not in said
    answer = command(
        "train", "--images", root, "--out", work / "run", "--preset", "cells", *tiny(2)
    )
    assert answer.code == 2
    assert text in answer.err
    assert not (work / "run").exists()
    assert sorted(root.rglob("*")) == before


def test_exchanged_folders_are_noticed(command, tiny, tmp_path):
    smooth = np.kron(np.arange(9).reshape(3, 3), np.ones((16, 16))).astype(np.uint8)
    for number, image in enumerate(IMAGES):
        save_image(tmp_path / "images" / f"{number}.png", image)
        save_image(tmp_path / "masks" / f"{number}.png", smooth[:40, :36])
    given = (tmp_path / "masks", "--labels", tmp_path / "images", "--preset", "cells", *tiny(2))
    answer = command("check", *given)
    assert answer.code == 2
    assert "Exchange --images and --labels" in answer.out


@pytest.mark.parametrize("preset", [(), ("--preset", "cells")], ids=["planned", "preset"])
def test_exchanged_folders_of_dark_images_are_noticed(command, tmp_path, preset):
    # Real dark images have few gray values, and neighbors of one value.
    rng = np.random.default_rng(0)
    for number in range(3):
        dark = np.kron(rng.integers(1, 30, (32, 32)), np.ones((2, 2))).astype(np.uint8)
        save_image(tmp_path / "images" / f"{number}.png", dark)
        save_image(tmp_path / "masks" / f"{number}.png", np.pad(LABELS, ((0, 24), (0, 28))))
    given = ("--images", tmp_path / "masks", "--labels", tmp_path / "images")
    answer = command("train", *given, *preset, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "Exchange --images and --labels" in answer.err
    assert not (tmp_path / "run").exists()
    right = ("--images", tmp_path / "images", "--labels", tmp_path / "masks")
    assert "Exchange" not in command("check", *right, *preset).out


def test_labels_as_images_of_a_pretraining_are_noticed(command, tmp_path):
    labels(tmp_path / "labels")
    images(tmp_path / "images")
    said = "6 of 6 examined images are areas of one number each"
    assert said in command("check", tmp_path / "labels", "--preset", "mae2d").out
    assert said not in command("check", tmp_path / "images", "--preset", "mae2d").out


def test_misspelled_folders_are_named(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "images")
    labels(tmp_path / "labels")
    for verb, *given in (
        ("check", "imges", "--labels", "labels"),
        ("train", "images", "--labels", "lables", "--out", "run", "--preset", "cells"),
        ("train", "imges", "--out", "run"),
        ("plan", "imges"),
        ("evaluate", "--truth", "lables/*.png", "--predicted", "labels"),
        ("measure", "--labels", "lables/0.png", "--out", "o.csv"),
        ("serve", "imagse"),
        ("predict", "images", "--model", "labels/0.pgn", "--out", "o"),
    ):
        answer = command(verb, *given)
        assert answer.code == 2, verb
        assert re.search("Did you mean (images|labels)", answer.err), answer.err


@pytest.mark.parametrize("path", ["imges/0.png", "images/0.pgn", "imges", "./imges/0.png"])
@pytest.mark.parametrize("model", ["nuclei", None])
def test_python_names_misspelled_paths_as_the_command_line_does(path, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "images")
    for image in (path, Path(path), [path]):
        with pytest.raises(DataError) as error:
            _ = [*found] if isinstance(found := unmask.predict(model, image), Iterator) else found
        right = "images" if path == "imges" else "images/0.png"
        assert f"found no such file. Did you mean {right}? Check the path." in str(error.value)
    with pytest.raises(CheckpointError, match=r"found nothing\. Did you mean images\?"):
        unmask.predict("imges", np.zeros((8, 8), np.uint8))


def test_labels_next_to_the_images_are_named(tmp_path):
    images(tmp_path / "images")
    labels(tmp_path / "masks")
    with pytest.raises(DataError, match=r"--labels, such as .*masks"):
        unmask.train("cells", images=tmp_path / "images", out=tmp_path / "run")


def test_a_bad_image_in_the_middle_says_what_is_finished(command, tmp_path):
    for number, image in enumerate(IMAGES[:3]):
        save_image(tmp_path / "images" / f"{number}.tif", image.astype(np.float32))
    broken = IMAGES[2].astype(np.float32)
    broken[3, 4] = np.nan
    save_image(tmp_path / "images" / "2.tif", broken)
    given = ["predict", tmp_path / "images", "--model", "nuclei", "--out", tmp_path / "o"]
    answer = command(*given)
    assert answer.code == 2
    first, last = answer.err.splitlines()[-2:]
    assert "the first in channel 0 at y 3, x 4. Repair the file" in first
    assert last.startswith("2 of 3 images are finished. After correcting this, continue with: ")
    assert last.endswith("--resume")
    save_image(tmp_path / "images" / "2.tif", IMAGES[2].astype(np.float32))
    assert command(*given, "--resume").out.count("finished before") == 2


def test_names_that_do_no_harm(command, tiny, tmp_path):
    root = tmp_path / "ünï cödé & spaces"
    for number, image in enumerate(IMAGES[:2]):
        for folder, array, suffix in (("Images", image, "PNG"), ("MASKS", LABELS, "TIF")):
            path = root / folder / f"ä (b) [{number}].{suffix.lower()}"
            save_image(path, array)
            path.rename(path.with_suffix(f".{suffix}"))
    for name in (".DS_Store", "Thumbs.db", "._0.PNG", "desktop.ini"):
        for folder in ("", "Images", "MASKS"):
            (root / folder / name).write_bytes(b"\0\5\26\7")
    for folder in (".git", "__MACOSX/images"):
        (root / folder).mkdir(parents=True)
    for folder in (root, root / "Images", root / "MASKS"):
        folder.chmod(0o555)
    try:
        small = ("--preset", "cells", *tiny(2, steps=1))
        answer = command("train", "--images", root, "--out", tmp_path / "run", *small)
        assert answer.code == 0, answer.err
        answer = command("predict", root, "--model", tmp_path / "run", "--out", tmp_path / "out")
        assert answer.code == 0, answer.err
        answer = command("evaluate", "--truth", root, "--predicted", tmp_path / "out")
        assert answer.code == 0, answer.err
        assert "2 image" in answer.out or answer.out.count("ä (b)") == 2, answer.out
    finally:
        for folder in (root, root / "Images", root / "MASKS"):
            folder.chmod(0o755)

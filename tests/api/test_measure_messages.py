"""Messages of ``measure``: they advise what the verb has."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from unmask.io import save_image

LABELS = np.kron(np.arange(4).reshape(2, 2), np.ones((4, 4), np.uint8)).astype(np.uint8)


@pytest.mark.parametrize("case", ["no name fits", "one without image", "one folder", "itself"])
def test_messages_name_no_option_that_measure_lacks(case, command, tmp_path):
    """The names of training data are told apart with --set, which measure has not."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    for name in "abc":
        save_image(images / f"{name}.png", LABELS)
    if case == "no name fits":
        for name in "xyz":
            save_image(labels / f"{name}.png", LABELS)
    elif case == "one without image":
        for name in "abz":
            save_image(labels / f"{name}.png", LABELS)
    else:
        labels = images
    if case == "one folder":
        for name in ("a_masks", "a_labels", "b_masks"):
            save_image(images / f"{name}.png", LABELS)
    done = command("measure", "--labels", labels, "--images", images, "--out", tmp_path / "o.csv")
    advice = {
        "no name fits": "rename one of the two, or give one label image and its image",
        "one without image": "rename one of the two, or give one label image and its image",
        "one folder": "a_labels, a_masks. Move the others to another folder.",
        "itself": "such as x.png and x_masks.png. Of one container",
    }
    assert done.code == 2
    assert advice[case] in done.err
    assert "--set" not in done.err


def test_advice_of_readers_is_put_right(command, tmp_path):
    """A reader knows no verb; its advice is that for most of them."""
    path = tmp_path / "labels.xyz"
    path.write_text("x")
    done = command("measure", "--labels", path, "--out", tmp_path / "o.csv")
    assert done.code == 2
    assert done.err.strip().endswith(
        "`unmask measure` has no --set: convert the file to OME-TIFF or OME-Zarr instead."
    )
    other = command("predict", path, "--model", "nuclei", "--out", tmp_path / "out")
    assert "--set data.formats=" in other.err
    assert "has no --set" not in other.err


@pytest.mark.parametrize("count", [2, 6])
def test_an_axis_of_labels_without_a_name_is_z_and_doubted(count, command, tmp_path):
    """Python programs save volumes of ids without names of axes; labels have no channels."""
    volume = np.stack([LABELS, LABELS, np.roll(LABELS, 1, 0), LABELS, LABELS])
    for part in ("labels", "truth"):
        (tmp_path / part).mkdir()
        for number in range(count):
            tifffile.imwrite(tmp_path / part / f"{number}.tif", volume)
    table = tmp_path / "o.csv"
    done = command("measure", "--labels", tmp_path / "labels", "--out", table)
    assert done.code == 0
    assert len(table.read_text().splitlines()) == 1 + 3 * count
    pair = ["--truth", tmp_path / "truth", "--predicted", tmp_path / "labels"]
    compared = command("evaluate", *pair, "--metrics", "f1@0.5,hd95")
    assert compared.code == 0
    for ended, files in ((done, count), (compared, 2 * count)):
        doubts = (ended.out + ended.err).count("has no name in the file and is read as z")
        assert doubts == (1 if files > 4 else files)
    # With --planes, the user has said what the axis is.
    planes = command("measure", "--labels", tmp_path / "labels", "--planes", "z", "--out", table,
                     "--overwrite")  # fmt: skip
    assert planes.code == 0
    assert "read as z" not in planes.out + planes.err

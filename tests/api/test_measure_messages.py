"""Messages of ``measure``: they advise what the verb has."""

from __future__ import annotations

import numpy as np
import pytest

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

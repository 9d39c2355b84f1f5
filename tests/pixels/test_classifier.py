import numpy as np
import pytest

from unmask.api.scribbling import save_fitted, scribble
from unmask.errors import CheckpointError, DataError
from unmask.infer.load import load_predictor
from unmask.io import Image

SPACES = {2: (40, 44), 3: (6, 24, 40)}
FEW = ["model.backbone.scales=[1, 3]", "model.head.trees=20"]


def halves(ndim):
    """Two halves, the right one brighter, and a stroke in each."""
    image = np.random.default_rng(0).normal(size=SPACES[ndim]).astype(np.float32)
    drawn = np.zeros(image.shape, np.uint8)
    middle = image.shape[-1] // 2
    image[..., middle:] += 4
    drawn[..., 3, 2:8], drawn[..., 3, middle + 4 : middle + 12] = 1, 2
    return image, drawn, middle


def opened(ndim, settings=()):
    image, drawn, middle = halves(ndim)
    axes = "ZYX"[-ndim:]
    classifier = scribble(image, settings=[f"data.axes={axes}", *FEW, *settings])
    classifier.label(image, drawn)
    return classifier, image, drawn, middle


@pytest.mark.parametrize("ndim", SPACES)
def test_strokes_label_a_whole_image_and_a_file_predicts_the_same(ndim, tmp_path):
    classifier, image, _, middle = opened(ndim)
    fitted = classifier.fit()
    labels = fitted.predictor.predict(image).labels
    assert (labels[..., : middle - 2] == 1).mean() > 0.95
    assert (labels[..., middle + 2 :] == 2).mean() > 0.95
    assert fitted.features == "bank"
    assert fitted.recall["bank"] > 0.9
    save_fitted(fitted, tmp_path / "run")
    loaded = load_predictor(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict(image).labels, labels)


def test_new_labels_change_the_answer_and_only_they_are_computed(monkeypatch):
    classifier, image, drawn, _ = opened(2)
    classifier.fit()
    asked = []
    compute = classifier._compute
    monkeypatch.setattr(
        classifier, "_compute", lambda i, voxels: asked.append(len(voxels)) or compute(i, voxels)
    )
    image[30:] -= 8
    drawn[35, 2:30] = 3
    other = scribble(image, settings=FEW)
    other.label(image, drawn)
    drawn[20, 30:34] = 2
    classifier.label(image, drawn)
    assert sorted(classifier.fit().pixels) == [1, 2, 3]
    assert asked == [28 + 4]
    assert (other.fit().predictor.predict(image).labels[33:, 4:-4] == 3).mean() > 0.9


def test_erased_strokes_are_forgotten_and_one_class_is_refused():
    classifier, image, drawn, _ = opened(2)
    drawn[drawn == 2] = 0
    classifier.label(image, drawn)
    with pytest.raises(DataError, match=r"two classes or more.*found 1 \(6 pixels\)\. Label some"):
        classifier.fit()
    classifier.label(image, np.zeros_like(drawn))
    assert classifier.images == []
    with pytest.raises(DataError, match="found none"):
        classifier.fit()
    with pytest.raises(DataError, match="expected the size of the image"):
        classifier.label(image, drawn[1:])


def test_a_class_of_one_pixel_is_fitted_without_a_score():
    classifier, image, drawn, _ = opened(2)
    drawn[drawn == 1] = 0
    drawn[3, 3] = 1
    classifier.label(image, drawn)
    fitted = classifier.fit()
    assert fitted.recall == {}
    assert "Fitted(9 pixels of 2 classes)" in repr(fitted)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_other_heads_are_saved_too(head, tmp_path):
    classifier, image, _, middle = opened(2, [f"model.head={head}"])
    save_fitted(classifier.fit(), tmp_path)
    labels = load_predictor(tmp_path).predict(Image.from_array(image)).labels
    assert (labels[:, : middle - 2] == 1).mean() > 0.9


def test_a_run_of_another_kind_is_not_overwritten(tmp_path):
    (tmp_path / "snapshots" / "step-1").mkdir(parents=True)
    classifier, *_ = opened(2)
    with pytest.raises(CheckpointError, match="snapshots of an earlier run"):
        save_fitted(classifier.fit(), tmp_path)

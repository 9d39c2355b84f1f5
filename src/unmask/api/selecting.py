"""``select``: which images, or regions of them, to label first, or next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unmask.api.inputs import layout_of_settings
from unmask.api.values import ModelLike, Say, Settings
from unmask.data.drawn import open_truth
from unmask.data.naming import LabelFile
from unmask.data.pairing import Layout, match_files
from unmask.data.pairs import Paths
from unmask.data.source import cut_image, hold_whole
from unmask.errors import DataError, message, raise_problems
from unmask.io import Image, open_image
from unmask.selection.choose import choose
from unmask.selection.descriptors import describe
from unmask.selection.regions import divide
from unmask.space.box import Box
from unmask.wording import format_count

if TYPE_CHECKING:
    from unmask.infer.predictor import Predictor

# Largest numbers of regions; with a model, each region costs one prediction per mirrored view.
_MOST_REGIONS = 4000
_MOST_PREDICTED = 400


@dataclass(frozen=True)
class Selected:
    """An image, or a region of one, to label.

    Attributes:
        name: name of the image.
        source: file of the image.
        like: number of images (regions) in its group, itself included.
        box: the region; None: the whole image.
        doubt: uncertainty of the model, 0 to 1: how much its labels of mirrored views differ; None
            without a model, or if no view has an object.
    """

    name: str
    source: str
    like: int
    box: Box | None = None
    doubt: float | None = None


@dataclass(frozen=True)
class _Candidate:
    """An image or region that can be chosen.

    Attributes:
        selected: the result if it is chosen.
        labeled: whether it has labels.
        features: ``(d,)`` descriptor, or features of the model.
        doubt: uncertainty of the model, 0 to 1; None: not known.
    """

    selected: Selected
    labeled: bool
    features: np.ndarray
    doubt: float | None = None


def select(
    images: Paths,
    *,
    count: int,
    labels: Paths | None = None,
    model: ModelLike | None = None,
    regions: Sequence[int] | None = None,
    seed: int = 0,
    settings: Settings = (),
    say: Say = lambda _: None,
) -> list[Selected]:
    """Choose the images to label next: typical images of different kinds.

    With a model, labels are divided among the kinds in proportion to their images, and of the
    typical images of a kind those are preferred about which the model is uncertain.

    Args:
        images: file, folder, glob or OME-Zarr, or several of them.
        count: images, or regions, to choose.
        labels: existing labels; their images are not chosen, and groups that contain none of them
            come first. With regions, a region that contains a label counts as labeled.
        model: model file, run folder or name of a shipped model. Images are grouped by its
            features, and in a group those are preferred on which its predictions for mirrored
            views differ.
        regions: size of regions in voxels, one number per axis; None: whole images.
        seed: seed of the clustering; other seeds choose other images of the same kinds.
        settings: ``data.image_suffix``, ``data.label_suffix``, ``data.axes``,
            ``data.allow_external``; with a model, also those of ``predict``.
        say: called with one line per image that the model predicts.

    Returns:
        The images in order: kinds without labels first, the most common one of them first.

    Raises:
        DataError: images that cannot be read, or fewer than two images (regions).
        CheckpointError: the model cannot be loaded.
    """
    rules = layout_of_settings(settings)
    problems: list[str] = []
    names = [(name, path) for name, path, _ in match_files(images, None, rules, problems)]
    truths = {} if labels is None else _find_labels(images, labels, rules)
    predictor = None if model is None else _load(model, settings)
    candidates: list[_Candidate] = []
    for name, path in names:
        try:
            image = open_image(path, axes=rules.axes, allow_external=rules.allow_external)
            boxes = _boxes(image, regions, len(names), say, predicted=predictor is not None)
            whole = image if regions is None else hold_whole(image)
            candidates += _look(name, str(path), truths.get(name), predictor, whole, boxes)
        except (DataError, ImportError) as error:
            problems.append(str(error))
            continue
        if predictor is not None:
            say(f"{name}: {format_count(len(boxes), 'prediction')}")
    raise_problems(problems)
    return _chosen(candidates, count, seed, weighted=predictor is not None)


def _chosen(
    candidates: Sequence[_Candidate], count: int, seed: int, *, weighted: bool
) -> list[Selected]:
    if len(candidates) < 2:
        raise DataError(
            message("select", expected="two images (or regions) or more to choose from",
                    found=str(len(candidates)),
                    do="Give the folder of all images, or smaller --regions.")
        )  # fmt: skip
    labeled = [index for index, each in enumerate(candidates) if each.labeled]
    features = np.stack([each.features for each in candidates])
    doubts = None
    if weighted:
        known = [each.doubt for each in candidates if each.doubt is not None]
        # Without an object in any view the uncertainty is unknown, so the median is assumed.
        usual = float(np.median(known)) if known else 1.0
        doubts = np.array([usual if c.doubt is None else c.doubt for c in candidates])
    chosen = choose(features, count, labeled=labeled, doubts=doubts, seed=seed)
    answers = []
    for choice in chosen:
        one = candidates[choice.index]
        answers.append(
            Selected(one.selected.name, one.selected.source, choice.like, one.selected.box,
                     one.doubt)
        )  # fmt: skip
    return answers


def _look(
    name: str,
    source: str,
    truth: LabelFile | None,
    predictor: Predictor | None,
    image: Image,
    boxes: Sequence[Box | None],
) -> list[_Candidate]:
    """Describe an image or its regions, with the model if one is given."""
    regional = predictor
    if predictor is not None and boxes[0] is not None:
        from unmask.selection.uncertainty import normalize_alike

        regional = normalize_alike(predictor, image)
    candidates = []
    for box in boxes:
        part = image if box is None else cut_image(image, box)
        features, doubt = describe(part), None
        if regional is not None:
            from unmask.selection.uncertainty import embed_image, measure_disagreement

            features = embed_image(regional, part)
            doubt = measure_disagreement(regional, part)
        labeled = _is_labeled(truth, image, box)
        candidates.append(_Candidate(Selected(name, source, 1, box), labeled, features, doubt))
    return candidates


def _boxes(
    image: Image, size: Sequence[int] | None, images: int, say: Say, *, predicted: bool
) -> list[Box] | list[None]:
    """Regions of an image, at most its share of the largest number; [None]: the whole image."""
    if size is None:
        return [None]
    if len(size) != image.ndim or min(size) < 1:
        raise DataError(
            message(image.source, expected=f"{image.ndim} numbers of voxels in --regions",
                    found=",".join(map(str, size)), do="Give one per axis, slow axis first.")
        )  # fmt: skip
    most = max(1, (_MOST_PREDICTED if predicted else _MOST_REGIONS) // images)
    every, boxes = len(divide(image.shape[1:], size)), divide(image.shape[1:], size, most=most)
    if len(boxes) < every:
        say(f"{image.source}: {len(boxes)} of {every} regions are compared.")
    return boxes


def _load(model: ModelLike, settings: Settings) -> Predictor:
    from unmask.infer.load import load_predictor

    return load_predictor(model, settings)


def _find_labels(images: Paths, labels: Paths, rules: Layout) -> dict[str, LabelFile]:
    """Labels by the name of their image; files without a partner are ignored."""
    pairs = match_files(images, labels, rules, [])
    return {name: truth for name, _, truth in pairs if truth is not None}


def _is_labeled(truth: LabelFile | None, image: Image, box: Box | None) -> bool:
    """Whether an image has labels, or a region has a labeled object in it."""
    if truth is None or box is None:
        return truth is not None
    ids = open_truth(truth, image)
    return ids.shape[1:] != image.shape[1:] or bool(ids.read(box).any())

"""Choose the number of folds of a cross-validation for few labeled images."""

from __future__ import annotations

from unmask.planning.decision import Decision

# With this many labeled images, a tenth held out is enough to choose the best model.
FEW = 12
# Numbers of folds, and the updates that each training needs for a meaningful score. Five folds
# train on nearly all images; fewer folds leave more time to each training.
_FOLDS = ((5, 600), (3, 300), (2, 150))


def choose_folds(labeled: int, regions: int, updates: int, *, each: bool = False) -> int:
    """Choose the number of folds; 0: no cross-validation.

    Args:
        labeled: number of images with labels.
        regions: number of regions that a single image can be cut into; 0: it is too small.
        updates: number of updates of all trainings together.
        each: whether ``updates`` is the number per training instead.

    Examples:
        >>> choose_folds(5, 0, 6000), choose_folds(5, 0, 1500), choose_folds(5, 0, 200)
        (5, 3, 0)
    """
    if labeled >= FEW:
        return 0
    most = regions if labeled == 1 else labeled
    for folds, least in _FOLDS:
        count = min(folds, most)
        share = updates if each else updates // (count + 1)
        if count > 1 and share >= least:
            return count
    return 0


def fold_decisions(labeled: int, regions: int, folds: int) -> list[Decision]:
    """Decision on the folds with its reason; empty for 12 or more labeled images."""
    if labeled >= FEW:
        return []
    images = f"{labeled} labeled image" + "s" * (labeled > 1)
    if folds == 0:
        why = "too few updates to share them between trainings"
        if labeled == 1 and not regions:
            why = "which is too small to be cut into regions"
        text = f"{images}, {why}: nothing is held out, so there is no score"
        return [
            Decision("train.folds", 0, text),
            Decision("data.holdout", 0.0, "all labeled images are trained on"),
        ]
    what = f"{folds} regions of it are" if labeled == 1 else "each image is"
    text = f"{images}: {what} held out once, then {folds + 1} equal trainings share the updates"
    return [
        Decision("train.folds", folds, text, otherwise="--folds 0 trains once, without a score")
    ]

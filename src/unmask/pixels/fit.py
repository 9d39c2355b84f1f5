"""Fit a head to labeled pixels, and measure features by cross-validation on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from unmask.errors import RecipeError, message
from unmask.lookup import Choice, build
from unmask.models import HEADS
from unmask.pixels.forest import grow_forest
from unmask.pixels.head import ForestHead
from unmask.space.random import generator

FOLDS = 5
# Trees while features are compared: enough to rank them.
_FEW_TREES = 32
# Iterations of a linear map or an MLP. There are more features than pixels of a class, so weights
# are punished as strongly as if one more pixel spoke against them.
_STEPS, _PENALTY = 60, 1.0


def fit_head(
    choice: Choice,
    features: Float32[np.ndarray, "m d"],
    classes: Int64[np.ndarray, " m"],
    *,
    ndim: int,
    count: int,
    seed: int,
) -> tuple[nn.Module, Choice]:
    """A fitted head, and its name with the options that build one of its size.

    Args:
        choice: ``forest``, ``linear`` or ``mlp`` with options.
        features: of labeled pixels.
        classes: 0 .. ``count`` - 1.
        ndim: number of spatial axes.
        count: number of classes.
        seed: of samples and weights.

    Raises:
        RecipeError: another head.
    """
    if choice.name not in ("forest", "linear", "mlp"):
        raise RecipeError(
            message(
                f"model.head={choice.name!r}",
                expected="forest, linear or mlp, which are fitted to labeled pixels",
                found="another head",
                do="Change model.head, or train with another preset.",
            )
        )
    options = dict(choice.options)
    given = {"ndim": ndim, "width": features.shape[1], "channels": count}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build(Choice(choice.name, options), HEADS, "model.head", **given)
        if not isinstance(head, ForestHead):
            _learn(head, features, classes)
            return head.eval(), choice
    trees = len(head.feature)
    rng = generator(seed, "forest")
    forest = grow_forest(features, classes, count=count, trees=trees, rng=rng)
    options["nodes"] = forest.feature.shape[1]
    head = build(Choice(choice.name, options), HEADS, "model.head", **given)
    arrays = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in vars(forest).items()}
    head.load_state_dict(arrays)
    return head.eval(), Choice(choice.name, options)


def cross_validate(
    choice: Choice,
    columns: Mapping[str, Int64[np.ndarray, " k"]],
    features: Float32[np.ndarray, "m d"],
    classes: Int64[np.ndarray, " m"],
    folds: Int64[np.ndarray, " m"],
    *,
    seed: int,
) -> dict[str, float]:
    """Mean recall of the classes on pixels left out, for every set of features.

    Args:
        choice: of the head.
        columns: features of every set by its name.
        features: of labeled pixels.
        classes: from 0.
        folds: number of the fold of every pixel; see `divide`.
        seed: of samples and weights.
    """
    count = int(classes.max()) + 1
    options = dict(choice.options)
    if choice.name == "forest":
        options |= {"trees": _FEW_TREES, "smooth": 0.0}
    found: dict[str, float] = {}
    for name, chosen in columns.items():
        predicted = np.full(len(classes), -1)
        for fold in np.unique(folds):
            out = folds == fold
            head, _ = fit_head(
                Choice(choice.name, options),
                features[~out][:, chosen],
                classes[~out],
                ndim=1,
                count=count,
                seed=seed,
            )
            with torch.inference_mode():
                rows = torch.from_numpy(features[out][:, chosen]).T[None]
                predicted[out] = head(rows)[0].argmax(0).numpy()
        recalls = [(predicted[classes == k] == k).mean() for k in np.unique(classes)]
        found[name] = float(np.mean(recalls))
    return found


def divide(
    classes: Int64[np.ndarray, " m"], images: Int64[np.ndarray, " m"], folds: int = FOLDS
) -> Int64[np.ndarray, " m"]:
    """Folds of labeled pixels: whole images if every class is in two or more of them.

    Otherwise the pixels of a class are cut into runs in the order of their strokes: neighbors in a
    stroke are similar, so a random split would overestimate the recall.
    """
    spread = [len(np.unique(images[classes == k])) for k in np.unique(classes)]
    if min(spread) > 1:
        return np.unique(images, return_inverse=True)[1].reshape(-1) % folds
    result = np.zeros(len(classes), np.int64)
    for k in np.unique(classes):
        rows = np.flatnonzero(classes == k)
        result[rows] = np.arange(len(rows)) * folds // len(rows)
    return result


def _learn(head: nn.Module, features: np.ndarray, classes: np.ndarray) -> None:
    """Cross-entropy on all pixels at once; the scale of the features goes into the first layer."""
    mean, std = features.mean(axis=0), features.std(axis=0) + 1e-6
    rows = torch.from_numpy((features - mean) / std)
    image = rows.T.reshape(1, rows.shape[1], -1, *(1,) * (_axes(head) - 1))
    truth = torch.from_numpy(classes).reshape(1, -1, *(1,) * (_axes(head) - 1))
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe")
    kernels = [weight for weight in head.parameters() if weight.ndim > 1]

    def loss() -> Tensor:
        optimizer.zero_grad()
        squares = sum(((kernel**2).sum() for kernel in kernels), start=torch.zeros(()))
        value = F.cross_entropy(head(image), truth) + _PENALTY / (2 * len(classes)) * squares
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    first = _first_layer(head)
    with torch.no_grad():
        shape = (1, -1, *(1,) * (first.weight.ndim - 2))
        first.weight /= torch.from_numpy(std).reshape(shape)
        moved = first.weight * torch.from_numpy(mean).reshape(shape)
        bias: Tensor = first.bias  # pyright: ignore[reportAssignmentType]
        bias -= moved.flatten(1).sum(dim=1)
    head.requires_grad_(requires_grad=False)


def _first_layer(head: nn.Module) -> nn.Conv2d:
    """Any convolution; all have weight and bias."""
    layers = [layer for layer in head.modules() if hasattr(layer, "weight")]
    return layers[0]  # pyright: ignore[reportReturnType]


def _axes(head: nn.Module) -> int:
    return _first_layer(head).weight.ndim - 2

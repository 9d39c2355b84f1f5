"""Agreement of a student with its own running average (Caron et al. 2021, arXiv:2104.14294).

Both project an image's class token on prototypes. The student learns to give the teacher's answers,
centered and sharpened; centering keeps one prototype from winning always, sharpening keeps all from
being equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log, pi

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.errors import RecipeError


@dataclass(frozen=True)
class Schedule:
    """What changes over a run; every value is a function of the updates done, on their device.

    Attributes:
        steps: updates of the run.
        ema: share of the teacher that the first update keeps; it rises to 1 in half a cosine.
        temperatures: of the teacher, at the start and after the warm-up.
        warmup: its share of the run.
        frozen: share of the run in which the prototypes rest.
    """

    steps: int
    ema: float
    temperatures: tuple[float, float]
    warmup: float
    frozen: float

    def __post_init__(self) -> None:
        shares = {"ema": self.ema, "tau_warmup": self.warmup, "freeze_last": self.frozen}
        wrong = [f"{name}={value}" for name, value in shares.items() if not 0 <= value <= 1]
        if wrong:
            raise RecipeError(
                f"{', '.join(wrong)}: expected shares between 0 and 1. Change the method's options."
            )
        if min(self.temperatures) <= 0:
            raise RecipeError(
                f"tau_teacher={list(self.temperatures)}: expected two numbers above 0, at the "
                "start and after the warm-up. Change the method's options."
            )

    def step_of(self, updates: Tensor) -> Tensor:
        """Share of the way to the student that the teacher goes; all of it in the first update.

        The student may have been given other weights after the teacher was made.
        """
        progress = (updates / self.steps).clamp(max=1)
        share = (1 - self.ema) * ((pi * progress).cos() + 1) / 2
        return torch.where(updates == 0, 1.0, share)

    def temperature(self, updates: Tensor) -> Tensor:
        """The teacher's temperature, linear over the warm-up."""
        first, last = self.temperatures
        done = (updates / max(1.0, self.warmup * self.steps)).clamp(max=1)
        return first + (last - first) * done

    def learns(self, updates: Tensor) -> Tensor:
        """Whether the prototypes learn."""
        return updates >= self.frozen * self.steps


class Prototypes(nn.Module):
    """Cosines with prototypes; parameter names of a weight-normed layer whose lengths are 1."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight_g: Tensor
        self.register_buffer("weight_g", torch.ones(count, 1))
        self.weight_v = nn.Parameter(torch.randn(count, width))

    def forward(
        self, vectors: Float[Tensor, "b d"], learns: Tensor | None = None
    ) -> Float[Tensor, "b k"]:
        """One logit per prototype for vectors of length 1; a gradient only where it ``learns``."""
        weight = self.weight_v
        if learns is not None:
            weight = torch.where(learns, weight, weight.detach())
        return F.linear(vectors, self.weight_g * F.normalize(weight, dim=1))


class ProjectionHead(nn.Module):
    """From class tokens to prototypes: MLP, vectors of length 1, prototypes.

    Args:
        dim: channels of a token.
        hidden: channels of the MLP.
        width: channels of a prototype.
        prototypes: how many; 65536 are published for ImageNet, 4096 are ample for a thousand
            images.
        norm: batch norms in the MLP, an option of DINO too. They take away what the tokens of all
            images have in common, which early in a run is nearly everything.
    """

    def __init__(
        self, dim: int, *, hidden: int, width: int, prototypes: int, norm: bool = False
    ) -> None:
        super().__init__()
        sizes = ((dim, hidden), (hidden, hidden))
        layers: list[nn.Module] = []
        for n, m in sizes:
            layers += [nn.Linear(n, m), *([nn.BatchNorm1d(m)] if norm else []), nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, width))
        for part in self.mlp:
            if isinstance(part, nn.Linear):
                # 0.02 is published for 2048 channels; vectors of any width keep a length near 1
                nn.init.trunc_normal_(part.weight, std=part.in_features**-0.5)
                nn.init.zeros_(part.bias)
        self.last_layer = Prototypes(width, prototypes)

    def forward(
        self, tokens: Float[Tensor, "b d"], learns: Tensor | None = None
    ) -> Float[Tensor, "b k"]:
        """Logits in float32: divided by a small temperature, a rounding in 16 bits is large."""
        vectors = self.mlp(tokens)
        with torch.autocast(tokens.device.type, enabled=False):
            return self.last_layer(F.normalize(vectors.float(), dim=1), learns)


class Center(nn.Module):
    """Running mean of a teacher's logits.

    Batches are noted when they are seen and move the center with the next update, so that a step
    that is skipped, an accumulated batch and a resumed run change nothing. With several processes
    the buffers, and so the center, are those of the first one.

    Args:
        prototypes: length.
        momentum: share that an update keeps.
    """

    def __init__(self, prototypes: int, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise RecipeError(
                f"center_momentum={momentum}: expected a share between 0 and 1. "
                "Change the method's options."
            )
        self.momentum = momentum
        self.value: Tensor
        self.noted: Tensor
        self.batches: Tensor
        self.register_buffer("value", torch.zeros(prototypes))
        self.register_buffer("noted", torch.zeros(prototypes))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, logits: Float[Tensor, "b k"], temperature: Tensor) -> Float[Tensor, "b k"]:
        """Probabilities of the prototypes, which are the student's targets."""
        return ((logits - self.value) / temperature).softmax(dim=1)

    @torch.no_grad()
    def note(self, logits: Float[Tensor, "b k"]) -> None:
        """Keep the mean of a batch; one that is not finite is left out."""
        mean = logits.mean(dim=0)
        good = mean.isfinite().all()
        self.noted += torch.where(good, mean, 0.0)
        self.batches += good

    @torch.no_grad()
    def move(self) -> None:
        """Take over what was noted since the last time."""
        mean = self.noted / self.batches.clamp(min=1)
        share = (1 - self.momentum) * (self.batches > 0)
        self.value.lerp_(mean, share)
        self.noted.zero_()
        self.batches.zero_()


@torch.no_grad()
def follow(teacher: Iterable[Tensor], student: Iterable[Tensor], share: Tensor) -> None:
    """Move the teacher's parameters a ``share`` of the way to the student's."""
    for old, new in zip(teacher, student, strict=True):
        old.lerp_(new, share.to(old.dtype))


def agreement(
    probabilities: Float[Tensor, "p b k"], log_probs: Float[Tensor, "q b k"]
) -> Float[Tensor, ""]:
    """Cross-entropy, the mean of all pairs of a teacher's and a student's view of an image.

    It is linear on both sides, so the views are averaged first.
    """
    return -(probabilities.mean(dim=0) * log_probs.mean(dim=0)).sum(dim=1).mean()


def entropy(probabilities: Float[Tensor, "b k"]) -> Float[Tensor, ""]:
    """Mean entropy as a share of the largest one: 1 where all prototypes are equal."""
    each = -torch.special.xlogy(probabilities, probabilities).sum(dim=1)
    return each.mean() / log(probabilities.shape[1])


def spread(features: Float[Tensor, "v b d"]) -> Float[Tensor, ""]:
    """How much the directions of images' features differ: 0 if not at all, 1 if in any way.

    The standard deviation of vectors of length 1 over the images of a batch, as a multiple of that
    of random directions.
    """
    directions = F.normalize(features.float(), dim=2)
    return directions.std(dim=1).square().mean(dim=(0, 1)).mul(features.shape[2]).sqrt()


def pair(values: Sequence[float], *, name: str) -> tuple[float, float]:
    """Two numbers.

    Raises:
        RecipeError: another count.
    """
    if len(values) != 2:
        raise RecipeError(
            f"{name}={list(values)}: expected two numbers. Change the method's options."
        )
    return values[0], values[1]

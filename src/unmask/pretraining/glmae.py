"""Global-local masked autoencoder for n axes (Zhuang et al. 2025, doi:10.1109/TMI.2025.3569782).

Large (global) and small (local) views are cut from every crop. A student sees all of them with
most patches dropped, and reconstructs what is missing. A teacher, the student's running average,
sees the complete global views; the student's class tokens are trained to agree with the teacher's.
The authors published no pre-training code: form and values of the agreement are those of DINO
(Caron et al. 2021, arXiv:2104.14294).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from math import log, prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.errors import DataError, RecipeError
from unmask.models import nd
from unmask.models.base import Objective, Step
from unmask.models.patches import grid_of
from unmask.pretraining import consistency, masks
from unmask.pretraining.consistency import Center, ProjectionHead, Schedule, pair
from unmask.pretraining.decoder import PatchDecoder, check_ratio, token_backbone
from unmask.pretraining.views import ViewPlan, cut
from unmask.space.batch import Batch
from unmask.space.bf16 import has_bf16
from unmask.space.random import device_seed, generator

# Length of a local view as a share of a global one: 96 of 160 are published.
_LOCAL = 0.6
# Updates before the metrics of a run mean anything.
_WARMED_UP = 100
# Entropies above and below which the teacher's outputs carry no information; spread of features
# that are equal.
_UNIFORM, _CERTAIN, _EQUAL = 0.998, 0.001, 0.02


@dataclass(frozen=True)
class _StudentOutput:
    """The student's output for some views: its error of reconstruction, and its class tokens."""

    error: Float[Tensor, ""]
    class_tokens: Float[Tensor, "v d"]


class GLMAE(Objective):
    """Reconstruction of global and local views, and agreement of both with a teacher.

    ``backbone``, ``head`` and ``decoder`` are the student's; fine-tuning keeps its backbone.

    Args:
        backbone: the encoder; a transformer over patches.
        steps: updates of the run, over which the schedules go; a recipe gives its own.
        mask_ratio: share of patches that the student does not see.
        norm_target: predict patches of mean 0 and variance 1, which favors texture over
            brightness.
        decoder_dim: channels of the decoder.
        decoder_depth: blocks of the decoder.
        decoder_heads: attention heads of the decoder.
        views: global and local views of a crop.
        global_size: voxels of a global view; default: those of a crop.
        local_size: voxels of a local view; default: 0.6 of a global one, in whole patches.
        global_scale: smallest and largest length of the box that becomes a global view, as a share
            of the crop's.
        local_scale: the same for local views.
        flip: mirror views along every axis with probability 1/2.
        weights: of the reconstruction of global views, the agreement of global views, and that of
            local views; the reconstruction of local views has 1.
        hidden: channels of the projection head.
        width: channels of a prototype.
        prototypes: how many.
        head_norm: batch norms in the projection head.
        tau_student: temperature of the student.
        tau_teacher: temperature of the teacher at the start and after the warm-up.
        tau_warmup: the warm-up as a share of the run.
        center_momentum: share of the teacher's center that an update keeps.
        ema: share of the teacher that an update keeps at first; it rises to 1.
        freeze_last: share of the run in which the prototypes do not learn.
    """

    def __init__(  # noqa: PLR0913 - the options of a method; a recipe names each
        self,
        backbone: nn.Module,
        *,
        steps: int = 10_000,
        mask_ratio: float = 0.6,
        norm_target: bool = True,
        decoder_dim: int = 128,
        decoder_depth: int = 2,
        decoder_heads: int = 4,
        views: Sequence[int] = (2, 4),
        global_size: int | Sequence[int] | None = None,
        local_size: int | Sequence[int] | None = None,
        global_scale: Sequence[float] = (0.5, 1.0),
        local_scale: Sequence[float] = (0.25, 0.5),
        flip: bool = True,
        weights: Sequence[float] = (1.0, 1.0, 1.0),
        hidden: int = 2048,
        width: int = 256,
        prototypes: int = 4096,
        head_norm: bool = False,
        tau_student: float = 0.1,
        tau_teacher: Sequence[float] = (0.04, 0.07),
        tau_warmup: float = 0.3,
        center_momentum: float = 0.9,
        ema: float = 0.996,
        freeze_last: float = 0.0,
    ) -> None:
        super().__init__()
        network: Any = token_backbone(backbone, method="glmae")
        self.mask_ratio = check_ratio(mask_ratio)
        self.weights = _weights(weights)
        self.tau_student = _temperature(tau_student)
        sizes = _sizes(network, global_size, local_size)
        counts = _counts(views)
        scales = pair(global_scale, name="global_scale"), pair(local_scale, name="local_scale")
        names = ("global", "local")
        self.global_plan, self.local_plan = (
            ViewPlan(name, count, size, scale, flip)
            for name, count, size, scale in zip(names, counts, sizes, scales, strict=True)
        )
        temperatures = pair(tau_teacher, name="tau_teacher")
        self.schedule = Schedule(steps, ema, temperatures, tau_warmup, freeze_last)
        self.decoder = PatchDecoder(
            network,
            dim=decoder_dim,
            depth=decoder_depth,
            heads=decoder_heads,
            norm_target=norm_target,
        )
        self.head = ProjectionHead(
            network.dim, hidden=hidden, width=width, prototypes=prototypes, norm=head_norm
        )
        self.backbone = network
        parts = {"backbone": deepcopy(backbone), "head": deepcopy(self.head)}
        self.teacher = nn.ModuleDict(parts).requires_grad_(requires_grad=False)
        # Named as in version 0.1, because its buffers are in model files and snapshots.
        self.centre = Center(prototypes, center_momentum)
        self.updates: Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def step(self, batch: Batch) -> Step:
        """Loss of one batch; views and masks are functions of ``batch.seed``."""
        global_views = self._cut(batch, self.global_plan)
        local_views = self._cut(batch, self.local_plan)
        features, probabilities = self._teacher_forward(global_views)
        global_output = self._student_forward(global_views, batch, self.global_plan)
        local_output = self._student_forward(local_views, batch, self.local_plan)
        global_log, local_log = self._log_probs(global_output, local_output)
        terms = {
            "local": local_output.error,
            "global": global_output.error,
            # A masked view is compared with the same view complete, not with another one.
            "global_to_global": consistency.agreement(
                probabilities.flatten(0, 1)[None], global_log.flatten(0, 1)[None]
            ),
            "global_to_local": consistency.agreement(probabilities, local_log),
        }
        factors = (1.0, *self.weights)
        loss = torch.stack(
            [factor * term for factor, term in zip(factors, terms.values(), strict=True)]
        ).sum()
        logs = {"loss": loss, **terms, **_health(features, probabilities, global_log)}
        return Step(loss, logs={name: value.detach() for name, value in logs.items()})

    @torch.no_grad()
    def after_update(self) -> None:
        """Move the teacher and its center."""
        share = self.schedule.step_of(self.updates)
        consistency.follow(self.teacher["backbone"].parameters(), self.backbone.parameters(), share)
        consistency.follow(self.teacher["head"].parameters(), self.head.parameters(), share)
        self.centre.move()
        self.updates += 1

    def health(self, logs: Mapping[str, float]) -> str | None:
        """A warning if features or targets have become the same for all images."""
        if self.updates.item() < _WARMED_UP:
            return None
        entropy, deviation = logs["teacher_entropy"], logs.get("feature_std")
        if entropy > _UNIFORM:
            return (
                "Collapse: the teacher's outputs are the same for all prototypes (teacher_entropy "
                f"above {_UNIFORM}), so that nothing is learned from them. Lower "
                "method.tau_teacher, for example to [0.02, 0.04], or set method.head_norm=true."
            )
        if entropy < _CERTAIN or (deviation is not None and deviation < _EQUAL):
            return (
                f"Collapse: the teacher has one output only (teacher_entropy below {_CERTAIN} or "
                f"feature_std below {_EQUAL}). Raise method.tau_teacher, lower "
                "method.center_momentum, or lower train.lr."
            )
        return None

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures of whole crops for people: ``original``, ``masked`` (flat), ``rebuilt``."""
        tokens = self.backbone.embed(batch.image)
        mask = self._mask(batch, len(batch.image), tokens.grid, "picture")
        latent = self.backbone.encode(tokens.values, mask.keep)
        predicted = self.decoder.dropped(latent, mask, tokens.grid)
        return self.decoder.pictures(batch.image, predicted, mask)

    def _cut(self, batch: Batch, plan: ViewPlan) -> Float[Tensor, "v c *size"]:
        rng = generator(batch.seed, f"{plan.name} views")
        drawn = plan.draw(rng, len(batch.image), batch.image.shape[2:])
        return cut(batch.image, drawn, plan.size)

    def _mask(self, batch: Batch, count: int, grid: Sequence[int], purpose: str) -> masks.Mask:
        seed = device_seed(batch.seed, purpose)
        place = batch.image.device
        return masks.draw(count, grid, ratio=self.mask_ratio, seed=seed, device=place)

    @torch.no_grad()
    def _teacher_forward(
        self, views: Float[Tensor, "v c *size"]
    ) -> tuple[Float[Tensor, "p b d"], Float[Tensor, "p b k"]]:
        """Features of complete views, and their probabilities, which are the student's targets.

        The teacher computes in bf16 whatever the student does: its outputs are targets, not sums
        that must not drift.
        """
        network: Any = self.teacher["backbone"]
        kind = views.device.type
        with torch.autocast(kind, torch.bfloat16) if has_bf16(kind) else nullcontext():
            features = network.encode(network.embed(views).values)[:, 0]
            logits = self.teacher["head"](features)
        features = features.float()
        probabilities = self.centre(logits, self.schedule.temperature(self.updates))
        if self.training:
            self.centre.note(logits)
        shape = (self.global_plan.count, -1)
        return features.unflatten(0, shape), probabilities.unflatten(0, shape)

    def _student_forward(
        self, views: Float[Tensor, "v c *size"], batch: Batch, plan: ViewPlan
    ) -> _StudentOutput:
        """All views of the batch in one pass through encoder and decoder."""
        tokens = self.backbone.embed(views)
        mask = self._mask(batch, len(views), tokens.grid, plan.name)
        latent = self.backbone.encode(tokens.values, mask.keep)
        predicted = self.decoder.dropped(latent, mask, tokens.grid)
        error = self.decoder.reconstruction_loss(views, predicted, mask)
        return _StudentOutput(error, latent[:, 0])

    def _log_probs(
        self, global_output: _StudentOutput, local_output: _StudentOutput
    ) -> tuple[Float[Tensor, "p b k"], Float[Tensor, "q b k"]]:
        """The student's log-probabilities for all views, in one pass through the head.

        The head is large for so few tokens: its time is that of reading its weights.
        """
        learns = self.schedule.learns(self.updates) if self.schedule.frozen else None
        logits = (
            self.head(torch.cat([global_output.class_tokens, local_output.class_tokens]), learns)
            / self.tau_student
        )
        counts = (self.global_plan.count, self.local_plan.count)
        log_probs = logits.log_softmax(dim=1).unflatten(0, (sum(counts), -1))
        global_log, local_log = log_probs.split(counts)
        return global_log, local_log


def _health(features: Tensor, probabilities: Tensor, log_probs: Tensor) -> dict[str, Tensor]:
    """Metrics that show a collapse: spread, entropy, and the student's distance to the teacher."""
    flat = probabilities.flatten(0, 1)
    surprise = consistency.agreement(flat[None], log_probs.detach().flatten(0, 1)[None])
    entropy = consistency.entropy(flat)
    found = {"teacher_entropy": entropy, "teacher_kl": surprise - entropy * log(flat.shape[1])}
    # The spread over the images of a batch is not defined for a single image.
    several = probabilities.shape[1] > 1
    return found | ({"feature_std": consistency.spread(features)} if several else {})


def _counts(views: Sequence[int]) -> tuple[int, int]:
    if len(views) != 2:
        raise RecipeError(
            f"views={list(views)}: expected two numbers, of global and local views. "
            "Change method.views."
        )
    return views[0], views[1]


def _weights(values: Sequence[float]) -> tuple[float, ...]:
    if len(values) != 3 or min(values) < 0:
        raise RecipeError(
            f"weights={list(values)}: expected three numbers of 0 or more, of the global "
            "reconstruction and of the agreement of global and of local views. Change "
            "method.weights."
        )
    return tuple(values)


def _temperature(value: float) -> float:
    if value <= 0:
        raise RecipeError(
            f"tau_student={value}: expected a number above 0, such as 0.1. Change it."
        )
    return value


def _sizes(
    network: Any,
    global_size: int | Sequence[int] | None,
    local_size: int | Sequence[int] | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Voxels of global and local views; whole patches, at least two."""
    patch, ndim = network.patch, network.ndim
    crop = tuple(n * p for n, p in zip(network.grid, patch, strict=True))
    large = crop if global_size is None else nd.per_axis(global_size, ndim)
    near = tuple(max(1, round(_LOCAL * n / p)) * p for n, p in zip(large, patch, strict=True))
    small = near if local_size is None else nd.per_axis(local_size, ndim)
    for name, size in (("global_size", large), ("local_size", small)):
        try:
            tokens = prod(grid_of(size, patch))
        except DataError as error:
            raise RecipeError(f"method glmae, {name}: {error}") from error
        if tokens < 2:
            raise RecipeError(
                f"{name}={list(size)}: expected at least two patches of {list(patch)}, found "
                f"{tokens}. Make the view larger or model.backbone.patch smaller."
            )
    return large, small

"""A run folder during training: snapshots in the background, the best model, the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from unmask.checkpoint import (
    Snapshot,
    load_snapshot,
    remove_leftovers,
    save_model,
    save_snapshot,
)
from unmask.checkpoint.model import MODEL_FILE
from unmask.errors import CheckpointError


@dataclass(frozen=True)
class RunFolder:
    """Where a run is kept.

    Attributes:
        folder: the run folder; hold it with ``unmask.checkpoint.lock_run``.
        card: what the model file says in addition to step and scores (recipe, data, license, ...).
        resume: continue from the newest snapshot; without it a folder with snapshots is refused.
        keep_models: keep the model of every validation too, see ``validated_model``.
    """

    folder: Path
    card: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    keep_models: bool = False

    def validated_model(self, step: int) -> Path:
        """The model of the validation after so many updates."""
        return self.folder / "models" / f"step-{step:07d}.safetensors"

    @property
    def model_file(self) -> Path:
        """The best model."""
        return self.folder / MODEL_FILE

    def start(self, report: Callable[[str], None]) -> Snapshot | None:
        """The snapshot to continue from; leftovers of a killed run are removed.

        Raises:
            CheckpointError: the folder holds a run and ``resume`` is not wanted, or all damaged.
        """
        if not self.resume:
            refuse_used(self.folder)
        for path in remove_leftovers(self.folder):
            report(f"{path}: left half-written by a run that was ended; removed.")
        return load_snapshot(self.folder, report=report)


def refuse_used(folder: Path) -> None:
    """Refuse to begin a new run where another one can be resumed.

    Raises:
        CheckpointError: there are snapshots.
    """
    if any((folder / "snapshots").glob("step-*")):
        raise CheckpointError(
            f"{folder}: expected an empty run folder, found snapshots of an earlier run. "
            "Continue it with --resume, or choose another --out."
        )


class Saver:
    """Writes while training continues, in order, on copies of the weights.

    Call ``wait`` before the next copies are made: it raises what went wrong, and keeps memory and
    disk from falling behind.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._jobs: list[Future[Any]] = []

    def snapshot(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        state: Mapping[str, Any],
        *,
        keep: int,
    ) -> None:
        """Save what ``fit`` needs to continue."""
        copies = {group: to_cpu(members) for group, members in tensors.items()}
        self._submit(save_snapshot, self._run.folder, step, copies, state, keep=keep)

    def model(
        self, weights: Mapping[str, Tensor], facts: Mapping[str, Any], path: Path | None = None
    ) -> None:
        """Save the model file, or another one."""
        card = {**self._run.card, **facts}
        self._submit(save_model, path or self._run.model_file, to_cpu(weights), card)

    def wait(self) -> None:
        """Until everything is on the disk; raises what a job raised."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.result()

    def close(self) -> None:
        """End the thread; failures are no longer checked."""
        self._pool.shutdown(wait=True)

    def _submit(self, action: Callable[..., Any], *given: Any, **named: Any) -> None:
        self._jobs.append(self._pool.submit(action, *given, **named))


def to_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that the next step cannot change."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a state dict."""
    return {name: item for name, item in module.state_dict().items() if isinstance(item, Tensor)}


def pack_optimizer(module: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Moments by the name of their parameter, so that the order of groups does not matter."""
    return {
        f"{name}/{key}": value
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def unpack_optimizer(
    module: nn.Module, optimizer: Optimizer, saved: Mapping[str, Tensor], *, source: object
) -> None:
    """Give an optimizer its moments back.

    Raises:
        CheckpointError: they belong to another model.
    """
    states: dict[str, dict[str, Tensor]] = {}
    for key, tensor in saved.items():
        name, _, part = key.rpartition("/")
        states.setdefault(name, {})[part] = tensor
    names = {parameter: name for name, parameter in module.named_parameters()}
    order = [names[p] for group in optimizer.param_groups for p in group["params"]]
    strange = sorted(states.keys() - set(order))
    if strange:
        raise CheckpointError(
            f"{source}: expected moments of parameters that are trained, found {strange[:5]}. "
            "Resume with the recipe of the run."
        )
    indexed = {index: states[name] for index, name in enumerate(order) if name in states}
    groups = optimizer.state_dict()["param_groups"]
    # PyTorch moves each moment to the device of its parameter; it keeps what it is given, so the
    # buffers of the file are copied first.
    copies = {i: {k: v.clone() for k, v in parts.items()} for i, parts in indexed.items()}
    optimizer.load_state_dict({"state": copies, "param_groups": groups})

"""Where a training stands: counters, sums since the last journal line, best score, files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from unmask.checkpoint import Snapshot, load_weights
from unmask.models.base import Objective, Step
from unmask.space.batch import Batch
from unmask.space.random import device_seed
from unmask.training.average import Average
from unmask.training.guard import Guard, TrainingError
from unmask.training.journal import PICTURES, Journal
from unmask.training.plan import Plan, Summary
from unmask.training.saving import RunFolder, Saver, pack_optimizer, unpack_optimizer, weights_of
from unmask.training.schedule import schedule

# Processes agree on stopping together; asking at every step would make them wait for each other.
_AGREE_EVERY = 8

Validate = Callable[[Any], Mapping[str, float]]


class Parcel:
    """A batch on the way in, its step on the way out.

    An object of its own, because Fabric casts every tensor it finds in an argument (targets would
    lose bits in 16-bit precision) and refuses frozen values.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.step: Step | None = None


class Forward(nn.Module):
    """The objective as a module that returns its loss, which is where DDP starts its search."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, parcel: Parcel) -> Tensor:
        """The loss; the whole step stays in the parcel."""
        step: Step = self.objective(parcel.batch)
        parcel.step = step
        return step.loss


class Meter:
    """Sums of what forward passes gave, on the device, until a journal line takes their means."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.batch: Batch | None = None
        self._losses: list[Tensor] = []
        self._logs: dict[str, list[Tensor]] = {}
        self._bad: Tensor | None = None
        self._samples = 0
        self._since = time.monotonic()

    def add(self, parcel: Parcel) -> None:
        """Note one forward pass."""
        if parcel.step is None:
            raise TypeError("The strategy did not call the objective's forward.")
        self.batch = parcel.batch
        loss = parcel.step.loss.detach()
        bad = ~torch.isfinite(loss)
        self._bad = bad if self._bad is None else self._bad | bad
        self._losses.append(loss.float())
        for name, value in parcel.step.logs.items():
            self._logs.setdefault(name, []).append(value.detach().float())
        self._samples += parcel.batch.image.shape[0]

    def take_bad(self, norm: Tensor) -> Tensor:
        """1 where a loss since the last call, or the gradient norm, is not finite."""
        bad = ~torch.isfinite(norm)
        bad = (bad if self._bad is None else bad | self._bad).float()
        self._bad = None
        return bad

    def take(self) -> dict[str, float]:
        """Means since the last call; losses that are not finite are left out."""
        seconds = max(1e-9, time.monotonic() - self._since)
        record = {
            "loss": _mean(self._losses),
            "samples_per_second": round(self._samples / seconds, 3),
            **{name: _mean(values) for name, values in self._logs.items()},
        }
        self._losses, self._logs, self._samples = [], {}, 0
        self._since = time.monotonic()
        return record

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Time inside the ``with`` block does not count."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._since += time.monotonic() - began


class Progress:
    """What one call of ``fit`` knows beside the weights; its methods stand in the loop's order."""

    guard: Guard

    def __init__(
        self,
        objective: Objective,
        *,
        fabric: Fabric,
        optimizer: Optimizer,
        plan: Plan,
        journal: Journal,
    ) -> None:
        self.step = 0
        self.meter = Meter()
        self._objective, self._fabric, self._optimizer = objective, fabric, optimizer
        self._plan, self._journal = plan, journal
        self._ema: Average | None = None
        self._run: RunFolder | None = None
        self._saver: Saver | None = None
        self._best: float | None = None
        self._best_step = 0
        self._metrics: dict[str, float] = {}
        self._fresh: dict[str, float] = {}
        self._loss = math.nan
        self._warning: str | None = None
        self._began = time.monotonic()

    def open(self, run: RunFolder | None) -> Snapshot | None:
        """Find the snapshot to go on from and put its weights into the objective."""
        self._run = run
        if run is None:
            return None
        snapshot = run.start(self._say)
        if snapshot is not None:
            load_weights(self._objective, snapshot.tensors["model"], source=snapshot.path)
        return snapshot

    def begin(self, snapshot: Snapshot | None) -> None:
        """Make what lives on the device, and put the rest of the snapshot into it."""
        scaled = getattr(self._fabric.strategy.precision, "scaler", None) is not None
        self.guard = Guard(
            self._objective, self._optimizer, limit=self._plan.bad_steps, scaled=scaled
        )
        if self._plan.ema:
            self._ema = Average(self._objective, self._plan.ema)
        if snapshot is not None:
            self._restore(snapshot)
        if self._fabric.is_global_zero:
            self._journal.resume(self.step)
        self._objective.train()

    @contextmanager
    def kept(self) -> Generator[None, None, None]:
        """Files are written in the background inside the block; all are on the disk after it."""
        if self._run is None or not self._fabric.is_global_zero:
            yield
            return
        self._saver = Saver(self._run)
        try:
            yield
            self._saver.wait()
        finally:
            self._saver.close()

    def set_rate(self) -> float:
        """Give every group its learning rate and weight decay; the former comes back unscaled."""
        plan = self._plan
        rate = plan.lr * schedule(
            self.step,
            steps=plan.steps,
            warmup=plan.warmup,
            final=plan.final_lr,
            period=plan.cosine_steps,
        )
        decay = schedule(self.step, steps=plan.steps, warmup=0, final=plan.final_weight_decay)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
            if plan.final_weight_decay != 1:
                first = group.setdefault("first_decay", group["weight_decay"])
                group["weight_decay"] = first * decay
        return rate

    def take(self, stream: Iterator[Batch]) -> Batch:
        """The next batch, on the device."""
        batch = next(stream, None)
        if batch is None:
            raise TrainingError(
                f"Step {self.step}: expected batches for {self._plan.steps} steps, found no more. "
                "Let the loader repeat its samples."
            )
        self.meter.shape = tuple(batch.image.shape)
        return batch.to(self._fabric.device)

    def seed(self, micro: int) -> int:
        """Seed of dropout and the like: a pure function of seed, micro-batch and process."""
        number = self.step * self._plan.accumulate + micro
        return device_seed(self._plan.seed, "step", number, self._fabric.global_rank)

    def update(self, stepper: Any, norm: Tensor) -> None:
        """Step the optimiser unless a number is not finite; then count the update."""
        bad = self.meter.take_bad(norm)
        if self._fabric.world_size > 1:
            bad = largest(bad, self._fabric)
        if self.guard.step(stepper, bad):
            self._objective.after_update()
            if self._ema is not None:
                self._ema.update()
        self.step += 1

    def check(self, validate: Validate | None) -> None:
        """Validate and show pictures where it is time; the best model so far is kept."""
        if not self._is_due(self._plan.validate_every):
            return
        if self._fabric.is_global_zero:
            with self.meter.paused(), self._shown_weights():
                self._objective.eval()
                with torch.no_grad():
                    if validate is not None:
                        self._fresh = self._metrics = dict(validate(self._objective))
                    self._show()
                self._objective.train()
                self._keep_best()
        self._fabric.barrier()

    def tell(self, rate: float, norm: Tensor, *, now: bool) -> None:
        """One journal record, where it is time or something is going to be saved."""
        due = self._is_due(self._plan.log_every) or self._is_due(self._plan.save_every)
        if not (now or self._fresh or due):
            self.guard.check(self.step)
            if self._fabric.is_global_zero:
                self._journal.progress(self.step)
            return
        means = self.meter.take()
        self._loss = means["loss"]
        means["samples_per_second"] *= self._fabric.world_size
        record: dict[str, Any] = {"step": self.step, "lr": rate, "gradient_norm": norm, **means}
        record |= {f"validation/{name}": value for name, value in self._fresh.items()}
        skipped = self.guard.skipped()
        warning = self._objective.health(means)
        if self._fabric.is_global_zero:
            more = {"skipped": skipped or None, "warning": warning}
            self._journal.log(record | {name: value for name, value in more.items() if value})
        if warning is not None and warning != self._warning:
            self._say(f"step {self.step}: {warning}")
        self._warning = warning
        self._fresh = {}
        self.guard.check(self.step, now=True)

    def save(self, *, now: bool) -> None:
        """A snapshot where it is time; the latest weights are the model until one is the best."""
        if self._saver is None or not (now or self._is_due(self._plan.save_every)):
            return
        self._saver.wait()
        if self._best is None:
            self._best_step = self.step
            with self._shown_weights():
                self._save_model()
        tensors = {
            "model": weights_of(self._objective),
            "optimizer": pack_optimizer(self._objective, self._optimizer),
        }
        if self._ema is not None:
            tensors["average"] = self._ema.weights
        self._saver.snapshot(self.step, tensors, self._state(), keep=self._plan.keep)
        if now:
            self._saver.wait()

    def summary(self) -> Summary:
        """The result."""
        return Summary(
            step=self.step,
            loss=self._loss,
            best=self._best,
            best_step=self._best_step,
            metrics=self._metrics,
            seconds=time.monotonic() - self._began,
        )

    def _is_due(self, every: int) -> bool:
        return self.step == self._plan.steps or (every > 0 and self.step % every == 0)

    def _say(self, message: str) -> None:
        if self._fabric.is_global_zero:
            self._journal.say(message)

    def _shown_weights(self) -> Any:
        """Averaged weights, where there are some, inside the ``with`` block."""
        return nullcontext() if self._ema is None else self._ema.applied()

    def _show(self) -> None:
        """Keep pictures of some samples of the last batch, if the objective draws any."""
        last = self.meter.batch
        if last is None:
            return
        with self._fabric.autocast():
            found = self._objective.reconstruct(Batch(last.image[:PICTURES], seed=last.seed))
        if found:
            self._journal.picture(self.step, "reconstruction", *found.values())

    def _keep_best(self) -> None:
        score = next(iter(self._fresh.values()), math.nan)
        if not math.isfinite(score) or (self._best is not None and score <= self._best):
            return
        self._best, self._best_step = float(score), self.step
        if self._saver is not None:
            self._saver.wait()
            self._save_model()

    def _save_model(self) -> None:
        facts = {"step": self.step, "metrics": self._metrics}
        if self._saver is not None:
            self._saver.model(weights_of(self._objective), facts)

    def _state(self) -> dict[str, Any]:
        """Everything but tensors that a resumed run needs."""
        return {
            "best": self._best,
            "best_step": self._best_step,
            "metrics": self._metrics,
            "averaged": 0 if self._ema is None else self._ema.updates,
            "scaler": self._fabric.strategy.precision.state_dict(),
            "guard": self.guard.state(),
            "plan": asdict(self._plan),
        }

    def _restore(self, snapshot: Snapshot) -> None:
        state = snapshot.state
        self.step = snapshot.step
        self._best, self._best_step = state["best"], state["best_step"]
        self._metrics = state["metrics"]
        unpack_optimizer(
            self._objective, self._optimizer, snapshot.tensors["optimizer"], source=snapshot.path
        )
        self._fabric.strategy.precision.load_state_dict(state["scaler"])
        self.guard.restore(state["guard"])
        if self._ema is not None and "average" in snapshot.tensors:
            self._ema.restore(dict(snapshot.tensors["average"]), state["averaged"])
        changed = [
            f"{name} {state['plan'].get(name)} -> {value}"
            for name, value in asdict(self._plan).items()
            if state["plan"].get(name) != value
        ]
        self._say(
            f"Going on from step {self.step} ({snapshot.path})."
            + (f" Changed since: {', '.join(changed)}." if changed else "")
        )


def clip(model: nn.Module, stepper: Any, *, fabric: Fabric, most: float | None) -> Tensor:
    """Norm of the gradients before they are scaled down to ``most``; None only measures."""
    norm = fabric.clip_gradients(
        model,
        stepper,
        max_norm=math.inf if most is None else most,
        error_if_nonfinite=False,
    )
    if norm is None:
        raise TypeError("The strategy gave no gradient norm.")
    return norm


def agree(code: int, fabric: Fabric, *, step: int, steps: int) -> int:
    """The exit code that any process was asked for; 0 goes on."""
    if fabric.world_size == 1:
        return code
    if step % _AGREE_EVERY and step != steps:
        return 0
    asked = torch.tensor(float(code), device=fabric.device)
    return int(largest(asked, fabric).item())


def largest(value: Tensor, fabric: Fabric) -> Tensor:
    """The largest ``value`` of all processes."""
    return cast("Tensor", fabric.all_reduce(value, reduce_op="max"))


@contextmanager
def explained(meter: Meter) -> Generator[None, None, None]:
    """Says what to do where memory is short."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"Expected memory for batches of shape {meter.shape}, found too little "
            f"({str(error).splitlines()[0]}). Halve train.batch_size and double train.accumulate, "
            "which trains the same, or make data.crop smaller."
        ) from error


def _mean(values: list[Tensor]) -> float:
    if not values:
        return math.nan
    stacked = torch.stack(values)
    return float(torch.where(torch.isfinite(stacked), stacked, torch.nan).nanmean())

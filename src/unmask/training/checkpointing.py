"""Snapshots and model files of a training, and the way back from them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from unmask.checkpoint import Snapshot, load_weights
from unmask.models.base import Objective
from unmask.training.saving import RunFolder, Saver, pack_optimizer, unpack_optimizer, weights_of
from unmask.training.setup import Setup
from unmask.training.validation import Validation


def open_run(
    run: RunFolder | None, objective: Objective, say: Callable[[str], None]
) -> Snapshot | None:
    """The snapshot to resume from, with its weights put into the objective; None: a new run.

    Raises:
        CheckpointError: the folder holds another run, or only damaged snapshots.
    """
    snapshot = None if run is None else run.start(say)
    if snapshot is not None:
        load_weights(objective, snapshot.tensors["model"], source=snapshot.path)
    return snapshot


class Checkpointing:
    """Writes snapshots and the best model while training continues."""

    def __init__(self, setup: Setup, validation: Validation, run: RunFolder | None) -> None:
        self._setup, self._validation, self._run = setup, validation, run
        self._saver: Saver | None = None

    @contextmanager
    def active(self) -> Generator[None, None, None]:
        """Files are written in the background inside the block; all are on the disk after it."""
        if self._run is None or not self._setup.fabric.is_global_zero:
            yield
            return
        self._saver = Saver(self._run)
        try:
            yield
            self._saver.wait()
        finally:
            self._saver.close()

    def save_model(self, step: int, metrics: Mapping[str, float]) -> None:
        """Save the weights as they are now as the run's model."""
        if self._saver is None:
            return
        self._saver.wait()
        weights = weights_of(self._setup.objective.finished)
        self._saver.model(weights, self._facts(step, metrics))

    def save(self, step: int, *, now: bool) -> None:
        """Save a snapshot if it is due; the latest weights are the model until one is the best."""
        setup, plan = self._setup, self._setup.plan
        self._keep_validated(step)
        if self._saver is None or not (now or plan.is_due(step, plan.save_every)):
            return
        self._saver.wait()
        if self._validation.best is None:
            self._validation.best_step = step
            with setup.averaged_weights():
                self.save_model(step, self._validation.metrics)
        tensors = {
            "model": weights_of(setup.objective),
            "optimizer": pack_optimizer(setup.objective, setup.optimizer),
        }
        if setup.average is not None:
            tensors["average"] = setup.average.weights
        # Everything but tensors that a resumed run needs.
        state = {
            **self._validation.state(),
            "averaged": 0 if setup.average is None else setup.average.updates,
            "scaler": setup.fabric.strategy.precision.state_dict(),
            "guard": setup.guard.state(),
            "plan": asdict(plan),
        }
        self._saver.snapshot(step, tensors, state, keep=plan.keep)
        if now:
            self._saver.wait()

    def _keep_validated(self, step: int) -> None:
        """Write the validated model, if the run keeps the model of every validation."""
        setup, run = self._setup, self._run
        due = setup.plan.is_due(step, setup.plan.validate_every)
        if self._saver is None or run is None or not (run.keep_models and due):
            return
        self._saver.wait()
        with setup.averaged_weights():
            facts = self._facts(step, self._validation.metrics)
            path = run.validated_model(step)
            self._saver.model(weights_of(setup.objective.finished), facts, path)

    def _facts(self, step: int, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Step and scores for the card of a model; scores only if this run has measured them."""
        found = {"step": step, "metrics": dict(metrics)}
        given = None if self._run is None else self._run.card.get("metrics")
        return found if metrics or given is None else {"step": step}

    def restore(self, snapshot: Snapshot | None) -> int:
        """Put all of a snapshot but its weights in place; the step it was saved at, 0 without."""
        step = 0 if snapshot is None else self._restore(snapshot)
        if self._setup.fabric.is_global_zero:
            self._setup.journal.resume(step)
        self._setup.objective.train()
        return step

    def _restore(self, snapshot: Snapshot) -> int:
        setup, state = self._setup, snapshot.state
        self._validation.restore(state)
        moments = snapshot.tensors["optimizer"]
        unpack_optimizer(setup.objective, setup.optimizer, moments, source=snapshot.path)
        setup.fabric.strategy.precision.load_state_dict(state["scaler"])
        setup.guard.restore(state["guard"])
        if setup.average is not None and "average" in snapshot.tensors:
            setup.average.restore(dict(snapshot.tensors["average"]), state["averaged"])
        changed = [
            f"{name} {state['plan'][name]} -> {value}"
            for name, value in asdict(setup.plan).items()
            # Snapshots of earlier versions have fewer values.
            if state["plan"].get(name, value) != value
        ]
        setup.say(
            f"Going on from step {snapshot.step} ({snapshot.path})."
            + (f" Changed since: {', '.join(changed)}." if changed else "")
        )
        return snapshot.step

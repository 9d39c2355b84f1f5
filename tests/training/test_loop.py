import json
import math
import signal
import threading
import warnings
from contextlib import nullcontext
from itertools import count

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from PIL import Image
from torch import nn

from unmask.checkpoint import load_model, load_snapshot
from unmask.errors import CheckpointError, DataError
from unmask.interruption import stop_on
from unmask.models.base import Objective, Step
from unmask.optim import adamw
from unmask.space.batch import Batch
from unmask.training import Journal, Plan, RunFolder, TrainingError, fit, make_fabric


class Line(Objective):
    """A layer with batch norm that learns y = 3 x; ``spoil`` spoils the loss of some calls."""

    def __init__(self, *, spoil=(), by=math.nan, where="loss"):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.calls, self.updates, self.modes, self.shown = 0, 0, [], []
        self.spoil, self.by, self.where = spoil, by, where

    def step(self, batch: Batch) -> Step:
        self.calls += 1
        image = batch.image
        if self.calls - 1 in self.spoil and self.where == "image":
            image = image * self.by
        self.norm(image)
        difference = self.layer(image) - 3 * batch.image
        loss = difference.square().mean()
        if self.calls - 1 in self.spoil and self.where == "loss":
            loss = loss * self.by
        return Step(loss, {"error": difference.abs().mean()})

    def reconstruct(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.shown.append((self.training, torch.is_grad_enabled(), len(batch.image)))
        return {"original": batch.image, "rebuilt": self.layer(batch.image) / 3}

    def after_update(self) -> None:
        self.updates += 1


def batches(start):
    for number in count(start):
        drawn = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(number))
        yield Batch(drawn)


def train(objective, plan, folder=None, *, optimizer=None, precision="32", **more):
    with Journal(folder, steps=plan.steps, tensorboard=False, quiet=True) as journal:
        return fit(
            objective,
            more.pop("batches", batches),
            fabric=make_fabric(1, precision, "cpu"),
            optimizer=optimizer or adamw([{"params": list(objective.parameters())}]),
            plan=plan,
            journal=journal,
            run=None if folder is None else RunFolder(folder, {"recipe": {"name": "line"}}),
            **more,
        )


def records(folder):
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_it_learns_and_keeps_a_journal(tmp_path):
    objective = Line()
    summary = train(objective, Plan(steps=200, lr=0.1, warmup=10), tmp_path)
    assert summary.loss < 1e-2
    assert summary.step == summary.best_step == 200
    assert summary.best is None
    assert objective.layer.weight.item() == pytest.approx(3, abs=0.05)
    assert objective.updates == 200
    found = records(tmp_path)
    assert [record["step"] for record in found] == list(range(10, 201, 10))
    assert {"loss", "lr", "gradient_norm", "samples_per_second", "error"} <= found[0].keys()
    model = load_model(tmp_path)
    assert model.card["recipe"] == {"name": "line"}
    assert model.card["step"] == 200
    assert torch.equal(model.weights["layer.weight"], objective.layer.weight.detach())


def test_accumulation_equals_one_large_batch():
    class Free(Line):
        def step(self, batch):
            return Step((self.layer(batch.image) - batch.image).square().mean())

    def large(start):
        for number in count(start):
            pair = [next(batches(2 * number)), next(batches(2 * number + 1))]
            yield Batch(torch.cat([batch.image for batch in pair]))

    torch.manual_seed(0)
    one, two = Free(), Free()
    two.load_state_dict(one.state_dict())
    train(one, Plan(steps=20, lr=0.1), batches=large)
    train(two, Plan(steps=20, lr=0.1, accumulate=2))
    torch.testing.assert_close(one.layer.weight, two.layer.weight, atol=1e-5, rtol=0)


def test_processes_wait_for_each_other_in_the_last_of_accumulated_batches(monkeypatch):
    skipped = []

    def note(_fabric, _model, *, enabled=True):
        skipped.append(enabled)
        return nullcontext()

    monkeypatch.setattr(Fabric, "no_backward_sync", note)
    train(Line(), Plan(steps=2, lr=0.1, accumulate=3))
    assert skipped == 2 * [True, True, False]


def test_the_gradient_is_clipped_and_its_norm_told(tmp_path):
    objective = Line()
    before = objective.layer.weight.item()
    optimizer = torch.optim.SGD(objective.parameters(), lr=1.0)
    plan = Plan(steps=1, lr=1.0, clip=1e-3, log_every=1)
    train(objective, plan, tmp_path, optimizer=optimizer)
    assert abs(objective.layer.weight.item() - before) < 1.001e-3
    assert records(tmp_path)[0]["gradient_norm"] > 0.01


def test_groups_keep_their_share_of_the_rate():
    objective = Line()
    groups = [
        {"params": [objective.layer.weight], "scale": 1.0},
        {"params": [objective.layer.bias], "scale": 0.0},
    ]
    assert objective.layer.bias is not None
    bias = objective.layer.bias.item()
    train(objective, Plan(steps=5, lr=0.1), optimizer=torch.optim.SGD(groups, lr=9.0))
    assert objective.layer.bias.item() == bias


@pytest.mark.parametrize("by", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "image"])
def test_bad_steps_are_skipped(tmp_path, by, where):
    """Row 12 of docs/reliability.md: a bad step leaves weights, moments and batch norm alone."""
    objective = Line(spoil={3, 4, 7}, by=by, where=where)
    torch.manual_seed(0)
    seen = []
    optimizer = adamw([{"params": list(objective.parameters())}])
    before = objective.after_update

    def watch():
        seen.append(objective.calls - 1)
        before()

    objective.after_update = watch
    plan = Plan(steps=10, lr=0.1, bad_steps=3, log_every=2)
    train(objective, plan, tmp_path, optimizer=optimizer)
    assert seen == [0, 1, 2, 5, 6, 8, 9]
    assert all(torch.isfinite(tensor).all() for tensor in objective.state_dict().values())
    assert objective.norm.num_batches_tracked == 7
    assert optimizer.state[objective.layer.weight]["step"] == 7
    found = records(tmp_path)
    assert [record.get("skipped", 0) for record in found] == [0, 1, 2, 3, 3]
    assert all(record["loss"] is not None for record in found)
    assert load_snapshot(tmp_path) is not None


@pytest.mark.parametrize(("limit", "last"), [(0, 3), (1, 3), (3, 5)])
def test_too_many_bad_steps_end_the_run(tmp_path, limit, last):
    objective = Line(spoil=range(2, 99))
    plan = Plan(steps=50, lr=0.1, bad_steps=limit, save_every=1)
    with pytest.raises(TrainingError, match=rf"step {last}: .*train\.lr"):
        train(objective, plan, tmp_path)
    snapshot = load_snapshot(tmp_path)
    assert snapshot is not None
    assert all(torch.isfinite(t).all() for t in snapshot.tensors["model"].values())


def test_the_best_model_is_kept_and_evaluated_with_averages(tmp_path):
    objective = Line()
    scores = iter([0.3, 0.9, math.nan, 0.5])
    seen = []

    def validate(shown):
        seen.append((shown.training, torch.is_grad_enabled(), shown.layer.weight.item()))
        return {"dice": next(scores), "iou": 0.0}

    plan = Plan(steps=20, lr=0.1, ema=0.9, validate_every=5, save_every=5)
    summary = train(objective, plan, tmp_path, validate=validate)
    assert (summary.best, summary.best_step) == (0.9, 10)
    assert summary.metrics == {"dice": 0.5, "iou": 0.0}
    model = load_model(tmp_path)
    assert model.card["step"] == 10
    assert model.card["metrics"]["dice"] == 0.9
    assert model.weights["layer.weight"].item() == seen[1][2]
    assert all(state[:2] == (False, False) for state in seen)
    assert objective.training
    assert seen[-1][2] != objective.layer.weight.item()
    found = {r["step"]: r["validation/dice"] for r in records(tmp_path) if "validation/dice" in r}
    assert found == {5: 0.3, 10: 0.9, 15: None, 20: 0.5}
    assert objective.shown == [(False, False, 4)] * 4
    with Image.open(tmp_path / "pictures" / "step-0000020-reconstruction.png") as picture:
        assert picture.size == (4 * 5, 2 * 5)


def test_pictures_without_a_validation_change_nothing(tmp_path):
    pictures = tmp_path / "shown" / "pictures"
    with_pictures, without = Line(), Line()
    without.load_state_dict(with_pictures.state_dict())
    train(with_pictures, Plan(steps=6, lr=0.1, validate_every=3), tmp_path / "shown")
    train(without, Plan(steps=6, lr=0.1, validate_every=0))
    assert sorted(path.name for path in pictures.iterdir()) == [
        "step-0000003-reconstruction.png",
        "step-0000006-reconstruction.png",
    ]
    for name, tensor in without.state_dict().items():
        assert torch.equal(with_pictures.state_dict()[name], tensor)


def test_initial_weights_that_are_better_than_any_update_are_the_model(tmp_path):
    objective, scores = Line(), iter([0.9, 0.3, 0.5])
    first = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    plan = Plan(steps=4, lr=0.1, ema=0.9, validate_every=2, validate_first=True)
    summary = train(objective, plan, tmp_path, validate=lambda _: {"dice": next(scores)})
    assert (summary.best, summary.best_step) == (0.9, 0)
    model = load_model(tmp_path)
    assert model.card["step"] == 0
    assert all(torch.equal(model.weights[name], tensor) for name, tensor in first.items())
    found = [(r["step"], r["validation/dice"]) for r in records(tmp_path) if "validation/dice" in r]
    assert found == [(0, 0.9), (2, 0.3), (4, 0.5)]


def test_a_run_that_begins_again_validates_its_initial_weights_again(tmp_path):
    plan = Plan(steps=4, lr=0.1, validate_every=2, validate_first=True)

    def fail(_):
        yield from ()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Line(), plan, tmp_path, batches=fail, validate=lambda _: {"dice": 0.4})
    train(Line(), plan, tmp_path, validate=lambda _: {"dice": 0.4})
    found = [r["step"] for r in records(tmp_path) if "validation/dice" in r]
    assert found == [0, 2, 4]


def test_validation_only_at_the_end(tmp_path):
    calls = []
    plan = Plan(steps=7, lr=0.1, validate_every=0, validate_first=True)
    train(Line(), plan, tmp_path, validate=lambda shown: calls.append(1) or {"x": 1.0})
    assert calls == [1]


def test_dropout_depends_on_the_step_alone():
    class Noisy(Line):
        def step(self, batch):
            self.drawn = [*getattr(self, "drawn", []), torch.rand(()).item()]
            return super().step(batch)

    first, second = Noisy(), Noisy()
    train(first, Plan(steps=4, lr=0.1))
    torch.manual_seed(99)
    train(second, Plan(steps=4, lr=0.1), validate=lambda _: {"x": torch.rand(3)[0].item()})
    assert first.drawn == second.drawn
    assert len(set(first.drawn)) == 4


def test_batches_that_end_are_told():
    three = [Batch(torch.ones(1, 1, 2, 2))] * 3
    with pytest.raises(TrainingError, match="Step 3: expected batches for 9 steps"):
        train(Line(), Plan(steps=9, lr=0.1), batches=lambda start: iter(three))


def test_short_memory_is_told():
    class Big(Line):
        def step(self, batch):
            raise torch.OutOfMemoryError("tried to allocate 5 GiB")

    with pytest.raises(TrainingError, match=r"\(4, 1, 5, 5\).*5 GiB.*accumulate"):
        train(Big(), Plan(steps=9, lr=0.1))


def test_another_network_cannot_resume(tmp_path):
    train(Line(), Plan(steps=2, lr=0.1), tmp_path)
    other = Line()
    other.layer = nn.Conv2d(1, 2, 1)
    with Journal(None, steps=4, quiet=True) as journal, pytest.raises(CheckpointError, match="fit"):
        fit(
            other,
            batches,
            fabric=make_fabric(1, "32", "cpu"),
            optimizer=adamw([{"params": list(other.parameters())}]),
            plan=Plan(steps=4, lr=0.1),
            journal=journal,
            run=RunFolder(tmp_path, resume=True),
        )


def test_a_longer_plan_goes_on_and_says_what_changed(tmp_path, capsys):
    train(Line(), Plan(steps=4, lr=0.1), tmp_path)
    objective = Line()
    with Journal(tmp_path, steps=6, tensorboard=False) as journal:
        summary = fit(
            objective,
            batches,
            fabric=make_fabric(1, "32", "cpu"),
            optimizer=adamw([{"params": list(objective.parameters())}]),
            plan=Plan(steps=6, lr=0.2),
            journal=journal,
            run=RunFolder(tmp_path, resume=True),
        )
    assert summary.step == 6
    assert objective.calls == 2
    text = " ".join(capsys.readouterr().err.split())
    assert "steps 4 -> 6, lr 0.1 -> 0.2" in text


def test_targets_keep_their_bits_in_half_precision():
    seen = {}

    class Look(Line):
        def step(self, batch):
            out = self.layer(batch.image)
            assert batch.values is not None
            seen.update(values=batch.values.dtype, image=batch.image.dtype, out=out.dtype)
            return Step((out.float() - batch.values).square().mean())

    def pairs(start):
        for batch in batches(start):
            yield Batch(batch.image, values=3 * batch.image)

    train(Look(), Plan(steps=2, lr=0.1), precision="bf16", batches=pairs)
    assert seen == {"values": torch.float32, "image": torch.float32, "out": torch.bfloat16}


def test_a_request_that_a_callback_has_lost_ends_the_run_before_its_first_step():
    event = threading.Event()
    event.set()
    objective = Line()
    with stop_on(event), pytest.raises(KeyboardInterrupt):
        train(objective, Plan(steps=2, lr=0.1))
    assert objective.calls == 0


def test_signal_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(Line(), Plan(steps=1, lr=0.1))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_later_steps_hold_no_more_memory():
    """Row 42 of docs/reliability.md, for the loop itself: no tensor is kept from step to step."""
    import gc

    def tensors():
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())

    objective, counts = Line(), []

    def validate(_):
        counts.append(tensors())
        return {"x": 0.0}

    train(objective, Plan(steps=150, lr=0.1, validate_every=50), validate=validate)
    assert counts[-1] <= counts[0] + 2


def test_weight_decay_has_a_cosine_of_its_own(tmp_path):
    """Half-way between start and end in the middle, the multiple at the end; none stays none."""
    plan = Plan(steps=5, lr=0.1, warmup=2, final_weight_decay=5.0, save_every=1)
    found = []

    class Spy(torch.optim.AdamW):
        def step(self, closure=None):
            found.append([group["weight_decay"] for group in self.param_groups])
            return super().step(closure)

    def optimizer(objective):
        layer = objective.layer
        decayed = {"params": [layer.weight], "weight_decay": 0.04}
        return Spy([decayed, {"params": [layer.bias], "weight_decay": 0.0}], lr=1.0)

    whole = Line()
    train(whole, plan, optimizer=optimizer(whole))
    assert [decay for _, decay in found] == [0.0] * 5
    rising = [0.04, 0.04 + 0.16 * (1 - math.cos(math.pi / 4)) / 2, 0.12]
    assert [decay for decay, _ in found[:3]] == pytest.approx(rising)
    assert found[-1][0] == pytest.approx(0.2)


def test_an_error_ends_the_stream_of_batches():
    """Left to the garbage collector, its threads would end in whichever thread it runs in."""
    ended = []

    def stream(start):
        try:
            yield from batches(start)
        finally:
            ended.append(threading.current_thread())

    def validate(_):
        raise DataError("a file is gone")

    with pytest.raises(DataError) as error:
        train(Line(), Plan(steps=4, lr=0.1, validate_every=2), batches=stream, validate=validate)
    # The traceback still holds the frames, and the generator in them.
    assert error.tb
    assert ended == [threading.current_thread()]


def test_float16_scales_its_loss_and_skips_steps_that_overflow(tmp_path):
    """Fabric itself refuses to clip for fused optimizers in float16."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=999)
    precision = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[precision])
    objective = Line()
    before = objective.layer.weight.item()
    optimizer = adamw([{"params": list(objective.parameters())}])
    plan = Plan(steps=60, lr=0.1, bad_steps=50, log_every=60)
    with Journal(tmp_path, steps=60, tensorboard=False, quiet=True) as journal:
        summary = fit(
            objective, batches, fabric=fabric, optimizer=optimizer, plan=plan, journal=journal
        )
    (line,) = records(tmp_path)
    assert 0 < line["skipped"] < 50
    assert scaler.get_scale() < 2.0**24
    assert objective.updates + line["skipped"] == 60
    assert math.isfinite(summary.loss)
    assert objective.layer.weight.item() != before

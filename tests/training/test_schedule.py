"""The learning rate over time, in closed form."""

from __future__ import annotations

import json
from itertools import pairwise
from math import cos, pi

import pytest
import torch
from torch import nn

from unmask.training import Plan, schedule
from unmask.training.update import set_rates


def test_schedule_equals_the_published_one(golden):
    """SparK's learning rates at given iterations (start 0.005, end 0.001 of the peak)."""
    values = json.loads((golden / "spark" / "manifest.json").read_text())["schedule"]["values"]
    for value in values:
        factor = schedule(
            value["iter"], steps=value["max_iters"], warmup=int(value["warmup_iters"]), final=0.001
        )
        assert factor * value["peak_lr"] == pytest.approx(value["lr"], rel=1e-9)


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 0), (1, 1), (2, 1), (10, 10), (10, 20), (100, 7)]
)
def test_schedule_stays_between_0_and_1(steps, warmup):
    factors = [schedule(s, steps=steps, warmup=warmup, final=0.1) for s in range(steps + 5)]
    assert all(0 < factor <= 1 for factor in factors)
    assert warmup >= steps or factors[warmup] == 1 or steps - warmup == 1
    falling = factors[warmup:]
    assert all(a >= b for a, b in pairwise(falling))


def test_every_update_in_closed_form():
    """Warm-up from 0.005, the peak after it, then equal steps of half a cosine."""
    warmup = [0.005, 0.005 + 0.995 / 2]
    falling = [0.1 + 0.9 * (1 + cos(pi * n / 4)) / 2 for n in range(5)]
    found = [schedule(step, steps=7, warmup=2, final=0.1) for step in range(7)]
    assert found == pytest.approx(warmup + falling, abs=1e-12)


@pytest.mark.parametrize(("steps", "warmup"), [(2, 0), (5, 2), (100, 10)])
def test_the_last_update_runs_at_the_final_factor(steps, warmup):
    factors = [schedule(s, steps=steps, warmup=warmup, final=0.1) for s in range(steps + 3)]
    assert factors[warmup] == 1.0
    assert factors[steps - 1] == pytest.approx(0.1, abs=1e-12)
    assert factors[steps - 2] > factors[steps - 1]
    # An update too many, for example after a resumed run was made longer, never rises again.
    assert factors[steps:] == [factors[steps - 1]] * 3


def test_the_cosine_in_closed_form():
    factors = [schedule(s, steps=5, warmup=0) for s in range(5)]
    half = 2**-0.5 / 2
    assert factors == pytest.approx([1.0, 0.5 + half, 0.5, 0.5 - half, 0.0], abs=1e-12)
    warm = [schedule(s, steps=9, warmup=4, start=0.2) for s in range(5)]
    assert warm == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_cosine_that_rises_again():
    factors = [schedule(s, steps=400, warmup=0, final=0.25, period=100) for s in range(401)]
    assert factors[0] == factors[200] == factors[400] == 1
    assert factors[100] == factors[300] == 0.25
    assert factors[50] == pytest.approx(0.625)
    assert all(a >= b for a, b in pairwise(factors[:101]))
    assert all(a <= b for a, b in pairwise(factors[100:201]))
    # A run shorter than the period ends on the way down.
    assert schedule(49, steps=50, warmup=0, period=100) == pytest.approx(0.5, abs=0.02)
    # PyTorch's own, which the published runs used once an epoch.
    peak = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2e-5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(peak, T_max=100, eta_min=1e-7)
    for step in range(0, 200):
        rate = schedule(step, steps=200, warmup=0, final=1e-7 / 2e-5, period=100)
        assert 2e-5 * rate == pytest.approx(peak.param_groups[0]["lr"], rel=1e-6)
        peak.step()
        cosine.step()


def test_rates_and_weight_decay_of_the_last_update():
    net = nn.Linear(2, 2)
    groups = [
        {"params": [net.weight], "weight_decay": 0.2, "scale": 0.5},
        {"params": [net.bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    plan = Plan(steps=5, lr=0.8, warmup=2, final_lr=0.25, final_weight_decay=3.0)
    assert [set_rates(optimizer, plan, step) for step in (2, 4)] == pytest.approx([0.8, 0.2])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.2])
    assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx([0.6, 0.0])
    set_rates(optimizer, plan, 2)
    # Half of the decay's cosine, which has no warm-up, from 1 to 3 times.
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.4)

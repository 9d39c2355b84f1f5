import pytest
import torch
from torch import nn

from unmask.optim import adamw
from unmask.optim.muon import Muon
from unmask.optim.standard import lamb
from unmask.training.guard import Guard, skips_on_device
from unmask.training.setup import prepare_for_device


def test_the_deferred_way_skips_on_the_device():
    """What CUDA does without waiting, forced on the CPU: the same kernel decides."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.BatchNorm1d(3))
    optimizer = adamw([{"params": list(net.parameters())}])
    guard = Guard(net, optimizer, limit=5, deferred=True)
    for number in range(6):
        guard.before()
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        optimizer.zero_grad()
        loss = net(torch.randn(4, 3)).square().sum() * (float("nan") if number in {2, 3} else 1)
        loss.backward()
        assert guard.step(optimizer, ~torch.isfinite(loss.detach()))
        changed = any(not torch.equal(before[k], p) for k, p in net.named_parameters())
        assert changed == (number not in {2, 3})
    assert guard.skipped() == 2
    assert all(torch.isfinite(tensor).all() for tensor in net.state_dict().values())
    assert optimizer.state[layer.weight]["step"] == 4
    guard.check(6, now=True)


def test_counters_survive_a_resume():
    net = nn.Linear(1, 1)
    guard = Guard(net, torch.optim.SGD(net.parameters(), lr=0.1), limit=3)
    guard.step(torch.optim.SGD(net.parameters(), lr=0.1), torch.tensor(True))
    other = Guard(net, torch.optim.SGD(net.parameters(), lr=0.1), limit=3)
    other.restore(guard.state())
    assert other.state() == {"streak": 1.0, "total": 1.0}


@pytest.mark.parametrize("make", [adamw, lamb, Muon])
def test_every_optimizer_skips_on_the_device(make):
    """Weights and moments stay as they are; the next good step is that of a run without the bad."""
    nets = [nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [make([{"params": list(net.parameters())}]) for net in nets]
    guards = [
        Guard(net, optimizer, limit=9, deferred=number == 0)
        for number, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True))
    ]
    for number in range(4):
        image = torch.randn(4, 16)
        for net, optimizer, guard in zip(nets, optimizers, guards, strict=True):
            optimizer.zero_grad()
            net(image).square().sum().backward()
            bad = torch.tensor(float(number == 1))
            if number == 1:
                gradient = next(net.parameters()).grad
                assert gradient is not None
                gradient[0, 0] = float("nan")
            guard.before()
            guard.step(optimizer, bad)
    for one, two in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        # LAMB and Muon count the skipped step on the host, which corrects the start of moments.
        torch.testing.assert_close(one, two, rtol=0.02, atol=2e-4)
    first, second = (optimizer.state for optimizer in optimizers)
    for one, two in zip(first.values(), second.values(), strict=True):
        for key in one.keys() - {"step"}:
            torch.testing.assert_close(one[key], two[key], rtol=0.02, atol=2e-4)


def test_statistics_of_a_spoiled_pass_are_put_back_at_the_next_look():
    norm = nn.BatchNorm1d(2)
    net = nn.Sequential(nn.Linear(2, 2), norm)
    optimizer = adamw([{"params": list(net.parameters())}])
    guard = Guard(net, optimizer, limit=9, deferred=True)
    assert norm.running_mean is not None
    net(torch.randn(4, 2))
    guard.settle()
    kept = norm.running_mean.clone()
    net(torch.full((4, 2), float("nan")))
    assert not torch.isfinite(norm.running_mean).any()
    guard.settle()
    assert torch.equal(norm.running_mean, kept)


def test_only_a_gpu_decides_by_itself():
    net = nn.Linear(1, 1)
    assert not Guard(net, adamw([{"params": list(net.parameters())}]), limit=1).deferred
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    assert not skips_on_device(sgd)
    prepare_for_device(net, sgd, torch.device("cuda"))
    assert skips_on_device(sgd)

import torch
from torch import nn

from unmask.optim import adamw
from unmask.training.guard import Guard


def test_the_deferred_way_skips_on_the_device():
    """What CUDA does without waiting, forced on the CPU: the same kernel decides."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.BatchNorm1d(3))
    optimizer = adamw([{"params": list(net.parameters())}])
    guard = Guard(net, optimizer, limit=5)
    guard.deferred = True
    for number in range(6):
        guard.before()
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        optimizer.zero_grad()
        loss = net(torch.randn(4, 3)).square().sum() * (float("nan") if number in {2, 3} else 1)
        loss.backward()
        assert guard.step(optimizer, ~torch.isfinite(loss.detach()))
        changed = any(not torch.equal(before[k], v) for k, v in net.state_dict().items())
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

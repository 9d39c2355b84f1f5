"""Averaged weights."""

from __future__ import annotations

import torch
from torch import nn

from unmask.training import Average


def test_average_follows_parameters_and_all_buffers():
    conv, norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)
    net = nn.Sequential(conv, norm)
    average = Average(net, decay=0.5)
    start = average.weights["0.weight"].clone()
    net(torch.randn(4, 1, 3, 3))
    with torch.no_grad():
        conv.weight += 1
    average.update()
    # early on the decay is (1 + 1) / (10 + 1)
    torch.testing.assert_close(average.weights["0.weight"], start + 1 - 2 / 11)
    assert average.weights.keys() == net.state_dict().keys()
    assert torch.equal(average.weights["1.running_mean"], net.state_dict()["1.running_mean"])
    assert average.weights["1.num_batches_tracked"] == 1
    live = conv.weight.detach().clone()
    with average.applied():
        assert torch.equal(conv.weight, average.weights["0.weight"])
    assert torch.equal(conv.weight, live)

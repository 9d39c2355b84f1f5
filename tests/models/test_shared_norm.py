"""Batch norms that share statistics: two processes are as one, in values and gradients."""

import copy
import threading
from typing import Any

import pytest
import torch
from torch import nn

from unmask.models import sparse
from unmask.models.shared_norm import share_statistics
from unmask.models.sparse import Visible, mask_network


class Processes:
    """Two threads whose sums meet, in place of a process group."""

    def __init__(self):
        self.barrier = threading.Barrier(2, timeout=20)
        self.values: dict[int, torch.Tensor] = {}
        self.number = threading.local()

    def sum(self, value):
        self.values[self.number.value] = value
        self.barrier.wait()
        total = self.values[0] + self.values[1]
        self.barrier.wait()
        return total

    def run(self, work):
        results: list[Any] = [None, None]
        errors: list[BaseException] = []

        def one(number):
            self.number.value = number
            try:
                results[number] = work(number)
            except BaseException as error:  # noqa: BLE001 - raised below
                self.barrier.abort()
                errors.append(error)

        threads = [threading.Thread(target=one, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results


def normalized(layer, image, mask):
    """Values, gradient and running mean of a layer on a batch."""
    image = image.clone().requires_grad_()
    # The gradient is taken in the thread of its process, as in processes of their own.
    form = layer if mask is None else mask_network(layer, Visible(mask))
    with torch.autograd.set_multithreading_enabled(False):
        found = form(image)
        (found.sin() * torch.arange(found.numel()).view(found.shape).cos()).sum().backward()
    return found.detach(), image.grad, layer.running_mean.clone()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("hidden", [False, True])
def test_two_processes_are_one(ndim, hidden, monkeypatch):
    torch.manual_seed(0)
    layer = getattr(nn, f"BatchNorm{ndim}d")(3)
    nn.init.normal_(layer.weight)
    image = torch.randn(2, 3, *(4,) * ndim) * 3 + 1
    mask = (torch.rand(2, 1, *(4,) * ndim) > 0.4).float() if hidden else None
    image = image if mask is None else image * mask
    whole = copy.deepcopy(layer)
    # The loss of each half has weights of its own, which count from 0 in either process
    image = image.requires_grad_()
    form = whole if mask is None else mask_network(whole, Visible(mask))
    found = form(image)
    weights = torch.arange(found[:1].numel()).view(found[:1].shape).cos()
    (found.sin() * weights).sum().backward()
    assert share_statistics(layer) == 1
    assert isinstance(layer, getattr(nn, f"BatchNorm{ndim}d"))
    assert list(layer.state_dict()) == list(whole.state_dict())
    processes = Processes()
    monkeypatch.setattr(sparse, "sum_processes", processes.sum)

    def work(number):
        part = slice(number, number + 1)
        own = None if mask is None else mask[part]
        return normalized(copy.deepcopy(layer), image.detach()[part], own)

    assert image.grad is not None
    for number, (values, gradient, mean) in enumerate(processes.run(work)):
        torch.testing.assert_close(values[0], found.detach()[number], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(gradient[0], image.grad[number], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(mean, whole.running_mean)


def test_alone_it_is_a_batch_norm():
    layer = nn.BatchNorm2d(2)
    image = torch.randn(3, 2, 5, 4)
    expected = copy.deepcopy(layer)(image)
    share_statistics(layer)
    torch.testing.assert_close(layer(image), expected)
    layer.eval()
    torch.testing.assert_close(layer(image), nn.BatchNorm2d.forward(layer, image))

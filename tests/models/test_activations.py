"""Mish, alone and behind a batch norm."""

import pytest
import torch
import torch.nn.functional as F

from unmask.models import activations
from unmask.models.activations import Mish, activate_mish, normed_mish


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("last", [True, False])
def test_inference_equals_torch(dtype, last):
    image = (torch.randn(2, 6, 50, 300) * 40).to(dtype)
    if last:
        image = image.contiguous(memory_format=torch.channels_last)
    expected = F.mish(image.double())
    with torch.no_grad():
        found = Mish()(image.clone())
    assert found.dtype == dtype
    close = torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, atol=2 * close, rtol=2 * close)


def test_training_keeps_the_input_and_its_gradient():
    image = torch.randn(1, 2, 4, 4, requires_grad=True)
    before = image.detach().clone()
    Mish()(image).sum().backward()
    assert torch.equal(image.detach(), before)
    with torch.enable_grad():
        expected = torch.autograd.grad(F.mish(image).sum(), image)[0]
    torch.testing.assert_close(image.grad, expected)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_behind_a_norm(train, grad):
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm3d(5)
    with torch.no_grad():
        for value in (norm.weight, norm.bias, norm.get_buffer("running_mean")):
            value.normal_()
    norm.train(train)
    image = torch.randn(2, 5, 4, 6, 7).contiguous(memory_format=torch.channels_last_3d)
    with torch.set_grad_enabled(grad):
        expected = F.mish(norm(image))
        torch.testing.assert_close(normed_mish(norm, image.clone()), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["first", "last", "sparse"])
def test_training_equals_torch_in_parts(monkeypatch, dtype, layout):
    monkeypatch.setattr(activations, "_CHUNK", 1000)
    torch.manual_seed(0)
    image = (torch.randn(2, 6, 20, 30) * 15).to(dtype)
    if layout == "last":
        image = image.contiguous(memory_format=torch.channels_last)
    elif layout == "sparse":
        image = image[..., ::2]
    change = torch.randn(image.shape)
    found, expected = image.clone(), image.double()
    found.requires_grad_()
    expected.requires_grad_()
    result, wanted = activate_mish(found), F.mish(expected)
    result.backward(change.to(dtype))
    wanted.backward(change.to(dtype).double())
    assert found.grad is not None
    assert result.dtype == found.grad.dtype == dtype
    close = max(torch.finfo(dtype).eps, 1e-10)
    for ours, theirs in ((result, wanted), (found.grad, expected.grad)):
        torch.testing.assert_close(ours.double(), theirs, atol=4 * close, rtol=4 * close)


def test_gradient_is_the_derivative():
    image = torch.linspace(-30, 30, 41, dtype=torch.float64).reshape(1, 1, -1, 1)
    assert torch.autograd.gradcheck(activate_mish, image.requires_grad_())

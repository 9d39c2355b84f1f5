"""Mish, alone and behind a batch norm."""

import pytest
import torch
import torch.nn.functional as F

from unmask.models.activations import Mish, normed_mish


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

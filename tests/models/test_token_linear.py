"""Linear maps of tokens."""

import pytest
import torch
import torch.nn.functional as F

from unmask.models.token_linear import TokenLinear


@pytest.mark.parametrize("tokens", [3, 700])
@pytest.mark.parametrize("short", [True, False])
def test_equals_torch_with_gradients(tokens, short):
    torch.manual_seed(0)
    layer, given = TokenLinear(32, 24), torch.randn(2, tokens, 32, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=short):
        found = layer(given)
        expected = F.linear(given, layer.weight, layer.bias)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    mine = torch.autograd.grad((found * weights).sum(), [given, layer.weight])
    theirs = torch.autograd.grad((expected * weights).sum(), [given, layer.weight])
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

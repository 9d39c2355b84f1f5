"""Attention: both ways of computing it agree with the definition."""

import pytest
import torch

from unmask.models.attention import Attention, attend


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("tokens", [1, 7, 600])
def test_attend_equals_its_definition(dtype, limit, tokens):
    q, k, v = torch.randn(3, 2, 2, tokens, 8)
    weight = torch.einsum("bhnd,bhmd->bhnm", q, k) / 8**0.5
    expected = torch.einsum("bhnm,bhmd->bhnd", weight.softmax(dim=3), v)
    actual = attend(q.to(dtype), k.to(dtype), v.to(dtype))
    assert actual.dtype == dtype
    assert (actual.float() - expected).abs().max() < limit


def test_order_of_tokens_does_not_matter():
    layer, tokens = Attention(12, 3), torch.randn(2, 5, 12)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(tokens[:, order]), layer(tokens)[:, order])


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="divisor of dim=10"):
        Attention(10, 3)

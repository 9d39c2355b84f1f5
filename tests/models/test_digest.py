"""Digests of weights differ where weights do."""

from __future__ import annotations

import torch

from unmask.models.digest import digest_weights


def test_name_shape_type_and_value_count():
    plain = torch.arange(6.0)
    others = [
        [("a", plain), ("b", plain)],
        [("b", plain)],
        [("a", plain.reshape(2, 3))],
        [("a", plain.double())],
        [("a", plain.nextafter(torch.tensor(9.0)))],
        [("a", torch.zeros(()))],
    ]
    digests = {digest_weights(weights) for weights in [[("a", plain)], *others]}
    assert len(digests) == 1 + len(others)


def test_views_and_types_without_numpy_numbers_are_read():
    whole = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)
    copied = whole.T.contiguous()
    assert digest_weights([("a", whole.T)]) == digest_weights([("a", copied)])

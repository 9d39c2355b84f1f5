"""Decoder of MA-Net: position attention, enlarging convolutions, any number of axes."""

import pytest
import torch
import torch.nn.functional as F

from unmask.errors import RecipeError
from unmask.lookup import Choice, build
from unmask.models import DECODERS, ManetDecoder
from unmask.models.decoder_manet import ConvUnit, PositionAttention, plain_factors


def attention(ndim, *, published):
    torch.manual_seed(0)
    return PositionAttention(ndim, 6, 4, published=published)


@pytest.mark.parametrize("size", [(3, 4), (2, 3, 2)])
def test_published_attention_has_one_softmax_and_reads_rows_as_channels(size):
    layer, image = attention(len(size), published=True), torch.randn(2, 6, *size)
    for number, one in enumerate(image.split(1)):
        q, k, v = (
            conv(one)[0].flatten(1)
            for conv in (layer.center_conv, layer.top_conv, layer.bottom_conv)
        )
        scores = q.T @ k
        weight = scores.exp() / scores.exp().sum()
        mixed = (weight @ v.T).flatten().reshape(one.shape)
        torch.testing.assert_close(layer(image)[number], layer.out_conv(one + mixed)[0])


@pytest.mark.parametrize("size", [(3, 4), (2, 3, 2)])
def test_other_attention_keeps_places(size):
    layer, image = attention(len(size), published=False), torch.randn(1, 6, *size)
    q, k, v = (
        conv(image)[0].flatten(1) for conv in (layer.center_conv, layer.top_conv, layer.bottom_conv)
    )
    mixed = v @ (q.T @ k).softmax(dim=1).T
    expected = layer.out_conv(image + mixed.unflatten(1, size))
    torch.testing.assert_close(layer(image), expected)


@pytest.mark.parametrize(("size", "factor"), [((40, 52), (2, 2)), ((9, 16, 15), (1, 2, 3))])
@pytest.mark.parametrize("train", [True, False])
def test_units_enlarge_and_join_as_the_plain_way_does(size, factor, train):
    torch.manual_seed(0)
    ndim = len(size)
    unit = ConvUnit(ndim, 5, 4).train(train)
    image = torch.randn(2, 3, *size)
    skip = torch.randn(2, 2, *(n * f for n, f in zip(size, factor, strict=True)))
    joined = torch.cat([F.interpolate(image, skip.shape[2:], mode="nearest"), skip], dim=1)
    conv, norm = unit[0], unit[1]
    with torch.no_grad():
        expected = F.mish(norm(conv(joined)))
        torch.testing.assert_close(unit(image, factor, skip), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(unit(joined), expected, atol=1e-5, rtol=1e-5)
    trained = unit(image, factor, skip)
    torch.testing.assert_close(trained.detach(), expected, atol=1e-5, rtol=1e-5)


def test_a_single_voxel_trains_by_the_running_statistics():
    unit, image = ConvUnit(2, 3, 4), torch.randn(1, 3, 1, 1)
    conv, norm = unit[0], unit[1]
    before = norm.get_buffer("running_mean").clone()
    output = unit(image)
    torch.testing.assert_close(output, F.mish(norm.eval()(conv(image))))
    assert torch.equal(norm.get_buffer("running_mean"), before)


def test_widths_double_and_finer_strides_need_fewer_blocks():
    decoder = ManetDecoder(2, [4, 6], [(4, 4), (8, 8)], width=8)
    assert decoder.widths == (8, 16, 32)
    sizes = [
        tuple(f.shape[1:])
        for f in decoder.pyramid([torch.rand(2, 4, 6, 5), torch.rand(2, 6, 3, 3)])
    ]
    assert sizes == [(8, 24, 20), (16, 12, 10), (32, 6, 5)]
    assert len(ManetDecoder(2, [4, 6], [(1, 1), (2, 2)], width=8).blocks) == 1
    assert plain_factors((1, 4, 6)) == [(1, 2, 2), (1, 2, 3)]


def test_a_single_feature_at_full_size_is_refused():
    given = {"ndim": 2, "channels": [4], "strides": [(1, 1)]}
    with pytest.raises(RecipeError, match=r"manet.*coarser than the image"):
        build(Choice("manet", {}), DECODERS, "model.decoder", **given)

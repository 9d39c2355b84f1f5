"""Residual U-Net: sizes, anisotropy, places of voxels, layers against torch's own."""

import pytest
import torch

from unmask.models import nd
from unmask.models.decoder_unet import UNetDecoder
from unmask.models.resunet import ResUNet


@pytest.mark.parametrize("size", [(17, 30), (1, 1), (9, 5, 12), (1, 2, 3)])
def test_features_have_ceil_sizes(size):
    backbone = ResUNet(len(size), 2, width=4, depth=4)
    features = backbone(torch.randn(2, 2, *size))
    for feature, channels, stride in zip(
        features, backbone.channels, backbone.strides, strict=True
    ):
        expected = [-(-n // s) for n, s in zip(size, stride, strict=True)]
        assert list(feature.shape) == [2, channels, *expected]
    image = UNetDecoder(len(size), backbone.channels, backbone.strides, width=6)(features, size)
    assert image.shape == (2, 6, *size)


def test_anisotropic_strides_and_kernels_are_values():
    strides = ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    kernels = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    backbone = ResUNet(3, 1, width=4, strides=strides, kernel=kernels, blocks=(1, 2, 1))
    assert backbone.strides == strides
    shapes = [tuple(feature.shape[2:]) for feature in backbone(torch.randn(1, 1, 6, 10, 11))]
    assert shapes == [(6, 10, 11), (6, 5, 6), (3, 3, 3)]
    assert backbone.stem.conv.weight.shape == (4, 1, 1, 3, 3)
    assert [len(list(stage.children())) for stage in backbone.stages] == [1, 2, 1]


def test_strides_that_do_not_nest_are_refused():
    with pytest.raises(ValueError, match="multiple of the one before"):
        ResUNet(2, 1, strides=((1, 1), (2, 2), (3, 3)))


def test_backbone_of_coarse_features_is_brought_to_the_size_of_the_image():
    decoder = UNetDecoder(2, (4, 8), ((4, 4), (8, 8)), width=5)
    features = [torch.randn(1, 4, 5, 6), torch.randn(1, 8, 3, 3)]
    assert decoder(features, (18, 21)).shape == (1, 5, 18, 21)


@pytest.mark.parametrize("shape", [(3, 8, 7, 5), (2, 4, 3, 5, 4), (2, 3, 1, 1), (2, 6, 9)])
@pytest.mark.parametrize("last", [False, True])
def test_instance_norm_equals_its_definition(shape, last):
    image = torch.randn(shape, dtype=torch.float64)
    image = (nd.channels_last(image) if last else image).requires_grad_()
    layer = nd.InstanceNorm(shape[1]).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    space = tuple(range(2, len(shape)))
    variance, mean = torch.var_mean(image, space, keepdim=True, correction=0)
    weight, bias = (p.view(-1, *(1 for _ in space)) for p in (layer.weight, layer.bias))
    expected = (image - mean) / (variance + layer.eps).sqrt() * weight + bias
    actual = layer(image)
    torch.testing.assert_close(actual, expected)
    seed = torch.randn(shape, dtype=torch.float64)
    inputs = (image, layer.weight, layer.bias)
    for mine, theirs in zip(
        torch.autograd.grad(actual, inputs, seed),
        torch.autograd.grad(expected, inputs, seed),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_networks_stay_channels_last():
    for feature in ResUNet(2, 1, width=4, depth=3)(torch.randn(2, 1, 16, 18)):
        assert feature.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("norm", ["instance", "group", "batch"])
def test_norm_kinds(norm):
    layer = nd.norm(norm, 2, 12)
    mean = layer(torch.randn(2, 12, 6, 7) * 3 + 5).mean().item()
    assert abs(mean) < 1e-5
    with pytest.raises(ValueError, match="instance, group or batch"):
        nd.norm("layer", 2, 12)


def test_padding_repeats_the_border_up_to_the_multiple():
    image = torch.arange(10.0).view(1, 1, 2, 5)
    padded = nd.pad_to_multiple(image, (2, 4))
    assert padded.shape == (1, 1, 2, 8)
    assert padded[0, 0, :, 4:].tolist() == [[4.0] * 4, [9.0] * 4]
    assert nd.pad_to_multiple(image, (2, 5)) is image


def test_upsampled_voxels_keep_their_place():
    image = torch.rand(1, 2, 6, 7)
    whole = nd.upsample(image, (2, 3), (12, 21))
    torch.testing.assert_close(nd.upsample(image, (2, 3), (11, 19)), whole[:, :, :11, :19])
    torch.testing.assert_close(whole, nd.interpolate(image, (12, 21)))


def test_per_axis_refuses_another_number_of_axes():
    with pytest.raises(ValueError, match="one per axis"):
        nd.per_axis((1, 2), 3)

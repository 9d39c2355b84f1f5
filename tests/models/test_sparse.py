"""Masked layers against their definition on gathered voxels; every backbone dense and sparse."""

from typing import Any

import pytest
import torch
from torch import nn

from unmask import lookup
from unmask.errors import DataError, RecipeError
from unmask.lookup import Choice
from unmask.models import BACKBONES, nd
from unmask.models.base import TokenBackbone
from unmask.models.sparse import Visible, check_layers, mask_network

SMALL = {
    # No convolution learns there.
    "pixels": None,
    "mit": None,  # attention sees no mask
    "resnet": {"width": 4, "blocks": [1, 2]},
    "resunet": {"width": 4, "depth": 3},
    "resunet_pea": {"widths": [4, 8, 12]},
    "superhuman": {"widths": [4, 6, 8]},
    "efficientnet_lite": {"blocks": [1, 1, 1]},
    "mala": {"widths": [4, 6], "factor": 2},
}
SIZES = {2: (32, 48), 3: (16, 16, 32)}


def build(name, ndim, **options):
    choice = Choice(name, {**(SMALL.get(name) or {}), **options})
    return lookup.build(choice, BACKBONES, "backbone", ndim=ndim, in_channels=2)


def convolutional():
    """Backbones that are no transformers."""
    names = [name for name in BACKBONES if SMALL.get(name, {}) is not None and name != "vit"]
    return [(name, ndim) for name in names for ndim in SIZES]


def draw(grid, *, share=0.5, batch=2):
    count = torch.Size(grid).numel()
    order = torch.rand(batch, count).argsort(dim=1)
    return Visible.of(order[:, : max(1, int(share * count))], grid)


def defined(layer, image, mask):
    """The dense layer on gathered visible voxels, put back into zeros; slow."""
    result = torch.zeros_like(image)
    samples = [range(len(image))] if isinstance(layer, nn.modules.batchnorm._BatchNorm) else None
    for chosen in samples or [[b] for b in range(len(image))]:
        where = mask[list(chosen), 0] > 0
        voxels = image[list(chosen)].movedim(1, -1)[where]
        groups = getattr(layer, "num_groups", voxels.shape[1])
        split = voxels.reshape(len(voxels), groups, -1)
        mean = split.mean((0, 2), keepdim=True)
        variance = split.var((0, 2), correction=0, keepdim=True)
        normed = ((split - mean) / (variance + layer.eps).sqrt()).reshape(voxels.shape)
        part = torch.zeros_like(image[list(chosen)]).movedim(1, -1)
        part[where] = normed * layer.weight + layer.bias
        result[list(chosen)] = part.movedim(-1, 1)
    return result


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
@pytest.mark.parametrize("last", [False, True])
def test_norms_equal_their_definition(kind, ndim, last):
    torch.manual_seed(0)
    layer: Any = nd.norm(kind, ndim, 8).double()
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2)
        layer.bias.uniform_(-1, 1)
    visible = draw((2, 3, 2)[:ndim])
    size = (8, 9, 6)[:ndim]
    mask = visible.at(size).double()
    image = (torch.randn(2, 8, *size, dtype=torch.float64) * 3 + 50) * mask
    image = nd.channels_last(image) if last else image
    wanted = torch.randn_like(image)
    found = []
    for run in (mask_network(layer, visible), lambda x: defined(layer, x, mask)):
        given = image.detach().requires_grad_()
        output = run(given)
        (output * wanted).sum().backward()
        assert given.grad is not None
        found.append([output, given.grad * mask, layer.weight.grad, layer.bias.grad])
        layer.zero_grad()
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_statistics_survive_a_large_offset():
    layer, visible = nn.BatchNorm2d(2), draw((2, 2), share=0.5)
    mask = visible.at((64, 64))
    image = (torch.randn(2, 2, 64, 64) * 0.01 + 100) * mask
    normed = mask_network(layer, visible)(image)
    deviation = normed.movedim(1, -1)[mask[:, 0] > 0].std(dim=0)
    torch.testing.assert_close(deviation, torch.ones(2), rtol=0.1, atol=0)


def test_running_statistics_are_those_of_gathered_voxels():
    torch.manual_seed(0)
    layer, plain, visible = nn.BatchNorm2d(3), nn.BatchNorm1d(3), draw((4, 4), share=0.3)
    mask = visible.at((8, 8))
    for _ in range(3):
        image = torch.randn(2, 3, 8, 8) * mask
        mask_network(layer, visible)(image)
        plain(image.movedim(1, -1)[mask[:, 0] > 0])
    torch.testing.assert_close(layer.running_mean, plain.running_mean)
    torch.testing.assert_close(layer.running_var, plain.running_var)
    assert layer.num_batches_tracked == 3
    image = torch.randn(2, 3, 8, 8) * mask
    expected = layer.eval()(image) * mask
    assert torch.equal(mask_network(layer, visible)(image), expected)


@pytest.mark.parametrize(("name", "ndim"), convolutional())
class TestBackbones:
    def test_all_visible_is_the_dense_form(self, name, ndim):
        backbone, image = build(name, ndim).eval(), torch.randn(2, 2, *SIZES[ndim])
        grid = [n // s for n, s in zip(SIZES[ndim], backbone.strides[-1], strict=True)]
        visible = Visible(torch.ones(2, 1, *grid))
        for mode in (False, True):
            backbone.train(mode)
            dense = backbone(image)
            for ours, theirs in zip(mask_network(backbone, visible)(image), dense, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)

    def test_hidden_voxels_are_zero_after_every_layer(self, name, ndim):
        backbone, image = build(name, ndim), torch.randn(2, 2, *SIZES[ndim])
        visible = draw([n // s for n, s in zip(SIZES[ndim], backbone.strides[-1], strict=True)])
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.add_(0.1)  # offsets that would show
        twin, seen = mask_network(backbone, visible), []

        def look(module, _, output):
            if isinstance(output, torch.Tensor):
                hidden = output[(visible.at(output.shape[2:]) == 0).expand_as(output)]
                assert torch.all(hidden == 0), module
                seen.append(module)

        for module in twin.modules():
            if type(module).__name__.startswith("_Masked"):
                module.register_forward_hook(look)
        features = twin(image * visible.at(SIZES[ndim]))
        assert len(seen) >= 4
        for feature in features:
            look(backbone, None, feature)
            assert feature.abs().sum() > 0

    def test_hidden_voxels_have_no_influence(self, name, ndim):
        backbone, image = build(name, ndim), torch.randn(2, 2, *SIZES[ndim])
        visible = draw([n // s for n, s in zip(SIZES[ndim], backbone.strides[-1], strict=True)])
        mask = visible.at(SIZES[ndim])
        other = torch.where(mask > 0, image, torch.full_like(image, 7.0))
        first, second = (mask_network(backbone, visible)(each * mask) for each in (image, other))
        for one, two in zip(first, second, strict=True):
            assert torch.equal(one, two)

    def test_the_network_itself_is_left_alone(self, name, ndim):
        backbone = build(name, ndim)
        names = [key for key, _ in backbone.named_modules()]
        visible = draw([n // s for n, s in zip(SIZES[ndim], backbone.strides[-1], strict=True)])
        twin = mask_network(backbone, visible)
        assert [key for key, _ in backbone.named_modules()] == names
        ours = {id(parameter) for parameter in backbone.parameters()}
        assert {id(parameter) for parameter in twin.parameters()} == ours
        check_layers(backbone, needed_by="test")


def test_sizes_that_cut_patches_are_refused():
    with pytest.raises(DataError, match=r"whole patches.*\(2, 3\).*\(5, 6\)"):
        draw((2, 3)).at((5, 6))


def test_layers_without_a_masked_form_are_refused():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(RecipeError, match=r"found Linear at 1\.0.*resunet"):
        check_layers(network, needed_by="method x")
    assert not isinstance(build("resnet", 2), TokenBackbone)

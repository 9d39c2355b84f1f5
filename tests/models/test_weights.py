"""Weights of one network in another: activations keep their size, nothing is loaded silently."""

import pytest
import torch

from unmask.errors import CheckpointError
from unmask.models.resunet import ResUNet
from unmask.models.vit import ViT
from unmask.models.weights import load_matching


def vit(ndim: int, channels: int, *, image: int | tuple[int, ...] = 16):
    return ViT(ndim, channels, image=image, patch=4, dim=24, depth=2, heads=2)


def test_equal_networks_give_equal_outputs():
    old, new = vit(2, 1), vit(2, 1)
    report = load_matching(new, old.state_dict(), source="old")
    assert report.share == 1
    assert not report.adapted
    assert not report.missing + report.unexpected
    image = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(new(image), old(image))


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 5)])
@pytest.mark.parametrize("build", [vit, lambda n, c: ResUNet(n, c, width=4, depth=2)])
def test_other_channels_respond_alike_to_equal_channels(build, before, after):
    old, new = build(2, before), build(2, after)
    report = load_matching(new, old.state_dict(), source="old")
    assert len(report.adapted) >= 1
    image = torch.randn(1, 1, 16, 16)
    expected = old(image.expand(-1, before, -1, -1))[-1]
    torch.testing.assert_close(new(image.expand(-1, after, -1, -1))[-1], expected)


def test_inflated_kernels_respond_alike_to_a_repeated_image():
    old = ResUNet(2, 1, width=4, depth=2)
    new = ResUNet(3, 1, width=4, strides=((1, 1, 1), (1, 2, 2)), kernel=((1, 3, 3), (1, 3, 3)))
    load_matching(new, old.state_dict(), source="old")
    image = torch.randn(1, 1, 12, 12)
    volume = new(image[:, :, None].repeat(1, 1, 3, 1, 1))[-1]
    torch.testing.assert_close(volume[:, :, 1], old(image)[-1])
    cube = ResUNet(3, 1, width=4, depth=2)
    load_matching(cube, old.state_dict(), source="old")
    flat = old.stem.conv(image)
    deep = cube.stem.conv(image[:, :, None].repeat(1, 1, 5, 1, 1))[:, :, 2]
    torch.testing.assert_close(deep, flat)


def test_patch_embeddings_inflate():
    old, new = vit(2, 1), vit(3, 1)
    report = load_matching(new, old.state_dict(), source="old")
    assert set(report.adapted) == {"pos_embed", "patch_embed.proj.weight"}
    image = torch.randn(1, 1, 16, 16)
    flat = old.embed(image).values
    deep = new.embed(image[:, :, None].repeat(1, 1, 16, 1, 1)).values
    torch.testing.assert_close(deep.view(1, 4, 16, 24), flat[:, None].expand(-1, 4, -1, -1))


def test_positions_follow_the_grid():
    old = vit(2, 1, image=(8, 16))
    same = vit(2, 1, image=(16, 32))
    assert (
        "(2, 4) to (4, 8)" in load_matching(same, old.state_dict(), source="x").adapted["pos_embed"]
    )
    square = vit(2, 1, image=(16, 24))
    cube = load_matching(square, vit(2, 1, image=12).state_dict(), source="x")
    assert cube.adapted["pos_embed"] == "grid (3, 3) to (4, 6)"
    table = square.pos_embed.clone()
    with pytest.raises(CheckpointError, match="Give grid"):
        load_matching(square, old.state_dict(), source="x")
    torch.testing.assert_close(square.pos_embed, table)
    report = load_matching(square, old.state_dict(), source="x", grid=(2, 4))
    assert report.adapted["pos_embed"] == "grid (2, 4) to (4, 6)"


def test_too_little_is_an_error_that_names_the_differences():
    new = vit(2, 1)
    before = {name: value.clone() for name, value in new.state_dict().items()}
    weights = dict(vit(2, 1).state_dict())
    weights["blocks.0.mlp.fc1.weight"] = torch.zeros(7, 24)
    weights["stranger"] = weights.pop("blocks.1.mlp.fc1.weight")
    with pytest.raises(CheckpointError) as caught:
        load_matching(new, weights, source="m.model")
    message = str(caught.value)
    for part in ("m.model", "(7, 24)", "blocks.1.mlp.fc1.weight", "stranger", "90%"):
        assert part in message
    assert all(torch.equal(value, before[name]) for name, value in new.state_dict().items())
    report = load_matching(new, weights, source="m.model", least=0.1)
    assert set(report.missing) == {"blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc1.weight"}
    assert set(report.unexpected) == {"blocks.0.mlp.fc1.weight", "stranger"}
    assert 0.1 < report.share < 0.9


def test_inner_layers_are_never_averaged():
    weights = ResUNet(2, 1, width=4, depth=2).state_dict()
    with pytest.raises(CheckpointError, match="Other shapes"):
        load_matching(ResUNet(2, 1, width=8, depth=2), weights, source="narrow")

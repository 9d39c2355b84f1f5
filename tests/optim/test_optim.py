import copy

import pytest
import torch
from torch import nn

from unmask.errors import RecipeError
from unmask.models.resunet import ResUNet
from unmask.optim import OPTIMIZERS, parameter_groups
from unmask.optim.muon import Muon


class Net(nn.Module):
    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.patch_embed = nn.Conv2d(1, 4, 2)
        self.backbone.pos_embed = nn.Parameter(torch.zeros(1, 9, 4))
        self.backbone.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(blocks))
        self.backbone.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)
        self.mask_token = nn.Parameter(torch.zeros(1, 4, 1, 1))
        self.frozen = nn.Parameter(torch.zeros(3, 3), requires_grad=False)


def by_name(module, groups):
    names = {p: n for n, p in module.named_parameters()}
    return {names[p]: group for group in groups for p in group["params"]}


def test_norms_biases_tokens_and_positions_do_not_decay():
    net = Net()
    groups = by_name(net, parameter_groups(net, lr=1.0, weight_decay=0.1))
    decayed = {name for name, group in groups.items() if group["weight_decay"]}
    assert decayed == {
        "backbone.patch_embed.weight",
        "backbone.blocks.0.weight",
        "backbone.blocks.1.weight",
        "head.weight",
    }
    assert "frozen" not in groups


def test_layer_decay_counts_from_the_head():
    net = Net(blocks=3)
    groups = parameter_groups(net, lr=2.0, weight_decay=0.1, layer_decay=0.5)
    scale = {name: group["scale"] for name, group in by_name(net, groups).items()}
    assert scale["head.weight"] == scale["backbone.norm.weight"] == scale["mask_token"] == 1
    assert [scale[f"backbone.blocks.{n}.bias"] for n in range(3)] == [0.125, 0.25, 0.5]
    assert scale["backbone.patch_embed.bias"] == scale["backbone.pos_embed"] == 0.0625
    assert all(group["lr"] == 2.0 * group["scale"] for group in groups)


def test_layer_decay_counts_the_resolutions_of_convolutional_backbones():
    net = nn.ModuleDict({"backbone": ResUNet(2, 1, width=4, depth=3), "head": nn.Linear(4, 1)})
    groups = parameter_groups(net, lr=1.0, weight_decay=0.0, layer_decay=0.5)
    scale = {name: group["scale"] for name, group in by_name(net, groups).items()}
    assert scale["head.weight"] == 1
    assert [scale[f"backbone.stages.{n}.0.conv1.weight"] for n in range(3)] == [0.125, 0.25, 0.5]
    assert scale["backbone.stem.conv.weight"] == 0.0625


def test_layer_decay_needs_blocks_and_training_needs_parameters():
    with pytest.raises(RecipeError, match=r"layer_decay.*blocks\.N.*transformers \(vit\).*Set"):
        parameter_groups(nn.Linear(2, 2), lr=1.0, weight_decay=0.0, layer_decay=0.9)
    with pytest.raises(RecipeError, match="none"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), lr=1.0, weight_decay=0.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_and_continues_bit_by_bit(name):
    torch.manual_seed(0)
    images, wanted = torch.randn(64, 6), torch.randn(64, 1)

    def train(net, optimizer, steps):
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (net(images) - wanted).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses[-1]

    def make(net):
        return OPTIMIZERS[name](parameter_groups(net, lr=0.02, weight_decay=0.01), lr=0.02)

    wide = [nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh()]
    net = nn.Sequential(*wide, nn.Linear(16, 1))
    optimizer = make(net)
    first = train(net, optimizer, 10)
    other = copy.deepcopy(net)
    resumed = make(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(net, optimizer, 30) < first
    train(other, resumed, 30)
    for weight, again in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, again)


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_muon_moves_matrices_as_torch_does(shape):
    start, gradients = torch.randn(shape), torch.randn(5, *shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    steps = [
        Muon([ours], lr=0.1, weight_decay=0.3),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw"),
    ]
    for gradient in gradients:
        for weight, optimizer in zip((ours, theirs), steps, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    # Both orthogonalise in bfloat16
    torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=0)


@pytest.mark.parametrize("shape", [(8,), (3, 24), (24, 1, 3, 3)])
def test_muon_moves_the_rest_as_adamw_does(shape):
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    steps = [
        kind([weight], lr=0.1, weight_decay=0.3)
        for kind, weight in ((Muon, ours), (torch.optim.AdamW, theirs))
    ]
    for gradient in torch.randn(5, *shape):
        for weight, optimizer in zip((ours, theirs), steps, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_muon_treats_convolutions_as_matrices_and_scales_like_adam():
    conv = nn.Conv2d(16, 32, 3, bias=False)
    before = conv.weight.detach().clone()
    conv.weight.grad = torch.randn_like(conv.weight) @ torch.diag(torch.tensor([1e3, 1, 1e-3]))
    Muon(conv.parameters(), lr=1.0, weight_decay=0.0).step()
    move = (before - conv.weight.detach()).flatten(1)
    assert move.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.25)
    values = torch.linalg.svdvals(move)
    assert values.max() < 2 * values.min()

import copy
import json
from itertools import pairwise

import pytest
import torch
from torch import nn

from unmask.errors import RecipeError
from unmask.optim import OPTIMIZERS, parameter_groups
from unmask.optim.muon import Muon
from unmask.training import Average, schedule


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


def test_schedule_equals_the_published_one(golden):
    """SparK's learning rates at given iterations (start 0.005, end 0.001 of the peak)."""
    values = json.loads((golden / "spark" / "manifest.json").read_text())["schedule"]["values"]
    for value in values:
        factor = schedule(
            value["iter"], steps=value["max_iters"], warmup=int(value["warmup_iters"]), final=0.001
        )
        assert factor * value["peak_lr"] == pytest.approx(value["lr"], rel=1e-9)


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 0), (1, 1), (2, 1), (10, 10), (10, 20), (100, 7)]
)
def test_schedule_stays_between_0_and_1(steps, warmup):
    factors = [schedule(s, steps=steps, warmup=warmup, final=0.1) for s in range(steps + 5)]
    assert all(0 < factor <= 1 for factor in factors)
    assert warmup >= steps or factors[warmup] == 1 or steps - warmup == 1
    falling = factors[warmup:]
    assert all(a >= b for a, b in pairwise(falling))


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


def test_layer_decay_needs_blocks_and_training_needs_parameters():
    with pytest.raises(RecipeError, match=r"layer_decay.*blocks\.N.*transformers \(vit\).*Set"):
        parameter_groups(nn.Linear(2, 2), lr=1.0, weight_decay=0.0, layer_decay=0.9)
    with pytest.raises(RecipeError, match="none"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), lr=1.0, weight_decay=0.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_learns_and_continues_bit_by_bit(name):
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
    # both orthogonalise in bfloat16
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


def test_average_follows_parameters_and_all_buffers():
    conv, norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)
    net = nn.Sequential(conv, norm)
    average = Average(net, decay=0.5)
    start = average.weights["0.weight"].clone()
    net(torch.randn(4, 1, 3, 3))
    with torch.no_grad():
        conv.weight += 1
    average.update()
    # early on the decay is (1 + 1) / (10 + 1)
    torch.testing.assert_close(average.weights["0.weight"], start + 1 - 2 / 11)
    assert average.weights.keys() == net.state_dict().keys()
    assert torch.equal(average.weights["1.running_mean"], net.state_dict()["1.running_mean"])
    assert average.weights["1.num_batches_tracked"] == 1
    live = conv.weight.detach().clone()
    with average.applied():
        assert torch.equal(conv.weight, average.weights["0.weight"])
    assert torch.equal(conv.weight, live)


@pytest.mark.parametrize(("steps", "warmup"), [(2, 0), (5, 2), (100, 10)])
def test_the_last_update_runs_at_the_final_factor(steps, warmup):
    factors = [schedule(s, steps=steps, warmup=warmup, final=0.1) for s in range(steps + 3)]
    assert factors[warmup] == 1.0
    assert factors[steps - 1] == pytest.approx(0.1, abs=1e-12)
    assert factors[steps - 2] > factors[steps - 1]
    # An update too many, for example after a resumed run was made longer, never rises again.
    assert factors[steps:] == [factors[steps - 1]] * 3


def test_the_cosine_in_closed_form():
    factors = [schedule(s, steps=5, warmup=0) for s in range(5)]
    half = 2**-0.5 / 2
    assert factors == pytest.approx([1.0, 0.5 + half, 0.5, 0.5 - half, 0.0], abs=1e-12)
    warm = [schedule(s, steps=9, warmup=4, start=0.2) for s in range(5)]
    assert warm == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_cosine_that_rises_again():
    factors = [schedule(s, steps=400, warmup=0, final=0.25, period=100) for s in range(401)]
    assert factors[0] == factors[200] == factors[400] == 1
    assert factors[100] == factors[300] == 0.25
    assert factors[50] == pytest.approx(0.625)
    assert all(a >= b for a, b in pairwise(factors[:101]))
    assert all(a <= b for a, b in pairwise(factors[100:201]))
    # A run shorter than the period ends on the way down.
    assert schedule(49, steps=50, warmup=0, period=100) == pytest.approx(0.5, abs=0.02)
    # PyTorch's own, which the published runs used once an epoch.
    peak = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2e-5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(peak, T_max=100, eta_min=1e-7)
    for step in range(0, 200):
        rate = schedule(step, steps=200, warmup=0, final=1e-7 / 2e-5, period=100)
        assert 2e-5 * rate == pytest.approx(peak.param_groups[0]["lr"], rel=1e-6)
        peak.step()
        cosine.step()

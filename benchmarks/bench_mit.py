"""Forward pass of MEDIAR's network (mix transformer b5, decoder of MA-Net, two heads), 512 x 512.

The peer is the published form, written here as a stand-in: attention as two matrix products with a
softmax between, features made contiguous with channels first, enlarged maps joined by copying, one
activation kernel after the other. Both run the same weights in one thread; outputs must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import interleave, row, write
from unmask.build import build_segmenter
from unmask.models import BranchHead, ManetDecoder, MixTransformer, activations
from unmask.models.mit import MixBlock, ReducedAttention
from unmask.phantoms.cells import nuclei
from unmask.recipe import load
from unmask.space.batch import Batch
from unmask.tasks.flows import Flows
from unmask.training.allocator import keep_freed_memory

SIDE, SIZE = 512, "b5"
REPEATS = 3
PROBABILITY = 0.02
UPDATES = 40
CROPS, CROP = 4, 128


class Network(nn.Module):
    """Encoder, decoder and heads as they are called in training and prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MixTransformer(2, 3, size=SIZE)
        self.decoder = ManetDecoder(2, self.encoder.channels, self.encoder.strides)
        self.head = BranchHead(2, self.decoder.width, 3)

    def forward(self, image: Tensor) -> Tensor:
        """Flows and foreground."""
        return self.head(self.decoder(self.encoder(image), image.shape[2:]))


def published_attention(layer: ReducedAttention, tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """Queries of all tokens, keys and values of the reduced map, weights in memory."""
    b, n, d = tokens.shape
    source = tokens
    if layer.sr is not None and layer.norm is not None:
        image = tokens.permute(0, 2, 1).reshape(b, d, *grid)
        source = layer.norm(layer.sr(image).reshape(b, d, -1).permute(0, 2, 1))
    q = layer.q(tokens).reshape(b, n, layer.heads, d // layer.heads).permute(0, 2, 1, 3)
    pair = layer.kv(source).reshape(b, -1, 2, layer.heads, d // layer.heads)
    k, v = pair.permute(2, 0, 3, 1, 4)
    weight = (q @ k.transpose(-2, -1)) * (d // layer.heads) ** -0.5
    return layer.proj((weight.softmax(dim=-1) @ v).transpose(1, 2).reshape(b, n, d))


def published_block(block: MixBlock, tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """Attention and MLP, the latter with a map that is channels first."""
    b = len(tokens)
    tokens = tokens + published_attention(block.attn, block.norm1(tokens), grid)
    hidden = block.mlp.fc1(block.norm2(tokens))
    image = block.mlp.dwconv(hidden.transpose(1, 2).view(b, hidden.shape[2], *grid))
    return tokens + block.mlp.fc2(F.gelu(image.flatten(2).transpose(1, 2)))


def published_encoder(encoder: MixTransformer, image: Tensor) -> list[Tensor]:
    """Maps of all stages, contiguous."""
    features = []
    for level in range(1, len(encoder.channels) + 1):
        embed: Any = encoder.get_submodule(f"patch_embed{level}")
        image = embed.proj(image)
        grid = image.shape[2:]
        tokens = embed.norm(image.flatten(2).transpose(1, 2))
        for block in encoder.get_submodule(f"block{level}").children():
            assert isinstance(block, MixBlock)
            tokens = published_block(block, tokens, grid)
        tokens = encoder.get_submodule(f"norm{level}")(tokens)
        image = tokens.reshape(len(tokens), *grid, -1).permute(0, 3, 1, 2).contiguous()
        features.append(image)
    return features


def published_unit(unit: Any, image: Tensor) -> Tensor:
    """Convolution, batch norm and Mish, one after the other."""
    return F.mish(unit[1](unit[0](image)))


def published_squeeze(branch: Any, image: Tensor) -> Tensor:
    """Channel weights of a pooled map."""
    return branch[3](F.mish(branch[1](F.adaptive_avg_pool2d(image, 1)))).sigmoid()


def published_decoder(decoder: Any, features: list[Tensor]) -> Tensor:
    """Position attention, then blocks that enlarge and join by copying."""
    hidden = decoder.center(features[-1])
    for number, block in enumerate(decoder.blocks):
        if number < len(features) - 1:
            skip = features[-2 - number]
            for unit in block.hl_conv:
                hidden = published_unit(unit, hidden)
            hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
            weight = published_squeeze(block.SE_hl, hidden) + published_squeeze(block.SE_ll, skip)
            hidden = torch.cat([hidden * weight, skip], dim=1)
        else:
            hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
        hidden = published_unit(block.conv2, published_unit(block.conv1, hidden))
    return hidden


def published(network: Any, image: Tensor) -> Tensor:
    """The whole network in the published form."""
    features = published_decoder(network.decoder, published_encoder(network.encoder, image))
    outputs = [
        branch[3](branch[2](F.mish(branch[0](features)))) for branch in network.head.branches
    ]
    return torch.cat(outputs, dim=1)


def phantoms(count: int, side: int, seed: int) -> Batch:
    """Images of drawn nuclei with the targets of flows."""
    task = Flows(2)
    drawn = [nuclei((side, side), rng=np.random.default_rng((seed, i))) for i in range(count)]
    image = torch.from_numpy(np.stack([each.image for each in drawn]).astype(np.float32))
    image = image.reshape(count, 1, side, side)
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    targets = [task.encode(each.labels.astype(np.int64), None) for each in drawn]
    values, weight = (
        torch.from_numpy(np.stack([getattr(each, part) for each in targets]))
        for part in ("values", "weight")
    )
    return Batch((image - low) / (high - low), values, weight)


def difference_in_bf16() -> float:
    """Largest difference of foreground probabilities, in a small network after a short training.

    Weights as drawn say nothing here: their logits hardly depend on the pixels.
    """
    parts = ["model.backbone.size=b0", "model.decoder={name: manet, width: 32, attention: 64}"]
    segmenter = build_segmenter(load("mediar").with_settings([*parts, "data.channels=1"]))
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=1e-3)
    for step in range(UPDATES):
        segmenter.step(phantoms(2, 128, step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    segmenter.eval()
    image = phantoms(2, 256, UPDATES).image
    with torch.inference_mode():
        exact = segmenter.logits(image)[:, -1].sigmoid()
        with torch.autocast("cpu", torch.bfloat16):
            short = segmenter.logits(image)[:, -1].float().sigmoid()
    assert exact.std() > 0.2, "the training did not decide the pixels"
    difference = (short - exact).abs().max().item()
    assert difference < PROBABILITY, difference
    return difference


def measure_training() -> dict[str, Any]:
    """One training step of b0 with Mish in parts, compared with torch's Mish."""
    parts = ["model.backbone.size=b0", "model.decoder={name: manet, width: 16}"]
    segmenter = build_segmenter(load("mediar").with_settings([*parts, "data.channels=1"]))
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=1e-3)
    batch = phantoms(CROPS, CROP, 0)

    def step() -> float:
        loss = segmenter.step(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    def step_before() -> float:
        with mock.patch.object(activations, "activate_mish", F.mish):
            return step()

    seconds = interleave({"ours": step, "peer": step_before}, REPEATS)
    what = f"training step of b0, {CROPS} crops of {CROP} x {CROP}, float32"
    return row(what, seconds, note="peer: the same network with torch's Mish")


def check(outputs: dict[str, Tensor]) -> None:
    """Float32 agrees with the published form."""
    peer, exact = outputs["published"], outputs["ours"]
    spread = peer.std(dim=(0, 2, 3), keepdim=True)
    assert ((exact - peer).abs() / spread).max() < 1e-3


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    difference = difference_in_bf16()
    network, image = Network().eval(), torch.rand(1, 3, SIDE, SIDE)

    def call(forward: Callable[[Tensor], Tensor], *, short: bool = False) -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=short):
            return forward(image)

    calls: dict[str, Callable[[], Tensor]] = {
        "published": lambda: call(lambda given: published(network, given)),
        "ours": lambda: call(network),
        "ours bf16": lambda: call(network, short=True),
    }
    check({name: run() for name, run in calls.items()})
    seconds = interleave(calls, REPEATS)
    rows = [
        {
            "what": f"MEDIAR {SIZE}, {SIDE} x {SIDE}, {form}",
            "ours": seconds[name],
            "peer": seconds["published"],
            "ratio": seconds["published"] / seconds[name],
            "unit": "s",
            "note": f"peer: published form in float32{note}",
        }
        for form, name, note in (
            ("float32", "ours", ""),
            ("bf16", "ours bf16", f"; probabilities of a trained b0 differ by {difference:.3f}"),
        )
    ]
    write("mit", [*rows, measure_training()])


if __name__ == "__main__":
    main()

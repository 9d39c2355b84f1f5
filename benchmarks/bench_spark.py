"""SparK training step against dense forward and backward of the same network.

ResNet-50 with the published decoder, 224 x 224, batch 8, one thread, float32. The peer encodes the
whole image by the plain network, joins the same decoder and takes the mean squared error. ``ratio``
is peer over ours: 0.91 is 1.1 times as slow.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from harness import interleave, row, write
from unmask.models import ResNet
from unmask.models.sparse import Visible
from unmask.pretraining import Spark
from unmask.space.batch import Batch
from unmask.training.allocator import keep_freed_memory

BATCH, SIZE, REPEATS = 8, 224, 3


def clear(method: Spark) -> None:
    for parameter in method.parameters():
        parameter.grad = None


def sparse(method: Spark, image: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        method.step(Batch(image)).loss.backward()
        clear(method)

    return step


def dense(method: Spark, image: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        features = method.backbone(image)
        found = method.head(method.decoder(features, (SIZE, SIZE)))
        F.mse_loss(found, image).backward()
        clear(method)

    return step


def encoders(method: Spark, image: torch.Tensor) -> dict[str, Callable[[], None]]:
    """The encoder alone, where all of the difference is."""
    keep = torch.stack([torch.randperm((SIZE // 32) ** 2)[:20] for _ in range(BATCH)])

    def ours() -> None:
        features = method.encode(image, Visible.of(keep, (SIZE // 32, SIZE // 32)))
        sum(feature.square().mean() for feature in features).backward()
        clear(method)

    def peer() -> None:
        sum(feature.square().mean() for feature in method.backbone(image)).backward()
        clear(method)

    return {"ours": ours, "peer": peer}


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    method = Spark(ResNet(2, 3)).train()
    image = torch.randn(BATCH, 3, SIZE, SIZE)
    whole = {"ours": sparse(method, image), "peer": dense(method, image)}
    note = "peer: dense forward and backward; goal: ratio of 0.91 or more"
    rows = [
        row("ResNet-50 SparK step, 8 x 224^2", interleave(whole, REPEATS), note=note),
        row("its encoder alone", interleave(encoders(method, image), REPEATS), note=note),
    ]
    write("spark", rows)


if __name__ == "__main__":
    main()

"""The training steps of the peers, for bench_training.py; runs in their environment, without ours.

    .venv-peer/bin/python benchmarks/training_peers.py cells --images DIR --labels DIR --count 40

Prints one line of JSON: ``marks``, the CPU seconds of this process at the beginning of every step;
``losses``, one per step; ``macs``, the multiply-adds of the network per crop; ``once``, the CPU
seconds of what happens once before the first step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_FOREGROUND = (1, 2)  # one crop on the organ for every two anywhere, as nnU-Net


def count_multiplications(network: Any, image: Any) -> float:
    """Multiply-adds of one forward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return counter.get_total_flops() / 2


def train_cells(asked: argparse.Namespace) -> dict[str, Any]:
    """Cellpose's own loop: one epoch per step, so that its schedule warms up within ten steps."""
    import cv2
    from cellpose import io, train
    from cellpose.resnet_torch import CPnet

    cv2.setNumThreads(1)
    files = first_files(asked)
    images, labels = (
        [io.imread(str(path)) for path in paths] for paths in zip(*files, strict=True)
    )
    torch.manual_seed(0)
    network = CPnet([2, 32, 64, 128, 256], 3, 3, max_pool=True, diam_mean=17.0)
    macs = count_multiplications(network, torch.zeros(1, 2, *asked.crop))
    marks: list[float] = []
    get_batch = train._get_batch

    def get_marked(*given: Any, **options: Any) -> Any:
        marks.append(time.process_time())
        return get_batch(*given, **options)

    train._get_batch = get_marked
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        losses = train.train_seg(
            network,
            train_data=images,
            train_labels=labels,
            channels=[0, 0],
            batch_size=asked.batch,
            nimg_per_epoch=asked.batch,
            n_epochs=asked.steps,
            bsize=asked.crop[0],
            save_path=folder,
        )[1]
    return {"marks": marks, "losses": losses.tolist(), "macs": macs, "once": marks[0] - begin}


def train_volumes(asked: argparse.Namespace) -> dict[str, Any]:
    """A network like that of nnU-Net, fed by MONAI's transforms."""
    from monai.losses import DiceCELoss

    begin = time.process_time()
    batches = volume_batches(asked)
    torch.manual_seed(0)
    network = like_nnunet()
    macs = count_multiplications(network, torch.zeros(1, 1, *asked.crop))
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.99, weight_decay=3e-5, nesterov=True
    )
    marks: list[float] = []
    losses: list[float] = []
    network.train()
    for _ in range(asked.steps):
        marks.append(time.process_time())
        batch = next(batches)
        optimizer.zero_grad(set_to_none=True)
        levels = torch.unbind(network(batch["image"]), dim=1)
        weights = [0.5**level for level in range(len(levels))]
        terms = [w * loss_of(y, batch["label"]) for w, y in zip(weights, levels, strict=True)]
        loss = sum(terms) / sum(weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimizer.step()
        losses.append(float(loss.detach()))
    return {"marks": marks, "losses": losses, "macs": macs, "once": marks[0] - begin}


def like_nnunet() -> Any:
    """The network that nnU-Net plans for crops of this size: 32 to 256 features (320 at most)."""
    from monai.networks.nets import DynUNet

    strides = [1, 2, 2, 2]
    return DynUNet(
        3,
        1,
        3,
        [3] * len(strides),
        strides,
        strides[1:],
        filters=[min(32 * 2**level, 320) for level in range(len(strides))],
        norm_name=("INSTANCE", {"affine": True}),
        act_name=("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
        deep_supervision=True,
        deep_supr_num=2,
    )


def volume_batches(asked: argparse.Namespace) -> Iterator[Any]:
    """Batches without end; volumes are read, normalized and padded once and kept in memory."""
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader
    from monai.utils import set_determinism

    set_determinism(0)
    both, modes = ["image", "label"], ("bilinear", "nearest")
    positive, negative = _FOREGROUND
    parts = [
        t.LoadImaged(both),
        t.EnsureChannelFirstd(both),
        t.NormalizeIntensityd("image"),
        t.SpatialPadd(both, spatial_size=asked.crop),
        t.RandCropByPosNegLabeld(
            both, label_key="label", spatial_size=asked.crop, pos=positive, neg=negative,
            num_samples=1,
        ),
        t.RandRotated(both, 0.52, 0.52, 0.52, prob=0.2, mode=modes),
        t.RandZoomd(both, prob=0.2, min_zoom=0.7, max_zoom=1.4, mode=("trilinear", "nearest")),
        t.RandGaussianNoised("image", prob=0.1, std=0.1),
        t.RandGaussianSmoothd("image", (0.5, 1), (0.5, 1), (0.5, 1), prob=0.2),
        t.RandScaleIntensityd("image", factors=0.25, prob=0.15),
        t.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
        *(t.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)),
    ]  # fmt: skip
    files = [dict(zip(both, map(str, pair), strict=True)) for pair in first_files(asked)]
    kept = CacheDataset(files, t.Compose(parts), num_workers=0, progress=False)
    loader = DataLoader(kept, batch_size=asked.batch, shuffle=True, drop_last=True)
    while True:
        yield from loader


def first_files(asked: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Evenly spread images with their labels."""
    paths = sorted(asked.images.iterdir())
    paths = paths[:: max(1, len(paths) // asked.count)][: asked.count]
    return [(path, asked.labels / path.name) for path in paths]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What both sides are told."""
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40, help="images that are used")
    parser.add_argument("--crop", type=int, nargs="+", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("cells", "volumes"))
    add_options(parser)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = train_cells(asked) if asked.what == "cells" else train_volumes(asked)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

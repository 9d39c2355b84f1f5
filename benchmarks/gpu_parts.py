"""Parts of ``gpu.py`` that train no network of ``gpu_workloads``: kernels, features, labels."""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unmask
from unmask import kmeans
from unmask.clustering.dense import Dense
from unmask.clustering.on_device import nearest_centers
from unmask.infer.load import load_predictor
from unmask.infer.predictor import move_predictor
from unmask.labels import labels_to_flows, tracking
from unmask.labels.tracking_device import follow_on_device
from unmask.metrics import f1
from unmask.models import ViT
from unmask.phantoms import draw_one
from unmask.space.box import Box
from unmask.space.pad import pad_reads

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data")) / "dsb2018_nuclei"
# Dense multiply-adds in bfloat16 (float16 on older ones) as NVIDIA states them, in TFLOP/s.
STATED = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "V100": 125, "T4": 65}


def release(device: torch.device) -> None:
    """Memory of the part before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def describe_gpu(device: torch.device) -> dict[str, str]:
    """Name, memory and software of the GPU."""
    facts = torch.cuda.get_device_properties(device)
    memory = f"{facts.total_memory / 1e9:.0f} GB"
    return {"gpu": f"{facts.name}, {memory}, CUDA {torch.version.cuda}"}


def wait_for(device: torch.device) -> None:
    """Until the device has done all of its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fastest(fn: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Wall seconds of the fastest of several calls, after one that does not count."""
    best = float("inf")
    for number in range(repeats + 1):
        wait_for(device)
        begin = time.perf_counter()
        fn()
        wait_for(device)
        if number:
            best = min(best, time.perf_counter() - begin)
    return best


def peak_flops(device: torch.device, dtype: torch.dtype, side: int = 8192) -> float:
    """Operations per second of a square matrix product."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / fastest(lambda: left @ right, device, 5)


def stated_peak(device: torch.device) -> float | None:
    """Operations per second that the maker states; None: unknown."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((1e12 * speed for key, speed in STATED.items() if key in name), None)


def measure_peaks(device: torch.device, *, tiny: bool) -> list[Row]:
    """Matrix products in the precisions that networks use."""
    side = 256 if tiny else 8192
    stated = stated_peak(device)
    rows = []
    for name, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32)):
        found = peak_flops(device, dtype, side)
        floor = None if stated is None or name != "bf16" else stated / 1e12
        note = "TF32 off" if name == "float32" else "floor: stated by the maker"
        rows.append(
            {
                "what": f"matrix product, {name}",
                "ours": found / 1e12,
                "floor": floor,
                "unit": "TFLOP/s",
                "note": note,
            }
        )
    return rows


def measure_kmeans(device: torch.device, *, tiny: bool) -> list[Row]:
    """The nearest center of every feature: the device against one thread of the CPU."""
    count, dim, clusters = (4000, 16, 4) if tiny else (2_000_000, 192, 16)
    rng = np.random.default_rng(0)
    points = rng.standard_normal((count, dim), dtype=np.float32)
    centers = points[:clusters].copy()
    held = torch.from_numpy(points).to(device)
    ours = fastest(lambda: nearest_centers(held, centers), device, 3)
    begin = time.process_time()
    truth = kmeans.assign(points, centers)[0]
    peer = time.process_time() - begin
    same = float((nearest_centers(held, centers) == truth).mean())
    assert same > 0.999, same
    note = f"peer: one thread; {same:.4%} of the labels equal"
    return [_versus(f"k-means, {count:,} x {dim}, nearest of {clusters}", ours, peer, note)]


def measure_dense(device: torch.device, *, tiny: bool) -> list[Row]:
    """Dense features of MAESTER's network in every quality, and their cosine to the CPU's."""
    torch.manual_seed(0)
    depth = 2 if tiny else 14
    options = {"dim": 192, "heads": 1, "mlp_ratio": 2.0, "position_scale": 0.08}
    network = ViT(2, 1, image=80, patch=5, depth=depth, **options).eval()
    side = 100 if tiny else 480
    image = np.random.default_rng(0).random((1, side, side), dtype=np.float32)
    read = pad_reads(lambda box: image[:, *box.slices], image.shape[1:], mode="reflect")
    small = Box((40, 40), (56, 56))
    exact = Dense(network, precision="32").compute(read, image.shape[1:], small).numpy()
    network.to(device)
    rows = []
    for quality in ("draft",) if tiny else ("exact", "fast", "draft"):
        dense = Dense(network, quality=quality)
        whole = Box((0, 0), (side, side) if quality != "exact" else (side // 2, side // 2))
        seconds = fastest(
            lambda d=dense, w=whole: d.compute(read, image.shape[1:], w), device, 1 if tiny else 2
        )
        near = dense.compute(read, image.shape[1:], small).float().cpu().numpy()
        norms = np.linalg.norm(near, axis=-1) * np.linalg.norm(exact, axis=-1)
        cosine = float(((near * exact).sum(-1) / norms).mean())
        note = f"cosine to exact float32 of the CPU: mean {cosine:.5f}"
        rows.append(
            {
                "what": f"dense features, {quality}",
                "ours": seconds / whole.size * 1e6,
                "unit": "us/voxel",
                "note": note,
            }
        )
    return rows


def measure_flows(device: torch.device, *, tiny: bool) -> list[Row]:
    """Paths along a flow field: the device against one thread of the CPU; ends are equal."""
    side = 96 if tiny else 2048
    labels = draw_one("nuclei", (side, side), seed=0).labels.astype(np.int32)
    inside = labels > 0
    field, points = labels_to_flows(labels), np.flatnonzero(inside)
    padded = np.pad(field, [(0, 0), (1, 1), (1, 1)])
    flat = np.ascontiguousarray(np.moveaxis(padded, 0, -1)).reshape(-1)
    ours = fastest(lambda: follow_on_device(padded, points, 200, device), device, 1 if tiny else 3)
    tracking.follow(flat, points[:1], inside.shape, 8)
    begin = time.process_time()
    truth = tracking.follow(flat, points, inside.shape, 200)
    peer = time.process_time() - begin
    same = float((follow_on_device(padded, points, 200, device) == truth).mean())
    assert same > 0.999, same
    note = f"{len(points):,} points, copies included; peer: one thread; {same:.4%} of ends equal"
    return [_versus(f"paths along flows, {side}^2", ours, peer, note)]


def measure_prediction(device: torch.device, *, tiny: bool) -> list[Row]:
    """The shipped model on an image: labels of the device and of the CPU, and its speed."""
    side = 128 if tiny else 2048
    image = draw_one("nuclei", (side, side), seed=3).image
    rows = []
    predictor = load_predictor("nuclei", ["infer.precision=32"])
    truth = move_predictor(predictor, "cpu").predict(image[:, :512, :512]).labels
    for precision in ("32",) if tiny else ("32", "auto"):
        predictor = move_predictor(
            load_predictor("nuclei", [f"infer.precision={precision}"]), device
        )
        found = predictor.predict(image[:, :512, :512]).labels
        score = f1(truth, found, threshold=0.5)
        assert score > 0.98, score
        seconds = fastest(lambda p=predictor: p.scores(image), device, 1 if tiny else 2)
        rows.append(
            {
                "what": f"scores of the shipped model, {side}^2, {precision}",
                "ours": side * side / seconds / 1e6,
                "unit": "million pixels/s",
                "note": f"F1@0.5 of the labels against those of the CPU {score:.4f}",
            }
        )
    return rows


def train_nuclei(device: torch.device, *, tiny: bool, minutes: float = 3.0) -> list[Row]:
    """``cells`` with MiT-b2 on nuclei, from random weights, for some minutes."""
    images, labels, val_images, val_labels, source = _nuclei(tiny=tiny)
    settings = ["model.backbone={name: mit, size: b2}", "data.crop=[256, 256]"]
    settings += ["train.batch_size=32", "train.lr=0.0004", "train.warmup=100", "train.workers=14"]
    if tiny:
        settings = ["model.backbone={name: resunet, width: 4, depth: 2}", "data.crop=[64, 64]"]
        settings += ["train.batch_size=2", "train.warmup=0", "train.workers=0"]
        settings += ["train.precision=32"]
    with tempfile.TemporaryDirectory() as folder:
        steps = 2 if tiny else _steps_in(60 * minutes, settings, images, labels)
        settings += [f"train.steps={steps}", f"train.validate_every={max(1, steps)}"]
        begin = time.perf_counter()
        held_out = {"val_images": val_images, "val_labels": val_labels}
        given = {"init": "none", "settings": settings, **held_out}
        run = unmask.train("cells", images=images, labels=labels, out=Path(folder) / "run", **given)
        seconds = time.perf_counter() - begin
        scores = _scores(run.model, val_images, val_labels, device)
    name = settings[0].partition("=")[2]
    return [
        {
            "what": f"cells, {name}, {source}",
            "ours": statistics.fmean(scores),
            "floor": None if tiny else 0.9,
            "unit": "F1@0.5",
            "note": f"{steps} updates in {seconds:.0f} s, {len(scores)} images held out; "
            "floor: the goal of ten minutes",
        }
    ]


def _nuclei(*, tiny: bool) -> tuple[Any, Any, Any, Any, str]:
    """Images and labels to train on and held out, and what they are."""
    if DATA.is_dir() and not tiny:
        train, val = DATA / "train", DATA / "val"
        folders = train / "images", train / "labels", val / "images", val / "labels"
        return (*folders, "dsb2018_nuclei")
    side, count = (64, 3) if tiny else (384, 120)
    drawn = [draw_one("nuclei", (side, side), seed=1, index=i) for i in range(count)]
    images, labels = [d.image[0] for d in drawn], [d.labels for d in drawn]
    held = max(1, count // 6)
    return images[held:], labels[held:], images[:held], labels[:held], "synthetic nuclei"


def _steps_in(seconds: float, settings: Sequence[str], images: Any, labels: Any) -> int:
    """Updates that fit into a time, by a few that are timed."""
    with tempfile.TemporaryDirectory() as folder:
        short = [*settings, "train.steps=60", "train.validate_every=0", "train.precision=bf16"]
        short += ["data.holdout=0"]
        out = Path(folder) / "run"
        unmask.train("cells", images=images, labels=labels, out=out, init="none", settings=short)
        lines = (out / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    speed = float(__import__("json").loads(lines[-1])["samples_per_second"])
    return max(60, int(seconds * speed / 32))


def _scores(model: Path, images: Any, labels: Any, device: torch.device) -> list[float]:
    """F1 at IoU 0.5 of every image that was held out."""
    predictor = move_predictor(load_predictor(model), device)
    if isinstance(images, Path):
        pairs = [
            (path, unmask.io.open_labels(labels / path.name, ndim=2).read()[0])
            for path in sorted(images.iterdir())
        ]
    else:
        pairs = list(zip(images, labels, strict=True))
    found = [unmask.predict(predictor, image).labels for image, _ in pairs]
    return [f1(truth, got, threshold=0.5) for (_, truth), got in zip(pairs, found, strict=True)]


def _versus(what: str, ours: float, peer: float, note: str) -> Row:
    return {
        "what": what,
        "ours": ours,
        "peer": peer,
        "ratio": peer / ours,
        "unit": "s",
        "note": note,
    }

"""Decoding of affinities: time against the libraries, error on made-up tissue.

Mutex watershed against bioimage-cpp and mwatershed, agglomeration against waterz on the same
fragments, fragments against scikit-image, the multicut's graph against bioimage-cpp; then the error
of every decoder. Both sides of a time give the same partition, which is checked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import bioimage_cpp.graph as graphs
import bioimage_cpp.segmentation as library
import numpy as np
import waterz as agglomerator

import decoders
from harness import interleave, row, write
from scenes import DECAYS, PLANE, VOLUME, affinities, cells, widened
from unmask.labels.agglomeration import agglomerate
from unmask.labels.edges import check_edges
from unmask.labels.mutex import mutex_watershed
from unmask.labels.regions import region_graph
from unmask.labels.watershed import Watershed, fragments
from unmask.metrics import evaluate_pair

try:
    from mwatershed import agglom
except ImportError:
    agglom = None

SCENES: dict[str, Any] = {
    "512^2": ((512, 512), 149, 1.0, PLANE, (5, 5), 50),
    "32x192^2": ((32, 192, 192), 100, 4.0, VOLUME, (1, 5, 5), 200),
}


def quiet(function: Callable[[], np.ndarray]) -> np.ndarray:
    """The result without what a library writes to the process's output."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        return function()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def same(first: np.ndarray, second: np.ndarray) -> None:
    """Both are one partition."""
    pairs = np.unique(np.stack([first.ravel(), second.astype(np.int64).ravel()]), axis=1)
    assert [len(np.unique(each)) for each in pairs] == [pairs.shape[1]] * 2


def mutex_rows(name: str, values: np.ndarray, offsets: Any, strides: Any) -> list[dict[str, Any]]:
    """The published form, by both libraries."""
    axes = values.ndim - 1
    weights = values.copy()
    weights[axes:] = 1 - weights[axes:]
    rivals: dict[str, Callable[[], np.ndarray]] = {
        "bioimage-cpp": lambda: library.mutex_watershed(weights, offsets, axes, strides=strides)
    }
    if agglom is not None:
        cluster = agglom
        signed = values.astype(np.float64) - 0.5
        steps = [[1] * axes if c < axes else list(strides) for c in range(len(offsets))]
        rivals["mwatershed"] = lambda: cluster(
            signed, [list(o) for o in offsets], strides=steps, randomized_strides=False
        )
    ours = lambda: mutex_watershed(values, offsets, strides=strides, join_above=-1)  # noqa: E731
    same(ours(), rivals["bioimage-cpp"]())
    seconds = interleave({"ours": ours, **rivals}, 3)
    return [
        row(
            f"mutex watershed, {name}, strides {list(strides)}, against {rival}",
            {"ours": seconds["ours"], "peer": seconds[rival]},
            note="equal partition" if rival == "bioimage-cpp" else "",
        )
        for rival in rivals
    ]


def waterz_of(values: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Mean agglomeration at 0.5 by the library; planes get an axis.

    With its queue of bins, as clipped affinities make ties that only that one has an order for.
    """
    lead = (1,) * (4 - values.ndim)
    near = np.zeros((3, *lead, *cut.shape), np.float32)
    near[len(lead) :] = values[: cut.ndim].reshape(cut.ndim, *lead, *cut.shape)
    runs = agglomerator.agglomerate(
        near,
        [0.5],
        fragments=cut.reshape(*lead, *cut.shape).astype(np.uint64),
        discretize_queue=256,
    )
    return quiet(lambda: np.asarray(next(iter(runs)))).reshape(cut.shape)


def agglomeration_rows(name: str, values: np.ndarray, offsets: Any) -> list[dict[str, Any]]:
    """Graph and contraction on the same fragments; the graph alone."""
    edges = check_edges(values, offsets, None)
    cut = fragments(edges, Watershed(per_slice=values.ndim > 3))
    ours = lambda: agglomerate(cut, region_graph(cut, edges), bins=256)  # noqa: E731
    same(ours(), waterz_of(values, cut))
    exact = lambda: agglomerate(cut, region_graph(cut, edges))  # noqa: E731
    rivals = {"ours": ours, "peer": lambda: waterz_of(values, cut), "exact": exact}
    whole = interleave(rivals, 3)
    near = np.ascontiguousarray(values[: cut.ndim])

    def features() -> np.ndarray:
        graph = graphs.region_adjacency_graph(cut, number_of_threads=1)
        return graphs.features.affinity_features(
            graph, cut, near, offsets[: cut.ndim], number_of_threads=1
        )

    alone = interleave({"ours": lambda: region_graph(cut, edges), "peer": features}, 3)
    return [
        row(
            f"agglomeration of {cut.max()} fragments, {name}",
            whole,
            note="peer waterz, mean, with its graph; equal partition",
        ),
        row(
            f"the same in exact order, {name}",
            {"ours": whole["exact"], "peer": whole["peer"]},
            note="our default; the peer's queue has 256 bins",
        ),
        row(f"graph of regions, {name}", alone, note="peer bioimage-cpp; equal edges and means"),
    ]


def metric_row() -> dict[str, Any]:
    """All metrics of one plane of leaves."""
    truth = cells((512, 512), 144)
    predicted = np.roll(truth, (1, 2), (0, 1))
    names = ("sbd", "aji", "pq", "voi", "arand")
    seconds = interleave({"ours": lambda: evaluate_pair(truth, predicted, names)}, 10)
    return row(
        "SBD, AJI, PQ, VOI and ARAND of 144 objects, 512^2",
        seconds,
        floor=0.005,
        note="floor: goal",
    )


def error_rows(name: str, scenes: Mapping[str, decoders.Scene], tried: Any) -> list[dict[str, Any]]:
    """ARAND of decoders at their defaults."""
    rows = []
    for kind, scene in scenes.items():
        for options, figures in decoders.compare([scene], tried):
            note = f"VOI {figures['voi']:.3f}, F1@0.5 {figures['f1@0.5']:.3f}"
            form = {-1: ", published form", None: ""}.get(options.get("join_above"), ", default")
            form += ", 50 % quantile" if "quantile" in options else ""
            what = f"ARAND, {name}, {kind}: {options['method']}{form}"
            rows.append(row(what, {"ours": figures["arand"]}, unit="", note=note))
    return rows


def main() -> None:
    """Measure everything and store it."""
    rows = [metric_row()]
    for name, (space, count, stretch, offsets, strides, small) in SCENES.items():
        truth = cells(space, count, stretch=stretch)
        membranes = widened(truth)
        scenes = {
            "thin mid": decoders.Scene(affinities(truth, offsets, DECAYS["mid"]), offsets, truth),
            **{
                f"membrane {how}": decoders.Scene(
                    affinities(membranes, offsets, decay), offsets, truth
                )
                for how, decay in DECAYS.items()
            },
        }
        values = scenes["membrane mid"].affinities
        rows += mutex_rows(name, values, offsets, strides)
        rows += agglomeration_rows(name, values, offsets)
        cut = {"per_slice": len(space) > 2}
        tried = decoders.candidates(
            strides=strides, watershed=cut, thresholds=(0.5,), min_size=small
        )
        rows += error_rows(name, scenes, tried)
    write("affinity_decoding", rows)


if __name__ == "__main__":
    main()

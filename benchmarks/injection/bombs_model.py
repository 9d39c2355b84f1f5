"""Bombs in model files, recipes and lists of data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Writes a file; what it returns does not matter.
Maker = Callable[[Path], object]
# More than Python's limit of recursion.
_DEPTH = 100_000
SMALL = {
    "name": "semantic2d",
    "data": {"channels": 1, "crop": [32, 32]},
    "model": {"backbone": {"name": "resunet", "width": 4, "depth": 3}},
    "task": {"name": "semantic", "classes": 2},
    "train": {"steps": 1},
}


def _header(length: int, content: bytes = b"", size: int = 0) -> Maker:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(length.to_bytes(8, "little") + content)
            if size:
                file.truncate(size)

    return make


def write_model(path: Path, card: str) -> None:
    """A model file of a small network with a valid digest and any card."""
    from unmask.build import build_segmenter
    from unmask.checkpoint.tensors import write_tensors
    from unmask.recipe import parse

    weights = build_segmenter(parse(SMALL, source="a small network")).state_dict()
    write_tensors(path, weights, {"unmask": card})


def _card(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Maker:
    """A model file with another card."""

    def make(path: Path) -> None:
        text = json.dumps(change(json.loads(json.dumps(SMALL))))
        write_model(path, text.replace('"DEEP"', "[" * _DEPTH + "]" * _DEPTH))

    return make


def _network(**backbone: Any) -> Maker:
    def change(recipe: dict[str, Any]) -> Mapping[str, Any]:
        recipe["model"]["backbone"] = backbone
        return {"recipe": recipe}

    return _card(change)


def _classes(recipe: dict[str, Any]) -> Mapping[str, Any]:
    recipe["task"]["classes"] = 10**9
    return {"recipe": recipe}


def _channels(recipe: dict[str, Any]) -> Mapping[str, Any]:
    recipe["data"]["channels"] = 10**9
    return {"recipe": recipe}


def _nested(recipe: dict[str, Any]) -> Mapping[str, Any]:
    recipe["data"]["normalize"] = {"name": "percentile", "low": "DEEP"}
    return {"recipe": recipe}


def _tensors(count: int) -> bytes:
    entry = '"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    return ("{" + ",".join(entry % number for number in range(count)) + "}").encode()


def _many_tensors(path: Path) -> None:
    text = _tensors(150_000)
    path.write_bytes(len(text).to_bytes(8, "little") + text)


def _deep_header(path: Path) -> None:
    text = b"[" * 1_000_000
    path.write_bytes(len(text).to_bytes(8, "little") + text)


def _huge_tensor(path: Path) -> None:
    text = b'{"w":{"dtype":"F64","shape":[4611686018427387904,8],"data_offsets":[0,0]}}'
    path.write_bytes(len(text).to_bytes(8, "little") + text)


def _text(text: Callable[[], str]) -> Maker:
    return lambda path: path.write_text(text())


def _anchors() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 12):
        again = ", ".join(f"*a{number - 1}" for _ in range(10))
        lines.append(f"a{number}: &a{number} [{again}]")
    return "\n".join(lines) + "\n"


def _anchors_inside() -> str:
    """A preset's fields with a bomb as an option of a component."""
    return _anchors() + "name: bomb\ndata: {crop: [32, 32]}\nmodel: {backbone: *a11}\n"


MAKERS: dict[str, Maker] = {
    "long_header.safetensors": _header(2**63),
    "sparse_header.safetensors": _header(200 * 2**20, b"{", 300 * 2**20),
    "sparse_file.safetensors": _header(100, b"{}".ljust(100), 64 * 2**30),
    "many_tensors.safetensors": _many_tensors,
    "deep_header.safetensors": _deep_header,
    "huge_tensor.safetensors": _huge_tensor,
    "wide_network.safetensors": _network(name="resunet", width=100_000, depth=3),
    "deep_network.safetensors": _network(name="resunet", width=4, depth=40),
    "large_vit.safetensors": _network(
        name="vit", patch=[8, 8], dim=65_536, depth=1_000, heads=16
    ),
    "long_vit.safetensors": _network(name="vit", patch=[8, 8], dim=24, depth=10**7, heads=2),
    "many_classes.safetensors": _card(_classes),
    "many_channels.safetensors": _card(_channels),
    "deep_card.safetensors": _card(_nested),
    "anchors.yaml": _text(_anchors),
    "anchors_in_option.yaml": _text(_anchors_inside),
    "nested.yaml": _text(lambda: "[" * 200_000),
    "nested_keys.yaml": _text(lambda: "".join(" " * n + "a:\n" for n in range(1200))),
    "long.yaml": _text(lambda: "a: " + "x" * (64 * 2**20)),
    "nested.json": _text(lambda: "[" * 10**6),
    "long.json": _text(lambda: '{"training": [' + '"a",' * (30 * 2**20) + '"a"]}'),
}  # fmt: skip

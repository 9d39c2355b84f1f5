"""``describe_installation``: what is installed; ``compile_kernels``: ahead of the first run."""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from unmask import shipped
from unmask.interruption import drop_notes

# Extras for people who work on unmask itself.
_INTERNAL = ("dev", "docs")
_EXTRA = re.compile(r"""(?P<name>[\w.-]+).*extra\s*==\s*["'](?P<extra>[\w-]+)["']""")


@dataclass(frozen=True)
class Installation:
    """What runs here.

    Attributes:
        versions: of unmask, Python and torch.
        devices: every device by the name that ``--device`` takes.
        chosen: the device that is used if none is named.
        extras: packages that are missing by extra; empty if the extra is complete.
        caches: what is kept on disk, and where.
        models: names of the shipped models.
    """

    versions: Mapping[str, str]
    devices: Mapping[str, str]
    chosen: str
    extras: Mapping[str, tuple[str, ...]]
    caches: Mapping[str, str]
    models: tuple[str, ...]

    def to_text(self) -> str:
        """A line per fact."""
        lines = [f"{name} {number}" for name, number in self.versions.items()]
        lines += [
            f"device {name}: {text}{' (used)' if name == self.chosen else ''}"
            for name, text in self.devices.items()
        ]
        lines += [
            f"extra {name}: "
            + (
                f"lacks {', '.join(missing)} (pip install 'unmask[{name}]')"
                if missing
                else "complete"
            )
            for name, missing in self.extras.items()
        ]
        lines += [f"{name}: {path}" for name, path in self.caches.items()]
        return "\n".join([*lines, f"models: {', '.join(self.models)}"])


def describe_installation() -> Installation:
    """Versions, devices, extras and cache folders.

    Examples:
        >>> "cpu" in describe_installation().devices
        True
    """
    import torch

    devices = {"cpu": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"}
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        count = torch.accelerator.device_count()
        devices |= {_name(accelerator.type, number): _describe(accelerator.type, number)
                    for number in range(count)}  # fmt: skip
    return Installation(
        versions={
            "unmask": version("unmask"),
            "Python": platform.python_version(),
            "torch": torch.__version__,
        },
        devices=devices,
        chosen=list(devices)[min(1, len(devices) - 1)],
        extras=_extras(),
        caches={"compiled kernels": str(_kernel_folder())},
        models=tuple(shipped.names()),
    )


def compile_kernels() -> float:
    """Compile what predict, evaluate and measure need, so that the first run does not wait for it.

    They run on two small synthetic images; kernels that are compiled already are loaded.

    Returns:
        Seconds.
    """
    import numpy as np

    from unmask.api.evaluation import evaluate
    from unmask.api.measuring import measure_files
    from unmask.api.prediction import predict_files
    from unmask.io import save_image
    from unmask.metrics import INSTANCE, SEMANTIC
    from unmask.phantoms.cells import nuclei

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="unmask-") as folder:
        root = Path(folder)
        phantom = nuclei((96, 96), rng=np.random.default_rng(0))
        # More than 255 objects are stored in 16 bits, and kernels are compiled for each type.
        for name, kind in (("small", "u1"), ("large", "u2")):
            save_image(root / "images" / f"{name}.tif", phantom.image.astype(kind))
            save_image(root / "labels" / f"{name}.tif", phantom.labels.astype(kind))
        images, labels, out = (str(root / name) for name in ("images", "labels", "out"))
        with drop_notes():
            predict_files("nuclei", images, out=out, say=_ignore)
        evaluate(truth=labels, predicted=labels, metrics=[*INSTANCE, *SEMANTIC])
        measure_files(labels, images=images, out=root / "table.csv", say=_ignore)
    return time.perf_counter() - begin


def _ignore(text: str) -> None:
    """Lines about images that nobody has asked for."""


def _name(kind: str, number: int) -> str:
    return kind if kind == "mps" else f"{kind}:{number}"


def _describe(kind: str, number: int) -> str:
    import torch

    if kind != "cuda":
        return kind
    facts = torch.cuda.get_device_properties(number)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"


def _extras() -> dict[str, tuple[str, ...]]:
    """Packages that are missing, by extra."""
    wanted = metadata("unmask").get_all("Provides-Extra") or []
    found: dict[str, tuple[str, ...]] = {name: () for name in wanted if name not in _INTERNAL}
    for line in requires("unmask") or ():
        match = _EXTRA.match(line)
        if match and match["extra"] in found and not _is_installed(match["name"]):
            found[match["extra"]] += (match["name"],)
    return found


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _kernel_folder() -> Path:
    """Where numba keeps kernels: the named folder, or next to the modules, or that of the user."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(named)
    own = Path(__file__).parents[1] / "labels" / "__pycache__"
    return own if os.access(own.parent, os.W_OK) else Path.home() / ".cache" / "numba"

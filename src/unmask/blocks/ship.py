"""How models and images reach other processes: as files, which each process opens once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from unmask.data.channel_choice import select_channels
from unmask.data.grid import Place
from unmask.data.source import hold_whole
from unmask.errors import CheckpointError, DataError, RecipeError, message
from unmask.io import Image, open_image, use_formats
from unmask.io.identity import image_identity, is_in_files
from unmask.io.remote import is_remote

if TYPE_CHECKING:
    import torch

Model = TypeVar("Model")


@dataclass(frozen=True)
class ModelFile(Generic[Model]):
    """A model in files; call it to get the model.

    Attributes:
        load: gives the model and the digest of its weights; equal values load equal models.
        digest: of the weights that the run began with.
        name: of the files, for messages.
    """

    load: Callable[[], tuple[Model, str]]
    digest: str
    name: str

    def __call__(self) -> Model:
        """The model, on the device of this worker.

        Raises:
            CheckpointError: other weights than those that the run began with.
        """
        return _load_once(self)


@dataclass(frozen=True)
class ImageFile:
    """An image in a file; call it to get the image, or the part of it that is seen.

    Attributes:
        source: path as every worker sees it.
        axes: axes of the file where it does not say itself.
        shape: ``(C, *space)`` that it has.
        place: what the network sees of it; None: all of it.
        allow_external: whether its values may be in other files.
        identity: what changes when its files do, so that a process that outlives a run opens a
            rewritten image again.
        format: ``path/to/file.py:Name`` of its format; "" for one that is known anyway.
        channels: numbers of the channels that are used; None: all.
    """

    source: str
    axes: str | None
    shape: tuple[int, ...]
    place: Place | None = None
    allow_external: bool = False
    identity: str = ""
    format: str = ""
    channels: tuple[int, ...] | None = None

    def __call__(self) -> Image:
        """The image.

        Raises:
            DataError: another shape than the run began with, or a file that cannot be read.
        """
        return _open_once(self)


def ship_image(image: Image, axes: str | None, place: Place | None = None) -> ImageFile:
    """The image as another process can open it.

    Raises:
        RecipeError: the image is in memory.
    """
    if not is_in_files(image):
        raise in_memory()
    return ImageFile(
        image.source if is_remote(image.source) else str(Path(image.source).absolute()),
        axes,
        image.shape,
        place,
        allow_external=bool(image.meta.get("allow_external")),
        identity=image_identity(image),
        format=str(image.meta.get("format", "")),
        channels=image.meta.get("selected"),
    )


def in_memory() -> RecipeError:
    """The error for a model or an image that other processes cannot get."""
    return RecipeError(
        "--workers: expected the model and images in files that every worker can read, found some "
        "in memory. Give paths, or leave out the cluster."
    )


# The model of every device, and the file that it was loaded from.
_LOADED: dict[str, tuple[ModelFile[Any], Any]] = {}


def _load_once(file: ModelFile[Any]) -> Any:
    # Only workers with a model need PyTorch.
    from unmask.space.devices import find_device, on_device

    device = worker_device(find_device(), worker_name())
    kept = _LOADED.get(str(device))
    if kept is None or kept[0] != file:
        # The old model is freed before the new one takes memory of the device.
        _LOADED.pop(str(device), None)
        with on_device(device):
            kept = _LOADED[str(device)] = (file, _load(file))
    return kept[1]


def worker_name() -> str:
    """Name of the dask worker whose unit this thread computes; "" outside of one."""
    try:
        from distributed import get_worker

        return str(get_worker().name)
    except (ImportError, ValueError):
        return ""


def worker_device(first: torch.device, name: str, count: int | None = None) -> torch.device:
    """The device of a worker: the number at the end of its name, among the devices it sees.

    Workers of one machine are numbered, so that they take one GPU each. A scheduler such as SLURM
    that shows a worker only its own GPU leaves nothing to choose.

    Args:
        first: the device that ``auto`` stands for.
        name: of the worker.
        count: devices of the machine; None: as many as PyTorch finds.

    Examples:
        >>> import torch
        >>> worker_device(torch.device("cuda"), "worker-5", count=4)
        device(type='cuda', index=1)
    """
    import torch

    # PyTorch says that an index is never None, but it is for "cuda".
    if first.type == "cpu" or ":" in str(first):
        return first
    devices = torch.accelerator.device_count() if count is None else count
    number = re.search(r"(\d+)$", name)
    if devices < 2 or number is None:
        return first
    return torch.device(first.type, int(number[1]) % devices)


def _load(file: ModelFile[Any]) -> Any:
    model, digest = file.load()
    if digest != file.digest:
        raise CheckpointError(
            message(
                file.name,
                expected="the weights that the run began with",
                found="others",
                do="Do not replace a model during a run; give every worker the same files.",
            )
        )
    return model


@lru_cache(maxsize=1)
def _open_once(file: ImageFile) -> Image:
    ndim = len(file.shape) - 1
    use_formats([file.format] if file.format else [])
    image = open_image(file.source, axes=file.axes, ndim=ndim, allow_external=file.allow_external)
    if file.channels is not None and max(file.channels) < image.shape[0]:
        image = select_channels(image, file.channels)
    if image.shape != file.shape:
        raise DataError(
            message(
                file.source,
                expected=f"the image that the run began with, of shape {file.shape}",
                found=f"shape {image.shape}",
                do="Do not replace images during a run; give every worker the same files.",
            )
        )
    return hold_whole(image if file.place is None else file.place.seen(image))

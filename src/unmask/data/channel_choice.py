"""Choose the channels of a file: by number, by name, or by the names of the training.

Numbers start at 0. Names come from OME-XML, ImageJ, OME-Zarr, ``dataset.json`` and the names of
files that are one channel each; case and spaces at the ends do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unmask.data.channels import check_channels
from unmask.errors import DataError, message
from unmask.io import Image
from unmask.wording import format_part

Channel = int | str
# Largest number of names in a message.
_SHOWN = 12


@dataclass(frozen=True)
class ChannelChoice:
    """The channels that are used, in the order of the network's input.

    Attributes:
        wanted: numbers or names; None: all channels.
        trained: channel names of the training images; the channels of a file with all of these
            names are selected by name, in any order. Empty: not known, or the user has chosen
            ``wanted``, which then applies to every file.
    """

    wanted: tuple[Channel, ...] | None = None
    trained: tuple[str, ...] = ()

    def choose(self, image: Image, notes: list[str] | None = None) -> Image:
        """Select the channels that are used.

        Args:
            image: image with all channels of its file.
            notes: a line is appended if the choice is not certain.

        Returns:
            The image with these channels; the same image if it has no others.

        Raises:
            DataError: the image lacks a channel; the message lists its channels.
        """
        if self.trained:
            return self._choose_as_trained(image, [] if notes is None else notes)
        if self.wanted is None:
            return image
        return select_channels(image, channel_numbers(image, self.wanted))

    def _choose_as_trained(self, image: Image, notes: list[str]) -> Image:
        names = known_names(image)
        positions = [_find_name(names, name) for name in self.trained]
        if all(position is not None for position in positions):
            return select_channels(image, [n for n in positions if n is not None])
        count = len(self.trained)
        if self.wanted is not None and image.shape[0] > count:
            numbers = [each for each in self.wanted if isinstance(each, int)]
            if len(numbers) == count and max(numbers) < image.shape[0]:
                notes.append(self._assumption(image, f"its channels {_list_channels(numbers)} are"))
                return select_channels(image, numbers)
        if image.shape[0] == count and any(names):
            notes.append(self._assumption(image, f"its channels {_list_channels(names)} are"))
        try:
            check_channels(image.shape[0], count, source=image.source)
        except DataError as error:
            raise DataError(self._unknown(image)) from error
        return image

    def _assumption(self, image: Image, subject: str) -> str:
        return (
            f"{image.source}: {subject} taken for {_list_channels(self.trained)}, which the model "
            "was trained on, in this order. Choose others with --channels."
        )

    def _unknown(self, image: Image) -> str:
        return message(
            image.source,
            expected=f"the channels {_list_channels(self.trained)}, which the model was trained on",
            found=describe_channels(image),
            do="Say which ones to use, in this order: --channels with names or numbers.",
        )


EVERY = ChannelChoice()


def channel_numbers(image: Image, wanted: Sequence[Channel]) -> list[int]:
    """Resolve numbers and names of channels to numbers, starting at 0.

    Raises:
        DataError: the image lacks a channel, or two of its channels have the same name.
    """
    names = known_names(image)
    found = [_number(names, each) for each in wanted]
    if unknown := [each for each, number in zip(wanted, found, strict=True) if number is None]:
        raise DataError(
            message(
                image.source,
                expected=f"the channel{'' if len(unknown) == 1 else 's'} {_list_channels(unknown)}",
                found=describe_channels(image),
                do="Choose among these with --channels, by number or name.",
            )
        )
    return [number for number in found if number is not None]


def select_channels(image: Image, numbers: Sequence[int]) -> Image:
    """The image with some of its channels, in the order of ``numbers``."""
    count = image.shape[0]
    if list(numbers) == list(range(count)):
        return image

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        wanted = numbers[index[0]]
        parts = [image.fetch((slice(n, n + 1), *index[1:])) for n in wanted]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def fetch_whole(index: tuple[slice, ...]) -> np.ndarray:
        # Such a file is decoded whole for every read, so one read serves all channels.
        return image.fetch((slice(0, count), *index[1:]))[list(numbers[index[0]])]

    names = known_names(image)
    # A table of objects measures every channel, so the whole image stays available.
    meta = {**image.meta, "selected": tuple(numbers), "all_channels": image}
    if any(names):
        meta["channels"] = tuple(names[number] for number in numbers)
    shape = (len(numbers), *image.shape[1:])
    return replace(image, shape=shape, fetch=fetch_whole if image.whole else fetch, meta=meta)


def all_channels(image: Image) -> Image:
    """The image with all channels of its file, even if some were selected."""
    whole = image.meta.get("all_channels")
    return whole if isinstance(whole, Image) else image


def known_names(image: Image) -> list[str]:
    """Names of all channels, "" for a channel without one."""
    names = [str(name or "").strip() for name in image.meta.get("channels", ())]
    return [*names, *[""] * image.shape[0]][: image.shape[0]]


def common_names(images: Sequence[Image]) -> tuple[str, ...]:
    """Channel names that are the same in all images; empty if they differ or one has none."""
    every = {tuple(known_names(image)) for image in images}
    names = every.pop() if len(every) == 1 else ()
    folded = [_fold(name) for name in names]
    return names if names and all(names) and len(set(folded)) == len(folded) else ()


def describe_channels(image: Image) -> str:
    """The channels of an image for a message, such as ``2 channels: 0 (DAPI), 1 (actin)``."""
    names = known_names(image)
    count = len(names)
    shown = [f"{n} ({name})" if name else str(n) for n, name in enumerate(names[:_SHOWN])]
    more = ", ..." if count > _SHOWN else ""
    return f"{count} channel{'s' * (count != 1)}: {', '.join(shown)}{more}"


def channel_notes(images: Sequence[Image], channels: int, choice: ChannelChoice) -> list[str]:
    """One note per way in which channels that the user did not choose become those of a model.

    Args:
        images: as they are given to the model.
        channels: channels that the model sees.
        choice: with names of the training, `ChannelChoice.choose` has noted what is not certain.
    """
    if choice.wanted is not None:
        return []
    ways: dict[str, int] = {}
    for image in images:
        way = _describe_use(image, channels, known=bool(choice.trained))
        ways[way] = ways.get(way, 0) + 1
    return [
        f"{format_part(count, len(images), 'image', 'have')} {way}. Choose others with --channels."
        for way, count in ways.items()
        if way
    ]


def _describe_use(image: Image, channels: int, *, known: bool) -> str:
    """How a model uses the channels of an image; "" if there is no other way."""
    count, names = image.shape[0], [name for name in known_names(image) if name]
    color = bool(image.meta.get("color"))
    listed = f"{count} channels{f' ({_list_channels(names)})' if names else ''}"
    if count == channels:
        if count == 1 or color or known or not names:
            return ""
        return f"{listed}, which are taken for those that the model was trained on, in this order"
    if channels == 1 and count in (3, 4):
        what = "colors" if color else "channels"
        return f"{listed}, and the model sees one: the mean of the first three {what}"
    if count == 4 and channels == 3 and not color:
        return f"{listed}, and the model sees 3: the fourth, which is constant, is left out"
    return ""


def _number(names: Sequence[str], wanted: Channel) -> int | None:
    if isinstance(wanted, int):
        return wanted if 0 <= wanted < len(names) else None
    return _find_name(names, wanted)


def _find_name(names: Sequence[str], wanted: str) -> int | None:
    """Number of the channel with a name; None if no channel has it, or several have."""
    exact = [number for number, name in enumerate(names) if name == wanted]
    alike = [number for number, name in enumerate(names) if _fold(name) == _fold(wanted)]
    numbers = exact or alike
    return numbers[0] if len(numbers) == 1 and _fold(wanted) else None


def _fold(name: str) -> str:
    return name.strip().casefold()


def _list_channels(channels: Sequence[Channel]) -> str:
    return ", ".join(map(str, channels))

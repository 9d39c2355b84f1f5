"""Which channels of a file a network sees: by number, by name, or by the names it was trained on.

Numbers start at 0. Names come from OME-XML, ImageJ, OME-Zarr, ``dataset.json`` and the names of
files that are one channel each; case and spaces at the ends do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unmask.checkpoint.card import channel_fields
from unmask.data.channels import check_channels
from unmask.errors import DataError, message
from unmask.io import Image

Channel = int | str
# Names that a message shows.
_SHOWN = 12


@dataclass(frozen=True)
class ChannelChoice:
    """The channels that are used, in the order of the network's input.

    Attributes:
        wanted: numbers or names; None: all channels.
        trained: names of the channels that the model was trained on, if it knows them; a file that
            has all of them is read by name, in whatever order it has them. Empty: ``wanted`` was
            asked for and holds without exception.
    """

    wanted: tuple[Channel, ...] | None = None
    trained: tuple[str, ...] = ()

    def choose(self, image: Image, notes: list[str] | None = None) -> Image:
        """The image with the channels that are used; the image itself if those are all it has.

        Args:
            image: as it is in its file.
            notes: gets a line on what is not certain.

        Raises:
            DataError: a channel that the image does not have; lists those that it has.
        """
        if self.trained:
            return self._choose_as_trained(image, [] if notes is None else notes)
        if self.wanted is None:
            return image
        return select_channels(image, channel_numbers(image, self.wanted))

    def _choose_as_trained(self, image: Image, notes: list[str]) -> Image:
        names = known_names(image)
        found = [_place(names, name) for name in self.trained]
        if all(place is not None for place in found):
            return select_channels(image, [place for place in found if place is not None])
        count = len(self.trained)
        if self.wanted is not None and image.shape[0] > count:
            numbers = [each for each in self.wanted if isinstance(each, int)]
            if len(numbers) == count and max(numbers) < image.shape[0]:
                notes.append(self._doubt(image, f"its channels {_listed(numbers)} are"))
                return select_channels(image, numbers)
        if image.shape[0] == count and any(names):
            notes.append(self._doubt(image, f"its channels {_listed(names)} are"))
        try:
            check_channels(image.shape[0], count, source=image.source)
        except DataError as error:
            raise DataError(self._unknown(image)) from error
        return image

    def _doubt(self, image: Image, what: str) -> str:
        return (
            f"{image.source}: {what} taken for {_listed(self.trained)}, which the model was "
            "trained on, in this order. Choose others with --channels."
        )

    def _unknown(self, image: Image) -> str:
        return message(
            image.source,
            expected=f"the channels {_listed(self.trained)}, which the model was trained on",
            found=describe_channels(image),
            do="Say which ones to use, in this order: --channels with names or numbers.",
        )


EVERY = ChannelChoice()


def channel_numbers(image: Image, wanted: Sequence[Channel]) -> list[int]:
    """Numbers of channels by number or name.

    Raises:
        DataError: channels that the image does not have, or a name that two of them have.
    """
    names = known_names(image)
    found = [_number(names, each) for each in wanted]
    if unknown := [each for each, number in zip(wanted, found, strict=True) if number is None]:
        raise DataError(
            message(
                image.source,
                expected=f"the channel(s) {_listed(unknown)}",
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
    # A table of objects measures every channel, whichever ones the network sees.
    meta = {**image.meta, "selected": tuple(numbers), "all_channels": image}
    if any(names):
        meta["channels"] = tuple(names[number] for number in numbers)
    shape = (len(numbers), *image.shape[1:])
    return replace(image, shape=shape, fetch=fetch_whole if image.whole else fetch, meta=meta)


def all_channels(image: Image) -> Image:
    """The image with every channel of its file, also if some were selected."""
    whole = image.meta.get("all_channels")
    return whole if isinstance(whole, Image) else image


def known_names(image: Image) -> list[str]:
    """Names of all channels, "" for a channel without one."""
    names = [str(name or "").strip() for name in image.meta.get("channels", ())]
    return [*names, *[""] * image.shape[0]][: image.shape[0]]


def common_names(images: Sequence[Image]) -> tuple[str, ...]:
    """Names of the channels that all images share; none if one has none or others."""
    every = {tuple(known_names(image)) for image in images}
    names = every.pop() if len(every) == 1 else ()
    folded = [_fold(name) for name in names]
    return names if names and all(names) and len(set(folded)) == len(folded) else ()


def channel_card(images: Sequence[Image]) -> dict[str, list[str]]:
    """For the card of a model: the names of the channels that it was trained on, if any."""
    names = common_names(images)
    return channel_fields(names)


def describe_channels(image: Image) -> str:
    """The channels of an image for a message, such as ``2 channels: 0 (DAPI), 1 (actin)``."""
    names = known_names(image)
    count = len(names)
    shown = [f"{n} ({name})" if name else str(n) for n, name in enumerate(names[:_SHOWN])]
    more = ", ..." if count > _SHOWN else ""
    return f"{count} channel{'s' * (count != 1)}: {', '.join(shown)}{more}"


def _number(names: Sequence[str], wanted: Channel) -> int | None:
    if isinstance(wanted, int):
        return wanted if 0 <= wanted < len(names) else None
    return _place(names, wanted)


def _place(names: Sequence[str], wanted: str) -> int | None:
    """Place of a name; None if no channel has it, or several have."""
    exact = [place for place, name in enumerate(names) if name == wanted]
    alike = [place for place, name in enumerate(names) if _fold(name) == _fold(wanted)]
    found = exact or alike
    return found[0] if len(found) == 1 and _fold(wanted) else None


def _fold(name: str) -> str:
    return name.strip().casefold()


def _listed(channels: Sequence[Channel]) -> str:
    return ", ".join(map(str, channels))

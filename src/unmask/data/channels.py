"""Fit the channels of an image to those of a network, by rules that never guess.

| image, network | rule                                                  |
|----------------|-------------------------------------------------------|
| equal          | as it is                                              |
| 1, n           | the one channel is repeated (a view, no copy)         |
| 4, 3           | RGBA: alpha is dropped, only where it is constant     |
| 3, 1           | RGB: mean of the three                                |
| 4, 1           | the two rules above in order                          |
| anything else  | DataError with the file's name and both numbers       |
"""

from __future__ import annotations

import numpy as np

from unmask.errors import DataError, message

# More channels than a microscope has.
_MANY = 12


def match_channels(image: np.ndarray, channels: int, source: str) -> np.ndarray:
    """The image with ``channels`` channels.

    Args:
        image: ``(C, *space)``, any dtype; a crop of an image with alpha only after the
            whole image has been checked, because alpha may be constant in a part of it.
        channels: channels that the network sees.
        source: the file's name for the message.

    Returns:
        ``(channels, *space)``; a view where possible, the dtype of the image except for a mean,
        which is float32 (float64 for float64).

    Raises:
        DataError: no rule fits, or alpha carries information.

    Examples:
        >>> match_channels(np.zeros((1, 4, 4), np.uint8), 3, "a.png").shape
        (3, 4, 4)
    """
    found = image.shape[0]
    check_channels(found, channels, source=source)
    if found == channels:
        return image
    if found == 1:
        return np.broadcast_to(image, (channels, *image.shape[1:]))
    if found == 4:
        check_alpha(image[3], source=source)
        return match_channels(image[:3], channels, source)
    dtype = np.float64 if image.dtype == np.float64 else np.float32
    return image.mean(axis=0, keepdims=True, dtype=dtype)


def check_channels(found: int, channels: int, *, source: str) -> None:
    """Refuse numbers of channels that no rule joins.

    Raises:
        DataError: see the table of this module.
    """
    if found in (1, channels) or (found, channels) in {(4, 3), (3, 1), (4, 1)}:
        return
    plural = "s" if channels != 1 else ""
    # So many channels are rather an axis that was taken for them.
    other = (
        f"use a model for {found} channels"
        if found <= _MANY
        else "say what the axes are (--set data.axes=...) if these are not channels"
    )
    raise DataError(
        message(
            source,
            expected=f"{channels} channel{plural} as the network sees",
            found=f"{found}",
            do="Choose with --channels which ones to use, or save one as a file of its own (Fiji: "
            f"Image > Color > Split Channels); one channel fits every network. Or {other}.",
        )
    )


def check_alpha(alpha: np.ndarray, *, source: str) -> None:
    """Refuse a fourth channel that varies: dropping it would lose information.

    Raises:
        DataError: the channel is not constant.
    """
    if alpha.size and (low := alpha.min()) != (high := alpha.max()):
        raise DataError(
            message(
                source,
                expected="a constant alpha channel (RGBA to RGB)",
                found=f"a fourth channel between {low} and {high}",
                do="Leave it out with --channels 0,1,2, or use a model for 4 channels.",
            )
        )

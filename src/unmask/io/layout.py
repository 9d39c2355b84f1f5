"""From a file's own axes to ``(C, *space)``: never guessed silently."""

from __future__ import annotations

from collections.abc import Sequence

from unmask.errors import DataError, message
from unmask.space.axes import SPACE, parse

# RGB and RGBA: the only lengths at which a last axis without a name is taken for channels.
_COLORS = (3, 4)


def resolve(
    source: str, shape: Sequence[int], axes: str, *, given: str | None, ndim: int | None
) -> str:
    """One letter for every stored axis: ``C Z Y X``, or ``-`` for a dropped axis of length 1.

    Args:
        source: name for messages.
        shape: length of every stored axis.
        axes: what the file says, ``?`` where it says nothing, lower case where the axis may go.
        given: what the user says; wins over the file.
        ndim: spatial axes the caller needs.

    Raises:
        DataError: the axes are unknown, or are others than needed.

    Examples:
        >>> resolve("a.npy", (64, 64, 3), "???", given=None, ndim=2)
        'YXC'
    """
    if given is not None:
        letters = fit_letters(source, shape, parse(given))
    else:
        letters = _unknown_singles(shape, list(axes), ndim)
        letters = _name(source, shape, letters, ndim)
    letters = merge_samples(source, shape, letters)
    letters = _drop(source, shape, letters, ndim)
    found = "".join(letter for letter in SPACE if letter in letters)
    _check(source, shape, letters, found, ndim, given=given is not None)
    return "".join(letters)


def fit_letters(source: str, shape: Sequence[int], given: str) -> list[str]:
    """Letters of the user; axes of length 1 need none.

    Raises:
        DataError: another number of letters than axes.
    """
    if len(given) == len(shape):
        return list(given)
    if len(given) == sum(n != 1 for n in shape):
        rest = iter(given)
        return [next(rest) if n != 1 else "-" for n in shape]
    raise DataError(
        message(
            source,
            expected=f"one letter for each of its axes {tuple(shape)}",
            found=f"axes={given!r}",
            do=f"Give {len(shape)} letters out of T, C, Z, Y, X.",
        )
    )


def list_axes(shape: Sequence[int], letters: Sequence[str]) -> str:
    """Axes and their lengths for a message, without those of length 1, which files write always.

    Examples:
        >>> list_axes((4, 1, 2, 192, 192, 1), "TZCYX-")
        'axes TCYX of shape (4, 2, 192, 192)'
    """
    longer = [(letter, n) for letter, n in zip(letters, shape, strict=True) if n != 1]
    named = "".join(letter for letter, _ in longer).upper()
    return f"axes {named} of shape {tuple(n for _, n in longer)}"


def _unknown_singles(shape: Sequence[int], letters: list[str], ndim: int | None) -> list[str]:
    """Drop axes without a name of length 1, as long as enough axes remain."""
    for axis, (letter, length) in enumerate(zip(letters, shape, strict=True)):
        remaining = sum(other not in "-tcz" for other in letters)
        if letter == "?" and length == 1 and remaining > (ndim or 2):
            letters[axis] = "-"
    return letters


def _name(source: str, shape: Sequence[int], letters: list[str], ndim: int | None) -> list[str]:
    """Name the axes about which the file says nothing."""
    unknown = [axis for axis, letter in enumerate(letters) if letter == "?"]
    if not unknown:
        return letters
    named = [letter for letter in letters if letter not in "-?"]
    last = shape[unknown[-1]]
    choice = ""
    if named:
        # Pages of a stack: the file names what is inside a page.
        if len(unknown) == 1 and ndim == 3 and not {"Z"} & set(named):
            choice = "Z"
    elif len(unknown) == (ndim or 2):
        choice = SPACE[-len(unknown) :]
    elif last in _COLORS and len(unknown) == (ndim or len(unknown) - 1) + 1 <= 4:
        choice = SPACE[-(len(unknown) - 1) :] + "C"
    if len(choice) != len(unknown):
        raise DataError(_ambiguous(source, shape, letters, ndim))
    for axis, letter in zip(unknown, choice, strict=True):
        letters[axis] = letter
    return letters


def _ambiguous(source: str, shape: Sequence[int], letters: list[str], ndim: int | None) -> str:
    known = "".join(letters)
    found = f"shape {tuple(shape)} with axes {known!r}, where ? has no name in the file"
    lengths = [n for n, letter in zip(shape, letters, strict=True) if letter != "-" and n != 1]
    if ndim is None or len(lengths) != ndim + 1:
        return message(
            source,
            expected=f"{ndim} spatial axes" if ndim else "axes with names",
            found=found,
            do="Say what they are, for example axes=ZYX for a volume, axes=CYX or axes=YXC for "
            "channels (--set data.axes=ZYX). `unmask predict --planes z` (or t) segments slices or "
            "points in time one by one.",
        )
    space = SPACE[-ndim:]
    last = lengths[-1] < lengths[0] and not {"Y", "X"} & set(letters)
    channels = f"{space}C" if last else f"C{space}"
    count = lengths[-1] if last else lengths[0]
    part = "planes" if ndim == len("YX") else "volumes"
    return message(
        source,
        expected=f"{ndim} spatial axes",
        found=f"a stack of {count} {part} ({found})",
        do=f"If they are channels, give --set data.axes={channels}. {_one_by_one(ndim)}",
    )


def _one_by_one(ndim: int) -> str:
    """What to do with a stack that has one axis more than a network sees."""
    if ndim == len("YX"):
        return (
            "If they are slices or points in time: `unmask predict --planes z` (or t) segments "
            "them one by one. To train a 2D model, save them as files (Fiji: File > Save As > "
            "Image Sequence), or use a preset for volumes (unmask presets --axes 3)."
        )
    return (
        "If they are points in time: `unmask predict --planes t` segments them one by one. For "
        "training, save each as a file."
    )


def merge_samples(source: str, shape: Sequence[int], letters: list[str]) -> list[str]:
    """Samples (RGB) become the channel axis.

    Raises:
        DataError: channels and samples that cannot be one axis.
    """
    upper = [letter.upper() for letter in letters]
    if "S" not in upper:
        return letters
    sample = upper.index("S")
    if "C" not in upper:
        letters[sample] = "C"
        return letters
    channel = upper.index("C")
    if shape[channel] != 1 and shape[sample] != 1:
        raise DataError(
            message(
                source,
                expected="one channel axis",
                found=f"{shape[channel]} channels with {shape[sample]} samples each",
                do="Save every channel as one gray image.",
            )
        )
    if shape[channel] == 1:
        letters[channel], letters[sample] = "-", "C"
    else:
        letters[sample] = "-"
    return letters


def _drop(source: str, shape: Sequence[int], letters: list[str], ndim: int | None) -> list[str]:
    """Drop time, and axes of length 1 that nobody needs."""
    kept = []
    for letter, length in zip(letters, shape, strict=True):
        if letter in "Tt" and length != 1:
            raise DataError(
                message(
                    source,
                    expected="one point in time",
                    found=f"{length} of them ({list_axes(shape, letters)})",
                    do="`unmask predict` segments them one by one. Elsewhere save each as a file, "
                    "or say with axes= what the axis is (Z or C).",
                )
            )
        needless = letter in "Tt" or (length == 1 and letter in "Cc")
        flat = length == 1 and ((letter == "z" and ndim != 3) or (letter == "Z" and ndim == 2))
        kept.append("-" if needless or flat else letter.upper())
    return kept


def _check(
    source: str,
    shape: Sequence[int],
    letters: list[str],
    found: str,
    ndim: int | None,
    *,
    given: bool,
) -> None:
    """Refuse axes that are not those of a plane or a volume, or others than needed.

    The advice never names axes that were given, or that lead back here.
    """
    if found in ("ZYX", "YX") and (ndim is None or len(found) == ndim):
        return
    sizes = {letter: n for letter, n in zip(letters, shape, strict=True) if letter != "-"}
    lengths = ", ".join(str(sizes[letter]) for letter in found)
    stack = f": a stack of {sizes['Z']} slices" if found == "ZYX" else ""
    if stack:
        channels = "" if given or "C" in letters else "If it holds channels instead of slices, " \
            "give --set data.axes=CYX. "  # fmt: skip
        do = channels + _one_by_one(len("YX"))
    elif ndim is not None and found == "YX":
        do = (
            "Give volumes, or use a model or preset for planes (unmask presets --axes 2)."
            if len(sizes) == len(found)
            else "If the other axis is z and not channels, give --set data.axes=ZYX."
        )
    else:
        do = "Say what the axes are: one letter each out of T, C, Z, Y, X (--set data.axes=ZYX)."
    raise DataError(
        message(
            source,
            expected=f"{ndim} spatial axes" if ndim else "the spatial axes y, x or z, y, x",
            found=f"{len(found)} spatial axes ({', '.join(found.lower())} = {lengths}) in shape "
            f"{tuple(shape)}{stack}",
            do=do,
        )
    )

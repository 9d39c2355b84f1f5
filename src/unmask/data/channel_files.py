"""Channels of one image in files of their own, by the names that nnU-Net uses.

``case_0000.nii.gz`` and ``case_0001.nii.gz`` are two channels of ``case``. Frames of a movie have
such names as well, so files are joined only if something else says that they are channels: labels
that carry the name of the case, the folders ``imagesTr`` and ``imagesTs``, or a ``dataset.json``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from unmask.errors import message
from unmask.io.inputs import ArrayInput
from unmask.io.listing import channel_count
from unmask.io.multi_file import join_names
from unmask.wording import format_count

_NUMBERED = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
_FOLDERS = ("imagestr", "imagests", "imagesval")

_File = str | ArrayInput


def join_channels(
    files: Sequence[tuple[str, _File]], cases: Collection[str], problems: list[str]
) -> list[tuple[str, _File]]:
    """Files of several channels as one image each, under the name of the case.

    Args:
        files: names and paths.
        cases: names of labels, if any.
        problems: gets a line for each case that lacks a channel that others have.
    """
    numbered = {name: found for name, _ in files if (found := _NUMBERED.fullmatch(name))}
    groups: dict[str, dict[str, str]] = {}
    for name, path in files:
        found = numbered.get(name)
        if found and isinstance(path, str) and _are_channels(name, found["case"], path, cases):
            groups.setdefault(found["case"], {})[found["channel"]] = path
    channels = sorted({channel for group in groups.values() for channel in group})
    if len(channels) < 2:
        # One channel: the ending is left out when the names are paired.
        return list(files)
    result: list[tuple[str, _File]] = []
    for name, path in files:
        found = numbered.get(name)
        group = groups.get(found["case"]) if found else None
        if found is None or group is None:
            result.append((name, path))
        elif found["channel"] == min(group):
            result.append((found["case"], join_names([group[each] for each in sorted(group)])))
            if missing := [f"_{each}" for each in channels if each not in group]:
                problems.append(
                    message(
                        path,
                        expected=f"{len(channels)} files per image, one per channel",
                        found=f"no file for {', '.join(missing)}",
                        do="Add the missing channel, or remove this image.",
                    )
                )
    return result


def join_named(
    files: Sequence[tuple[str, _File]],
    wanted: Sequence[int | str] | None,
    problems: list[str],
    notes: list[str],
) -> list[tuple[str, _File]]:
    """Join files that are named after channels, such as ``a_DAPI.tif``, into one image each.

    The files are returned unchanged unless one image has a file for every requested channel.

    Args:
        files: names and paths.
        wanted: names of the requested channels, in order; with numbers, no files are joined.
        problems: a line is appended for each image that lacks a channel.
        notes: a line is appended if files of other channels are left out.
    """
    channels = [str(each) for each in wanted or () if isinstance(each, str)]
    if not channels or len(channels) < len(wanted or ()):
        return list(files)
    groups: dict[str, dict[str, str]] = {}
    for name, path in files:
        for channel in channels:
            case = _case_of(name, channel)
            if case and isinstance(path, str):
                groups.setdefault(case, {})[channel] = path
    if not any(len(group) == len(channels) for group in groups.values()):
        return list(files)
    result: list[tuple[str, _File]] = []
    for case, group in groups.items():
        if missing := [channel for channel in channels if channel not in group]:
            problems.append(
                message(
                    next(iter(group.values())),
                    expected=f"a file for each of the channels {', '.join(channels)}",
                    found=f"none for {', '.join(missing)}",
                    do="Add the missing channel, or remove this image.",
                )
            )
        else:
            result.append((case, join_names([group[channel] for channel in channels])))
    others = len(files) - sum(map(len, groups.values()))
    if others:
        files_of = format_count(others, "file")
        notes.append(f"{files_of} of other channels than {', '.join(channels)} left out.")
    return result


def _case_of(name: str, channel: str) -> str:
    """The name without the channel at its end; "" if it does not end so."""
    end = name[-len(channel) :]
    case = name[: -len(channel)].rstrip("_-. ")
    apart = len(case) + len(channel) < len(name)
    return case if apart and end.casefold() == channel.casefold() else ""


def _are_channels(name: str, case: str, path: str, cases: Collection[str]) -> bool:
    folder = Path(path).parent
    if cases:
        return case in cases and name not in cases
    return folder.name.lower() in _FOLDERS or (channel_count(path) or 1) > 1

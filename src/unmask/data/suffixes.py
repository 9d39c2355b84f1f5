"""By which ending the names of label files differ from those of their images.

Two folders of equal names need no ending, and a common one is found by counting
(`common_suffix`). In one folder that holds both, only endings that the field uses for label images
are trusted (`divide`): "cell_large" next to "cell" may well be another image.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

# "_label", "-mask", ".seg2": begins with a sign and says something. "_2" may number another image.
_SUFFIX = re.compile(r"[^0-9A-Za-z].*[A-Za-z]")

# A sign, any words ("_nuclei", "_cp"), and a last word that the field uses for label images.
_LABELS = re.compile(
    r"[_\-. ](?:[^_\-. ]+[_\-. ]){0,3}(?:masks?|labels?|lbls?|gt|segs?|segm|segmented"
    r"|segmentations?|annotations?|annotated|annot|anno|truth|groundtruth|instances?"
    r"|labelmap|label[_\-. ]?(?:ids|img|image))\d*",
    re.IGNORECASE,
)
# What programs write next to an image besides labels: flows, outlines, scores, pictures.
_OUTPUTS = re.compile(
    r"[_\-. ](?:[^_\-. ]+[_\-. ]){0,3}(?:flows?|outlines?|overlays?|cp_output|cellprob|prob|probs"
    r"|probabilities|dp)",
    re.IGNORECASE,
)
# Labels that a program predicted, where those of a person stand next to them.
_PREDICTED = re.compile(r"[_\-. ](?:cp|pred|predicted|prediction|auto)[_\-. ].+", re.IGNORECASE)
# The first channel as nnU-Net numbers them.
_CHANNEL = "_0000"
_IMAGES = ("_img", "_image", "_raw", _CHANNEL, "-img", "-image", "-raw")


@dataclass(frozen=True)
class Derived:
    """A name that is that of an image with an ending.

    Attributes:
        image: name of the image.
        ending: what stands behind it.
    """

    image: str
    ending: str

    @property
    def is_label(self) -> bool:
        """Whether the ending is one of label images; otherwise of flows, outlines, scores ..."""
        return _LABELS.fullmatch(self.ending) is not None

    @property
    def is_predicted(self) -> bool:
        """Whether the ending says that a program predicted the labels."""
        return _PREDICTED.fullmatch(self.ending) is not None


@dataclass(frozen=True)
class Division:
    """Names of one folder that holds images, their labels and more.

    Attributes:
        images: names of images, and what they pair by.
        labels: the same of label images.
        extra: names that are neither, such as flows or a program's own labels.
        several: names of images with several label images, and these.
    """

    images: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    several: dict[str, list[str]] = field(default_factory=dict)


def derive(name: str, names: Collection[str]) -> Derived | None:
    """What a file belongs to by the ending of its name; None: it stands for itself.

    Examples:
        >>> derive("a_1_masks", ["a", "a_1", "a_1_masks"])
        Derived(image='a_1', ending='_masks')
    """
    for cut in range(len(name) - 1, 0, -1):
        base, ending = name[:cut], name[cut:]
        if _LABELS.fullmatch(ending) or _OUTPUTS.fullmatch(ending):
            for image in (base + each for each in ("", *_IMAGES)):
                if image in names and image != name:
                    return Derived(image, ending)
    return None


def divide(names: Collection[str]) -> Division:
    """Images and labels among the names of one folder, by endings that the field uses.

    Where an image has labels of a person and of a program, those of the person are taken.

    Examples:
        >>> divide(["a", "a_masks", "a_flows", "b", "b_cp_masks"]).labels
        {'a_masks': 'a', 'b_cp_masks': 'b'}
    """
    found, names = Division(), set(names)
    offers: dict[str, dict[str, Derived]] = {}
    for name in sorted(names):
        whose = derive(name, names)
        if whose is None:
            found.images[name] = name
        elif whose.is_label:
            offers.setdefault(whose.image, {})[name] = whose
        else:
            found.extra.append(name)
    for image, labels in offers.items():
        by_hand = [name for name, whose in labels.items() if not whose.is_predicted]
        chosen = list(labels) if len(labels) == 1 else by_hand
        if len(chosen) == 1:
            found.labels[chosen[0]] = image
            found.extra.extend(name for name in labels if name not in chosen)
        else:
            found.several[image] = list(labels)
    return found


def divide_by(names: Collection[str], *, image_suffix: str, label_suffix: str) -> Division:
    """As `divide`, by endings that the user gave; one of them may be empty."""
    found, names = Division(), set(names)
    for name in sorted(names):
        endings = [each for each in (image_suffix, label_suffix) if each and name.endswith(each)]
        ending = max(endings, key=len, default="")
        short, whose = name.removesuffix(ending), derive(name, names)
        if ending and ending == image_suffix:
            found.images[name] = short
        elif ending and not (whose and ending != whose.ending and short not in names):
            found.labels[name] = short
        elif whose or (image_suffix and label_suffix):
            # "a_cp_masks" ends in "_masks" too, but there is no image "a_cp".
            found.extra.append(name)
        else:
            # One ending leaves the rest to the other side.
            (found.labels if image_suffix else found.images)[name] = name
    return found


def common_suffix(names: Collection[str], others: Collection[str]) -> str | None:
    """The ending without which most ``names`` or ``others`` have a partner; None: there is none.

    Args:
        names: stems that may carry a suffix.
        others: stems that do not.

    Examples:
        >>> common_suffix(["a_label", "b_label"], ["a", "b", "c"])
        '_label'
    """
    known = set(others)
    counts = Counter(
        name[place:]
        for name in names
        for place in range(1, len(name))
        if name[:place] in known
        and (_SUFFIX.match(name[place:]) or name[place:] == _CHANNEL)
        # Flows next to masks differ by an ending too, and are never labels.
        and not _OUTPUTS.fullmatch(name[place:])
    )
    if not counts:
        return None
    # Of equally frequent ones the shortest: "a_b_label" belongs to "a_b" rather than to "a".
    suffix, count = min(counts.items(), key=lambda item: (-item[1], len(item[0])))
    return suffix if 2 * count > min(len(names), len(known)) else None

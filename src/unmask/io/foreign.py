"""Files of other programs that hold annotations, but not as a label image.

They are recognized so that the message says which program wrote them and how to export labels from
it, before any pairing is tried. Nothing here unpickles: the header says what a pickled array is.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from numpy.lib import format as npy_format

from unmask.errors import message

_SEG = "_seg.npy"
# Enough of a JSON file to recognize large ones, which are not parsed for a message.
_MAX_JSON = 100_000_000

_CELLPOSE = (
    "In Cellpose choose File > Save masks as PNG/TIF, and give the files that it writes "
    "(_cp_masks.png or _masks.tif)."
)
_DRAWN = "Give it as the labels (--labels), and the images that it was drawn on as the images."
_POLYGONS = (
    "Draw the polygons into a label image (for example with skimage.draw.polygon, one number per "
    "object) and save it as PNG or TIFF."
)
_VENDOR = "Convert it to OME-TIFF, with Fiji or with Bio-Formats (bfconvert)."


def advice(path: str | Path) -> tuple[str, str] | None:
    """What a file of another program is, and what to do; None for any other file.

    Examples:
        >>> advice("cells.geojson")[0]
        'outlines (GeoJSON, as QuPath writes them)'
    """
    path = Path(path)
    name = path.name.lower()
    for ending, look in _KINDS.items():
        if name.endswith(ending):
            return look(path)
    return None


def advice_message(path: str | Path, *, expected: str = "an image or a label image") -> str | None:
    """`advice` in the house form; None if there is none."""
    found = advice(path)
    return None if found is None else message(path, expected=expected, found=found[0], do=found[1])


def first_message(paths: Iterable[Path]) -> str | None:
    """The message about the first file of another program among some; None: there is none."""
    return next((text for path in paths if (text := advice_message(path))), None)


def is_pickled_seg(path: Path) -> bool:
    """Whether a file is a ``_seg.npy`` of Cellpose: a pickled dictionary, not an array of numbers.

    A ``_seg.npy`` with an array of numbers is an ordinary label image.
    """
    if not path.name.lower().endswith(_SEG):
        return False
    try:
        with path.open("rb") as handle:
            version = npy_format.read_magic(handle)
            read = (
                npy_format.read_array_header_1_0
                if version == (1, 0)
                else npy_format.read_array_header_2_0
            )
            return read(handle)[2].hasobject
    except (OSError, ValueError):
        return False


def describe_json(tree: Any) -> tuple[str, str] | None:
    """`advice` for the content of a JSON file."""
    if isinstance(tree, list) and tree and isinstance(tree[0], Mapping):
        tree = tree[0]
    if not isinstance(tree, Mapping):
        return None
    if tree.get("type") in ("FeatureCollection", "Feature"):
        return _GEOJSON
    if isinstance(tree.get("annotations"), list) and {"images", "categories"} & tree.keys():
        return "annotations (JSON in COCO's format)", _DRAWN
    if isinstance(tree.get("shapes"), list):
        return "polygons (JSON, as LabelMe writes them)", _DRAWN
    if "_via_img_metadata" in tree:
        return "regions (JSON, as the VGG Image Annotator writes them)", _POLYGONS
    return None


def describe_columns(columns: Iterable[str | None]) -> tuple[str, str] | None:
    """`advice` for the first line of a table."""
    known = {str(column).strip().lower() for column in columns}
    if "axis-0" in known and "index" in known:
        what = "shapes" if "shape-type" in known else "points"
        return f"{what} (CSV, as napari writes them)", _DRAWN
    return None


def _json(path: Path) -> tuple[str, str] | None:
    try:
        if path.stat().st_size > _MAX_JSON:
            return None
        return describe_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def _csv(path: Path) -> tuple[str, str] | None:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as handle:
            first = handle.readline(10_000)
    except OSError:
        return None
    return describe_columns(first.strip().split(",")) or (
        "a table (CSV)",
        "Tables are read where whole images have classes (unmask presets: classify2d, "
        "classify3d). Otherwise give label images.",
    )


def is_roi_archive(path: Path) -> bool:
    """Whether a ZIP file holds ROIs of ImageJ; of a damaged one the name decides."""
    try:
        with zipfile.ZipFile(path) as archive:
            rois = any(name.lower().endswith(".roi") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        rois = False
    return rois or path.name.lower().startswith("roi")


def _zip(path: Path) -> tuple[str, str]:
    if is_roi_archive(path):
        return _ROI
    return "an archive (ZIP)", "Extract it, and give the folder of the images inside."


def _text(path: Path) -> tuple[str, str] | None:
    if path.stem.lower().endswith("_outlines"):
        return "outlines (text, as Cellpose writes them)", _CELLPOSE
    return None


def _seg(path: Path) -> tuple[str, str] | None:
    if path.exists() and not is_pickled_seg(path):
        return None
    return "the file that Cellpose keeps its own state in (_seg.npy), not an image", _CELLPOSE


def _always(what: str, do: str) -> Callable[[Path], tuple[str, str]]:
    return lambda _: (what, do)


_GEOJSON = ("outlines (GeoJSON, as QuPath writes them)", _DRAWN)
_ROI = ("outlines (ROIs of ImageJ)", _DRAWN)

# Endings in lower case; the first that fits decides.
_KINDS: dict[str, Callable[[Path], tuple[str, str] | None]] = {
    ".geojson": _always(*_GEOJSON),
    ".roi": _always(*_ROI),
    ".zip": _zip,
    ".json": _json,
    ".csv": _csv,
    ".txt": _text,
    _SEG: _seg,
    ".xml": _always("annotations (XML)", _POLYGONS),
    ".svg": _always("a drawing (SVG)", _POLYGONS),
    ".mat": _always(
        "a MATLAB file", "Save the label matrix from MATLAB: imwrite(uint16(L), 'name.png')."
    ),
    ".npz": _always("an archive of arrays (NPZ)", "Save the array alone: numpy.save (.npy)."),
    ".pkl": _always("a pickle, which could run code", "Save the array alone: numpy.save (.npy)."),
    **dict.fromkeys(
        (".oib", ".oif", ".vsi", ".dv", ".zvi", ".lof", ".xlef", ".xlif"),
        _always("a microscope vendor's format", _VENDOR),
    ),
    ".mrxs": _always("a slide scanner's format", _VENDOR),
}

"""The table of phantom families, and the ways to draw from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.errors import DataError, message
from unmask.io import save_image
from unmask.lookup import Choice, build
from unmask.parts import Parts
from unmask.phantoms.bodies import Grid
from unmask.phantoms.phantom import Family, Phantom
from unmask.space.random import generator
from unmask.space.spacing import check_spacing

FAMILIES = Parts(
    "unmask.phantoms",
    {
        "nuclei": "unmask.phantoms.nuclei:Nuclei",
        "crowded_nuclei": "unmask.phantoms.crowded:CrowdedNuclei",
        "deep_nuclei": "unmask.phantoms.deep:DeepNuclei",
        "stained_tissue": "unmask.phantoms.stained:StainedTissue",
        "phase_contrast": "unmask.phantoms.adherent:PhaseContrast",
        "bright_field": "unmask.phantoms.adherent:BrightField",
        "membranes": "unmask.phantoms.membranes:Membranes",
        "cytoplasm": "unmask.phantoms.cytoplasm:Cytoplasm",
        "neurons": "unmask.phantoms.neurons:Neurons",
        "bacteria": "unmask.phantoms.bacteria:Bacteria",
        "worms": "unmask.phantoms.worms:Worms",
        "fibers": "unmask.phantoms.fibers:Fibers",
        "em_tissue": "unmask.phantoms.em:Tissue",
        "neurites": "unmask.phantoms.em:Neurites",
        "mitochondria": "unmask.phantoms.em:Mitochondria",
        "axons": "unmask.phantoms.axons:Axons",
        "leaves": "unmask.phantoms.leaves:Leaves",
        "precipitates": "unmask.phantoms.precipitates:Precipitates",
        "grains": "unmask.phantoms.grains:Grains",
        "organs_mr": "unmask.phantoms.organs:OrgansMR",
        "organs_ct": "unmask.phantoms.organs:OrgansCT",
    },
)


def family(name: str, options: Mapping[str, Any] | None = None) -> Family:
    """The family ``name`` with options, such as ``{"diameter": (10, 30)}``.

    Raises:
        RecipeError: no such family or option; the nearest name is suggested.
    """
    return build(Choice(name, options or {}), FAMILIES, "phantom family")


def draw_one(
    name: str,
    shape: Sequence[int],
    *,
    seed: int = 0,
    index: int = 0,
    spacing: Sequence[float] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Phantom:
    """One phantom: a pure function of its arguments.

    Args:
        name: family, see ``FAMILIES``, or ``path/to/file.py:Name``.
        shape: voxels per axis; two axes or more.
        seed: of the whole set.
        index: number of the image in the set.
        spacing: voxel sizes, slow axis first; drawn by the family if not given.
        options: of the family.

    Raises:
        DataError: the shape or the spacing makes no sense.
        RecipeError: no such family or option.

    Examples:
        >>> sample = draw_one("nuclei", (64, 64), seed=1)
        >>> sample.image.shape, sample.labels.shape
        ((1, 64, 64), (64, 64))
    """
    size = tuple(int(n) for n in shape)
    if len(size) < 2 or min(size) < 1:
        raise DataError(
            message(
                f"phantom {name}",
                expected="a positive length for two axes or more",
                found=str(size),
                do="Give for example 256,256.",
            )
        )
    kind = family(name, options)
    rng = generator(seed, f"phantom family {name}", index)
    own = kind.spacing(len(size), rng)
    grid = Grid(size, check_spacing(spacing, len(size), source=f"phantom {name}") or own)
    return kind.draw(grid, rng)


def draw(
    name: str,
    shape: Sequence[int],
    count: int = 1,
    *,
    seed: int = 0,
    spacing: Sequence[float] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Phantom]:
    """``count`` phantoms, one after the other; image ``i`` does not depend on ``count``.

    Examples:
        >>> [int(p.labels.ndim) for p in draw("nuclei", (32, 40), 2)]
        [2, 2]
    """
    for index in range(count):
        yield draw_one(name, shape, seed=seed, index=index, spacing=spacing, options=options)


def write_phantoms(
    folder: str | Path,
    name: str,
    shape: Sequence[int],
    count: int,
    *,
    seed: int = 0,
    spacing: Sequence[float] | None = None,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write ``images/``, ``labels/`` (objects) and ``classes/`` as TIFF files of equal stems.

    Args:
        folder: created if needed.
        name: family.
        shape: voxels per axis.
        count: number of images, at least 1.
        seed: images with the same seed and index are equal, whatever ``count`` is.
        spacing: voxel sizes; drawn by the family if not given.
        options: of the family.
        overwrite: replace files of the same name; otherwise a folder that holds images is an
            error.

    Returns:
        The folder.

    Raises:
        DataError: as for `draw_one`; the folder holds images already.
    """
    if count < 1:
        raise DataError(
            message("number of phantoms", expected="1 or more", found=str(count), do="Raise it.")
        )
    folder = Path(folder)
    if not overwrite and (folder / "images").exists():
        raise DataError(
            message(
                folder,
                expected="a new folder",
                found="one that holds images",
                do="Choose another one, or give --overwrite.",
            )
        )
    stem = Path(name.partition(":")[0]).stem
    digits = max(3, len(str(count - 1)))
    for index, sample in enumerate(
        draw(name, shape, count, seed=seed, spacing=spacing, options=options)
    ):
        arrays = {"images": sample.image, "labels": sample.labels[None]}
        arrays["classes"] = sample.classes[None]
        for part, array in arrays.items():
            file = folder / part / f"{stem}_{index:0{digits}d}.tif"
            save_image(file, array, spacing=sample.spacing)
    return folder

"""Write docs/howto/datasets.md from the table of public data sets.

    python docs/scripts/datasets_page.py

A test compares the page with what this script makes of the code.
"""

from __future__ import annotations

from pathlib import Path

from unmask.datasets import NAMES, DataSet, find_set, set_options

PAGE = Path(__file__).resolve().parents[1] / "howto" / "datasets.md"

_HEAD = """# Use public data sets

`unmask prepare` turns the archives of public data sets into folders of images, labels and splits. It
downloads nothing: get each archive from its source, under its terms, and cite its authors.

```
unmask prepare                       # list the sets
unmask prepare bbbc039               # license, citation, source, expected files and options of a set
unmask prepare bbbc039 images.zip masks.zip metadata.zip --out nuclei/
```

The last line that it prints is the command that trains the published preset on the set, for example

```
unmask train nuclei/train/images --preset pea_bbbc039 --labels nuclei/train/labels \\
             --val-images nuclei/val/images --val-labels nuclei/val/labels --out runs/bbbc039
```

Give the downloaded files (`.zip`, `.tar`, `.tar.gz`, and single files such as `.h5`, `.hdf`, `.tif`
and `.npz`), the folder that holds them, or the folder that they were unpacked into. Archives inside archives
are unpacked too. They are unpacked next to the output and need disk space there until the end. NIfTI volumes are
linked, not copied, if the archive is a folder.

The output has the parts `train`, `val` and `test` with `images` and `labels`, if the set has them, and a
`README.md` with license and citation. The number and sizes of the images are compared with the published ones. If
they differ, the archive is incomplete or another release, and it is refused; `--set partial=true` accepts it. If
there is an error, nothing is written.

From Python:

```python
from unmask import datasets

datasets.find_set("bbbc039").citation  # 'doi:10.1002/cyto.a.23863'
```

## Sets

The licenses are those that the sources stated when this page was written. Those marked "not confirmed" were
seen at other places only. Terms can change, and parts of a set can have terms of their own: read those of the
source before you use the images or share a model that was trained on them.

| set | images | license | citation | preset | options |
|---|---|---|---|---|---|
"""

_SOURCES = """
## Where the archives are

| set | source | files |
|---|---|---|
"""

_TAIL = """
Sets that combine others (`mediar_public`, `glmae_pretraining`) take the archives of all of them at once:

```
unmask prepare glmae_pretraining RawData.zip CT-Covid-19/ subset0.zip subset1.zip --out ct/
```

## Options

Every set has `partial`, which accepts numbers and sizes that differ from the published ones.

| option | meaning |
|---|---|
| `fold` | which block of cases is held out for validation |
| `held_out` | a file with the cases to hold out instead, one per line |
| `copy` | copy volumes instead of linking them |
| `drop` | a file with the images to leave out, one per line |
| `split` | `official` (train, test), or `published` (70, 20 and 10 % for train, val and test) |
| `border` | `ignore` keeps the border of the trimaps as label 2, `background` makes it 0 |
| `size` | side length to which images are resized; 0 keeps their size |
| `gray` | combine the channels into one |
| `luna` | use LUNA16 for pre-training; default: if it is in the archive |
| `target` | which of several kinds of labels: `cells` or `nuclei`, `neurons` or `clefts`, `cells` or `membranes` |
| `val`, `val_slices` | number of the last sections that are held out |
| `worms` | include the images of worms |

## Submit to a challenge

```
unmask prepare cvppp predicted/ --submission --out A1.h5
unmask prepare neurips_cellseg predicted/ --submission --out labels.zip
```

`predicted` is the folder of label images that `unmask predict` wrote.

## A set of your own

A set is a module with a `DataSet`: a name, a title, license, citation, source, and a function `find(archive)` that
lists its images as `Item`, each with its part, its name, and a function that writes it.
"""


def page() -> str:
    """Make the page."""
    sets = [find_set(name) for name in NAMES]
    return _HEAD + "".join(map(_row, sets)) + _SOURCES + "".join(map(_source, sets)) + _TAIL


def _row(dataset: DataSet) -> str:
    citation = dataset.citation
    if citation.startswith("doi:"):
        citation = f"[{citation}](https://doi.org/{citation[4:]})"
    names = [name for name in set_options(dataset) if name != "partial"]
    options = ", ".join(f"`{name}`" for name in names) or "none"
    preset = f"`{dataset.preset}`" if dataset.preset else "planned from the images"
    cells = [f"`{dataset.name}`", dataset.title, dataset.license, citation]
    return "| " + " | ".join([*cells, preset, options]) + " |\n"


def _source(dataset: DataSet) -> str:
    source = f"<{dataset.source}>" if dataset.source.startswith("http") else dataset.source
    return f"| `{dataset.name}` | {source} | {dataset.archive.replace('|', ',')} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Write docs/howto/datasets.md from the table of public data sets.

    python docs/scripts/datasets_page.py

A test compares the page with what this script makes of the code.
"""

from __future__ import annotations

from pathlib import Path

from unmask.datasets import NAMES, DataSet, find_set, set_options

PAGE = Path(__file__).resolve().parents[1] / "howto" / "datasets.md"

_HEAD = """# Use public data sets

`unmask prepare` turns the archives of public data sets into folders of images, labels and splits. Nothing
is downloaded: get each archive from its source, under its terms, and cite its authors.

```
unmask prepare                       # list the sets
unmask prepare bbbc039               # license, citation, source, expected files and options of a set
unmask prepare bbbc039 BBBC039/ --out nuclei/
unmask train nuclei/train/images --labels nuclei/train/labels --preset cells --out runs/nuclei \\
             --val-images nuclei/val/images --val-labels nuclei/val/labels
```

An archive is an unpacked folder, or its `.zip`, `.tar` or `.tar.gz` files. The output has the parts `train`,
`val` and `test` with `images` and `labels`, as far as the set has them. Volumes are linked, not copied, if the
archive is a folder.

From Python:

```python
from unmask import datasets

datasets.find_set("bbbc039").citation  # 'doi:10.1002/cyto.a.23863'
```

| set | images | license | citation | preset | options |
|---|---|---|---|---|---|
"""

_TAIL = """
| option | meaning |
|---|---|
| `fold` | which block of cases is held out for validation |
| `held_out` | a file with the cases to hold out instead, one per line |
| `copy` | copy volumes instead of linking them |
| `split` | `official` (train, test), or `published` (70, 20 and 10 % for train, val and test) |
| `border` | `ignore` keeps the border of the trimaps as label 2, `background` makes it 0 |
| `size` | side length to which images are resized; 0 keeps their size |

A set of your own is a module with a `DataSet`: a name, a title, license, citation, source, and a function
`prepare(archive, out)` that returns the number of images of each part.
"""


def page() -> str:
    """Make the page."""
    return _HEAD + "".join(_row(find_set(name)) for name in NAMES) + _TAIL


def _row(dataset: DataSet) -> str:
    citation = dataset.citation
    if citation.startswith("doi:"):
        citation = f"[{citation}](https://doi.org/{citation[4:]})"
    options = ", ".join(f"`{name}`" for name in set_options(dataset)) or "none"
    cells = [f"`{dataset.name}`", dataset.title, dataset.license, citation]
    return "| " + " | ".join([*cells, f"`{dataset.preset}`", options]) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

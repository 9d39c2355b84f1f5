"""Write docs/reference/recipe.md from the fields of the recipe.

    python docs/scripts/recipe_page.py

A test compares the page with what this script makes of the code.
"""

from __future__ import annotations

from pathlib import Path

from unmask.recipe_fields import FieldDescription, describe_fields

PAGE = Path(__file__).resolve().parents[1] / "reference" / "recipe.md"

_HEAD = """# Recipe

A recipe is everything that defines a training: one YAML file with the sections `data`, `model`,
`train` and `infer`, and either `method` (pre-training) or `task` (segmentation). A preset is a recipe
that comes with unmask.

```
unmask presets                     # list the presets
unmask presets cells > mine.yaml   # start your own recipe from one; use it with --recipe mine.yaml
unmask presets cells --all         # the fields below, with the values of the preset
unmask train images/ --labels labels/ --preset cells --set train.steps=2000 --out runs/cells
```

`--set` changes one field, or one option of a part: `--set model.backbone.width=32`.

## How values are written

- A *part*, such as a backbone or an augmentation, is a name with options:
  `backbone: {name: resunet, width: 32}`, or `backbone: resunet` if all options keep their defaults.
  The options are the arguments of its constructor; see [Tasks](tasks.md), [Pre-training](pretrain.md),
  [Networks](models.md), [Data](data.md) and [Training](train.md). `path/to/file.py:Name` is a part of
  your own.
- Lists over axes go from the slowest axis to the fastest: `[z, y, x]` or `[y, x]`.
- Scalars follow YAML 1.2: only `true` and `false` are truth values, `1e-3` is a number and `010` is
  ten. A field that holds text gets what is written: `--set train.precision=32`, `--set name=no`.
- Aliases, more than 32 levels of nesting, NaN and infinity are refused.
- An unknown field is an error that names the nearest field.
"""

_SECTIONS = {
    "": ("Recipe", "What the recipe is and what it trains."),
    "data": ("data", "From files to training crops."),
    "data.replay": ("data.replay", "A second source of images and labels in every batch."),
    "model": ("model", "The network."),
    "train": ("train", "The optimization."),
    "infer": ("infer", "Prediction. These fields can be changed for a trained model: "
              "`unmask predict ... --set infer.overlap=0.5`."),
}  # fmt: skip


def page() -> str:
    """Make the page."""
    groups: dict[str, list[FieldDescription]] = {name: [] for name in _SECTIONS}
    for field in describe_fields():
        groups[field.path.rpartition(".")[0]].append(field)
    parts = [_HEAD]
    for name, fields in groups.items():
        title, text = _SECTIONS[name]
        parts.append(f"\n## {title}\n\n{text}\n\n{_table(fields)}")
    return (
        "".join(parts)
        + "\n## From Python\n\n::: unmask.recipe\n    options:\n"
        + ("      members: [load, parse, presets, Recipe]\n")
    )


def _table(fields: list[FieldDescription]) -> str:
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in fields:
        name = field.path.rpartition(".")[2]
        default = "required" if field.default is None else f"`{field.default}`"
        cells = [f"`{name}`", field.type, default, field.description]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""README, citation and example of a shared model, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import yaml

from unmask.hub import PREFIX
from unmask.plain_text import printable
from unmask.sharing.publication import Publication

# Licenses that the hub knows by these names; others are given as "other" with their name.
_KNOWN = {
    "apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
    "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-3.0", "gpl-3.0", "lgpl-3.0",
    "mpl-2.0", "unlicense",
}  # fmt: skip
# Works in the folder, wherever it was copied to.
_EXAMPLE = '''"""{verb} your own image with this model: python examples/predict.py IMAGE"""

import sys
from pathlib import Path

import unmask

model = Path(__file__).resolve().parents[1]
result = unmask.predict(model, sys.argv[1])
print(result)
{more}'''


def example(publication: Publication) -> str:
    """A program that predicts one image."""
    if publication.classifies:
        return _EXAMPLE.format(verb="Classify", more="")
    return _EXAMPLE.format(verb="Segment", more='unmask.save_image("labels.tif", result.labels)\n')


def readme(publication: Publication, name: str, pictures: Sequence[str]) -> str:
    """The card for people, with the header that hubs read.

    Args:
        publication: what it says.
        name: what to give as ``--model``.
        pictures: paths of pictures in the folder.
    """
    segments = publication.recipe.task is not None
    title, description = (_line(text) for text in (publication.title, publication.description))
    use = f"unmask predict images/ --model {name} --out labels/"
    if not segments:
        use = f"unmask train images/ --labels labels/ --init {name} --out runs/mine"
    extra = "'unmask[hub]'" if name.startswith(PREFIX) else "unmask"
    parts = [
        f"---\n{yaml.safe_dump(_header(publication), sort_keys=False)}---\n",
        f"# {title}\n\n{description}\n",
        f"```bash\npip install {extra}\n{use}\n```\n",
        f"With a recipe of the same network, `--init {name}` starts a training from these "
        "weights. The model file runs no code.\n",
        *(f"![image with outlines of the predicted objects]({path})\n" for path in pictures),
        f"## What it does\n\n{_facts(publication)}\n",
        f"## Scores\n\n{_scores(publication)}\n",
        f"## Training data\n\n{_lines(publication.data)}\n",
        *_started(publication),
        f"## License\n\nWeights: {_line(publication.license)}. unmask itself: Apache-2.0."
        f"{_inherited(publication)}\n",
        "## Citation\n\nSee [CITATION.cff](CITATION.cff).\n",
        "## Files\n\n`SHA256SUMS` holds the digests of all files; unmask compares that of the "
        "model before it reads it. By hand: `sha256sum --check SHA256SUMS`.\n",
    ]
    return "\n".join(parts)


def citation(publication: Publication) -> str:
    """The text of CITATION.cff: the model, its training data, and unmask."""
    title = _line(publication.title)
    names = publication.authors or (f"The authors of {title}",)
    references: list[dict[str, object]] = [
        {
            "type": "software",
            "title": "unmask: images to masks with as few labels as possible",
            "version": version("unmask"),
            "license": "Apache-2.0",
            "authors": [{"name": "The unmask developers"}],
        }
    ]
    references += _data_references(publication.data)
    for each in publication.ancestors:
        name = _line(each.name)
        authors = each.authors or (f"The authors of {name}",)
        reference = {
            "type": "software",
            "title": f"Start weights: {name}",
            "notes": f"License: {_line(each.license or 'not known')}",
            "authors": [{"name": _line(author)} for author in authors],
        }
        references += [reference, *_data_references(each.data)]
    fields = {
        "cff-version": "1.2.0",
        "message": "If you use this model, please cite it, its training data and unmask.",
        "type": "software",
        "title": title,
        "abstract": _line(publication.description),
        "authors": [{"name": _line(name)} for name in names],
        "references": references,
    }
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _data_references(entry: Mapping[str, str]) -> list[dict[str, object]]:
    """Training data as a reference of the citation; empty: their origin is not known."""
    data = {key: _line(value) for key, value in entry.items()}
    if not {"citation", "source"} & data.keys():
        return []
    source = {"url": data["source"]} if data.get("source", "").startswith("http") else {}
    return [
        {
            "type": "data",
            "title": data["name"],
            "notes": data.get("citation", ""),
            **source,
            "authors": [{"name": data.get("citation", f"The authors of {data['name']}")}],
        }
    ]


def _header(publication: Publication) -> dict[str, object]:
    license_name = publication.license.lower()
    known = license_name in _KNOWN
    terms: dict[str, object] = {"license": license_name if known else "other"}
    if not known:
        terms["license_name"] = _line(publication.license)
    task = publication.recipe.task
    purpose = "classification" if publication.classifies else "segmentation"
    kind = {"pipeline_tag": f"image-{purpose}"} if task else {}
    ndim = publication.recipe.data.ndim
    return {
        **terms,
        "library_name": "unmask",
        **kind,
        "tags": ["unmask", purpose, f"{ndim}d", *([task.name] if task else [])],
    }


def _started(publication: Publication) -> list[str]:
    """The section about the weights that the training started from, if there are any."""
    if not publication.ancestors:
        return []
    first = _line(publication.ancestors[0].name)
    text = "The training started from these weights. Their licenses and citations apply as well."
    if publication.unchanged:
        text = (
            f"No update of the training improved the scores, so the weights are those of {first}, "
            "unchanged, and were trained on the data below. The files above were used for "
            "validation, and for the training that was not kept."
        )
    found = [f"## Start weights\n\n{text}\n"]
    for each in publication.ancestors:
        facts = {"license": each.license or "not known", "authors": ", ".join(each.authors)}
        facts |= {"training data" if key == "name" else f"{key} of the data": value
                  for key, value in each.data.items()}  # fmt: skip
        found.append(f"### {_line(each.name)}\n\n{_lines(facts)}\n")
    return found


def _facts(publication: Publication) -> str:
    recipe = publication.recipe
    diameters = publication.card.get("object_diameters")
    pixels = diameters.get("pixels") if isinstance(diameters, Mapping) else None
    task = recipe.task or recipe.method
    facts = {
        "task" if recipe.task else "pre-trained by": "" if task is None else task.name,
        "axes": f"{recipe.data.ndim}D",
        "channels": str(recipe.data.channels),
        "voxel size": str(list(recipe.data.spacing))
        if recipe.data.spacing
        else "that of the image",
        "network": recipe.model.backbone.name,
    }
    if isinstance(pixels, Mapping):
        sizes = [f"{key} {value}" for key, value in pixels.items()]
        facts["object diameters in pixels"] = ", ".join(sizes)
    return _lines(facts)


def _scores(publication: Publication) -> str:
    if not publication.scores:
        return "None: nothing was held out for validation. Evaluate it on images of your own."
    rows = [f"| {_line(name)} | {value:.4f} |" for name, value in publication.scores.items()]
    of = f"On {_line(publication.images)}.\n\n" if publication.images else ""
    return of + "\n".join(["| metric | score |", "|---|---|", *rows])


def _inherited(publication: Publication) -> str:
    """The licenses of the start weights, after that of the weights."""
    names = [f"{_line(each.name)}: {_line(each.license or 'not known')}"
             for each in publication.ancestors]  # fmt: skip
    return f" Start weights: {', '.join(names)}." if names else ""


def _lines(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {_line(name)}: {_line(text)}" for name, text in facts.items() if text)


def _line(text: object) -> str:
    """Text of a card as one line of Markdown; it may not begin a tag or a table cell."""
    return printable(text, one_line=True).replace("<", "&lt;").replace("|", "\\|")

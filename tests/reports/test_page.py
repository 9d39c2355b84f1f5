"""A page is one file; what comes from outside is text, never markup."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from unmask.metrics import Report, evaluate_pair
from unmask.reports.evaluation import Compared, evaluation_page

NAME = "<img src=x onerror=alert(1)>\"'&"


def compared(count: int, shape: tuple[int, ...]) -> list[Compared]:
    items = []
    for number in range(count):
        truth = np.zeros(shape, np.int32)
        truth[..., 4:14, 4:14] = 1
        truth[..., 20:28, 20:28] = 2
        predicted = np.zeros_like(truth)
        predicted[..., 4 : 14 - number % 5, 4:14] = 1
        rng = np.random.default_rng(number)
        image = rng.random((1, *shape)).astype(np.float32)
        items.append(Compared(f"image {number}", truth, predicted, image))
    return items


def report(items: list[Compared], names: list[str]) -> Report:
    rows = [
        {"name": item.name, **evaluate_pair(item.truth, item.predicted, names)} for item in items
    ]
    return Report.of(rows, settings={"metrics": names, "notes": ["a doubt"]})


@pytest.mark.parametrize("shape", [(40, 48), (3, 40, 48)], ids=["2d", "3d"])
def test_worst_images_come_first(shape):
    items = compared(6, shape)
    page = evaluation_page(report(items, ["aji"]), items, objects=True)
    order = re.findall(r'alt="(image \d)', page)
    assert len(order) == 6
    assert order[0] == "image 4"
    assert page.count("data:image/jpeg;base64,") == 6
    assert page.count("<svg") == 3
    assert "<h2>Objects at IoU 0.5" in page
    counts = re.search(r"<th>TP.*?<tbody>\s*<tr>(.*?)</tr>", page, re.S)
    assert counts is not None
    assert re.findall(r">(\d+)<", counts[1])[:3] == ["6", "0", "6"]


def test_classes_have_pictures_of_differences():
    items = compared(2, (40, 48))
    page = evaluation_page(report(items, ["dice"]), items, objects=False)
    assert "another class" in page
    assert page.count("data:image/jpeg;base64,") == 2


def test_names_are_text():
    item = compared(1, (40, 48))[0]
    items = [Compared(NAME, item.truth, item.predicted, item.image)]
    page = evaluation_page(report(items, ["aji"]), items, objects=True)
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_a_page_loads_nothing():
    items = compared(1, (40, 48))
    page = evaluation_page(report(items, ["aji"]), items, objects=True)
    # Names of XML namespaces are no addresses that a browser opens.
    links = re.findall(r'(?:src|href|url)[=(]["\']?([^"\'> )]+)', page)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)


def test_empty_and_undefined_images_are_shown():
    empty = np.zeros((20, 20), np.int32)
    items = [Compared("none", empty, empty, None), Compared("flat", empty, empty + 1, None)]
    page = evaluation_page(report(items, ["f1@0.5"]), items, objects=True)
    assert page.count("data:image/jpeg;base64,") == 2


def test_a_picture_takes_less_than_100_kb():
    """So that a page of 200 images stays below 20 MB."""
    items = compared(4, (512, 512))
    # Real images are smooth; pure noise would take three times as much.
    items = [
        replace(item, image=item.image + 3 * np.indices((512, 512)).sum(0)[None] / 512)
        for item in items
        if item.image is not None
    ]
    page = evaluation_page(report(items, ["f1@0.5"]), items, objects=True)
    assert page.count("data:image/jpeg;base64,") == 4
    assert len(page) / 4 < 100e3

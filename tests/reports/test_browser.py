"""Pages of reports in a real browser: they open offline, sort, show their pictures and print."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from unmask.metrics import Report, evaluate_pair
from unmask.reports.evaluation import Compared, evaluation_page

NAMES = ["f1@0.5", "aji"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page of five images, one of each kind of error."""
    items = []
    for number in range(5):
        truth = np.zeros((64, 72), np.int32)
        truth[6:26, 6:26], truth[30:50, 30:50] = 1, 2
        predicted = truth.copy()
        predicted[6 : 6 + 4 * number, 6:26] = 0
        image = np.random.default_rng(number).random((1, 64, 72)).astype(np.float32)
        items.append(Compared(f"image {number}", truth, predicted, image, f"kind {number % 2}"))
    rows = [{"name": i.name, **evaluate_pair(i.truth, i.predicted, NAMES)} for i in items]
    text = evaluation_page(Report.of(rows), items, objects=True)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def page(browser, page_file):
    """The page in a browser without a network, in which no script may fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert errors == []


def first_cells(page):
    return page.locator("table.sortable tbody tr td:first-child").all_inner_texts()


def test_the_page_is_drawn(page):
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    assert len(np.unique(np.asarray(shot.convert("L")))) > 50
    widths = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(widths) == 5
    assert min(widths) > 100
    assert page.locator(".charts svg").count() == 3
    assert page.locator("h2", has_text="Kinds of images").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_click_sorts(page):
    before = first_cells(page)
    assert before[0] == "image 3"
    head = page.locator("table.sortable th", has_text="aji")
    head.get_by_role("button").click()
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert first_cells(page)[0] == "image 0"
    assert sorted(first_cells(page)) == sorted(before)


def test_it_prints(page):
    """Pictures and charts are on paper too."""
    assert len(page.pdf()) > 20_000


def test_colors_are_those_for_the_color_blind(page):
    """Okabe and Ito 2008; the legend shows them."""
    shown = page.evaluate(
        "[...document.querySelectorAll('.legend i')].map(i => getComputedStyle(i).backgroundColor)"
    )
    assert shown == [
        "rgb(0, 158, 115)", "rgb(230, 159, 0)", "rgb(213, 94, 0)", "rgb(86, 180, 233)",
        "rgb(204, 121, 167)",
    ]  # fmt: skip

"""Every tool of the page, on small planes that can be read; run in the browser."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from unmask.serve.app import PAGE


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of the requests that it answers."""

    def log_message(self, format, *args):  # noqa: A002 - of the base class
        pass


@pytest.fixture(scope="module")
def module_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(PAGE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def use(page, module_server):
    """``use(rows, call)``: the plane after a call of ``tools``, and what it returned."""
    page.goto(f"{module_server}/texts.js")

    def run(rows: list[str], call: str) -> tuple[list[str], object]:
        found = page.evaluate(
            """async ([address, rows, call]) => {
              const tools = await import(address + '/tools.js');
              const { Recorder, History } = await import(address + '/history.js');
              const width = rows[0].length;
              const ids = Uint32Array.from([...rows.join('')].map((c) => Number(c) || 0));
              const plane = { ids, width, height: rows.length };
              const recorder = new Recorder(plane);
              const before = ids.slice();
              const at = (x, y) => ({ x, y });
              const result = new Function('tools', 'plane', 'write', 'at', 'return ' + call)(
                tools, plane, recorder.write, at);
              const after = ids.slice();
              for (const [place, length, old, now] of recorder.runs({ row: 0, column: 0 }, width)) {
                for (let p = place; p < place + length; p += 1) {
                  if (after[p] !== now) throw new Error('runs');
                  ids[p] = old;
                }
              }
              if (ids.some((id, p) => id !== before[p])) throw new Error('undo');
              return [[...after], result === undefined ? null : result];
            }""",
            [module_server, rows, call],
        )
        width = len(rows[0])
        text = "".join(str(value or ".") for value in found[0])
        return [text[i : i + width] for i in range(0, len(text), width)], found[1]

    return run


def test_brush(use):
    empty = ["......."] * 5
    after, _ = use(empty, "tools.paintLine(plane, at(1, 2), at(5, 2), 1, 3, false, write)")
    assert after == [".......", *["3333333"] * 3, "......."]
    after, _ = use(empty, "tools.paintLine(plane, at(0, 0), at(3, 3), 0, 1, false, write)")
    assert after == ["1......", ".1.....", "..1....", "...1...", "......."]


def test_brush_is_round(use):
    after, _ = use(
        ["." * 21] * 21, "tools.paintLine(plane, at(10, 10), at(10, 10), 7, 1, false, write)"
    )
    y, x = np.mgrid[:21, :21]
    expected = (y - 10) ** 2 + (x - 10) ** 2 <= 7.5**2
    assert [[c == "1" for c in row] for row in after] == expected.tolist()


def test_brush_protects_other_objects_and_the_eraser_does_not(use):
    rows = ["..2..", "..2.."]
    line = "tools.paintLine(plane, at(0, 0), at(4, 0), 0, {}, {}, write)"
    assert use(rows, line.format(1, "false"))[0] == ["11211", "..2.."]
    assert use(rows, line.format(1, "true"))[0] == ["11111", "..2.."]
    assert use(rows, line.format(0, "false"))[0] == [".....", "..2.."]


def test_polygon(use):
    corners = "[at(1, 1), at(5, 1), at(5, 4), at(1, 4)]"
    after, _ = use(["......."] * 6, f"tools.paintPolygon(plane, {corners}, 4, false, write)")
    # The outline that was clicked is part of it on all four sides.
    assert after == [".......", *[".44444."] * 4, "......."]
    tip = "[at(0, 0), at(4, 0), at(2, 2)]"
    after, _ = use(["....."] * 3, f"tools.paintPolygon(plane, {tip}, 1, false, write)")
    assert after == ["11111", ".111.", "..1.."]
    outside = "[at(-9, -9), at(20, -9), at(20, 20), at(-9, 20)]"
    after, _ = use(["..1"], f"tools.paintPolygon(plane, {outside}, 2, false, write)")
    assert after == ["221"]


def test_fill(use):
    ring = [".....", ".111.", ".1.1.", ".111.", "....."]
    after, closed = use(ring, "tools.fill(plane, 12, 1, write)")
    assert closed is True
    assert after[2] == ".111."
    after, closed = use(ring, "tools.fill(plane, 0, 1, write)")
    assert (after, closed) == (ring, False)
    assert use(ring, "tools.enclosing(plane, 12)")[1] == 1
    assert use(["..."], "tools.enclosing(plane, 0)")[1] == 0


def test_fill_similar(use):
    gray = "[9, 8, 1, 9]"
    after, _ = use(["...."], f"tools.fillSimilar(plane, {gray}, 0, 2, 5, write)")
    assert after == ["55.."]


def test_split(use):
    block = ["11111"] * 4
    after, fresh = use(block, "tools.splitByLine(plane, [at(2, 0), at(2, 3)], 2, write)")
    assert fresh == [2]
    assert after == ["11122"] * 4 or after == ["11222"] * 4
    assert use(block, "tools.splitByLine(plane, [at(2, 0), at(2, 1)], 2, write)") == (block, [])


def test_a_diagonal_line_does_not_leak(use):
    after, fresh = use(["1111"] * 4, "tools.splitByLine(plane, [at(0, 0), at(3, 3)], 2, write)")
    assert fresh == [2]
    assert sum(row.count("1") + row.count("2") for row in after) == 16


def test_one_line_splits_several_objects(use):
    after, fresh = use(["11.22"] * 3, "tools.splitByLine(plane, [at(0, 1), at(4, 1)], 3, write)")
    assert fresh == [3, 4]
    assert {c for row in after for c in row} == {"1", "2", "3", "4", "."}


def test_merge_and_delete(use):
    assert use(["1122"], "tools.relabel(plane, 2, 1, write)")[0] == ["1111"]
    assert use(["1122"], "tools.relabel(plane, 2, 0, write)")[0] == ["11.."]


def test_two_fingers_zoom_and_the_blunt_end_of_a_pen_draws(page, module_server):
    page.goto(f"{module_server}/texts.js")
    fingers, pen, other = page.evaluate(
        """async (address) => {
          const { Gestures } = await import(address + '/gestures.js');
          const canvas = document.createElement('div');
          canvas.setPointerCapture = () => {};
          let calls = [];
          const view = { toImage: (at) => at, moveBy() {}, zoomBy: (by) => calls.push(by) };
          const handler = { tool: 'brush', hover() {}, cancel: () => calls.push('cancel'),
            gesture: (kind, at, event) => calls.push(kind, event?.buttons ?? 0) };
          new Gestures(canvas, view, handler);
          const send = (type, pointerId, clientX, more = {}) => canvas.dispatchEvent(
            new PointerEvent(type, { pointerId, clientX, ...more }));
          send('pointerdown', 1, 0);
          send('pointerdown', 2, 100);
          send('pointermove', 2, 150);
          send('pointerup', 1, 0);
          send('pointerup', 2, 150);
          const fingers = calls;
          calls = [];
          send('pointerdown', 3, 5, { button: 5, buttons: 32 });
          send('pointerup', 3, 5);
          const pen = calls;
          calls = [];
          send('pointerdown', 1, 5, { button: 2, buttons: 2 });
          return [fingers, pen, calls];
        }""",
        module_server,
    )
    assert fingers == ["press", 0, "cancel", 1.5]
    assert pen == ["press", 32, "release", 0]
    assert other == []


def test_history_keeps_200_steps_and_redo_ends_with_a_new_one(page, module_server):
    page.goto(f"{module_server}/texts.js")
    assert page.evaluate(
        """async (address) => {
          const { History } = await import(address + '/history.js');
          const history = new History();
          for (let step = 1; step <= 250; step += 1) history.add({ runs: [[step, 1, 0, 1]] });
          let count = 0;
          let last = null;
          for (let step = history.undo(); step; step = history.undo()) {
            count += 1;
            last = step;
          }
          const first = history.redo();
          history.add({ runs: [] });
          const [back, forth] = [last.runs[0][0], first.runs[0][0]];
          return [count, back, last.value, forth, first.value, history.redo()];
        }""",
        module_server,
    ) == [200, 51, 2, 51, 3, None]


def test_objects_are_ordered_by_uncertainty_and_what_is_right_comes_last(page, module_server):
    page.goto(f"{module_server}/texts.js")
    doubtful, sized = page.evaluate(
        """async (address) => {
          const sort = document.createElement('select');
          sort.id = 'sort';
          for (const name of ['doubt', 'size']) sort.append(new Option(name, name));
          document.body.replaceChildren(sort);
          const { ordered } = await import(address + '/panels.js');
          const objects = [[1, 0.1, 5], [2, 0.9, 6], [3, null, 9], [4, 0.5, 7]]
            .map(([id, doubt, size]) => ({ id, doubt, size }));
          const ids = () => ordered(objects, [2]).map((object) => object.id);
          const first = ids();
          sort.value = 'size';
          return [first, ids()];
        }""",
        module_server,
    )
    assert doubtful == [4, 1, 3, 2]
    assert sized == [3, 4, 2, 1]


def test_of_a_long_list_only_the_visible_rows_are_in_the_page(page, module_server):
    """Pictures are fetched two at a time, and a row that changes keeps the keyboard."""
    page.goto(f"{module_server}/texts.js")
    rows, loading, last, focus, told, revealed = page.evaluate(
        """async (address) => {
          const { ImageList } = await import(address + '/images.js');
          const list = document.createElement('ul');
          list.id = 'image-list';
          list.style.cssText = 'height: 400px; overflow: auto; margin: 0; padding: 0';
          const sheet = document.createElement('style');
          sheet.textContent = await (await fetch(address + '/style.css')).text();
          document.head.append(sheet);
          document.body.replaceChildren(list);
          const images = Array.from({ length: 2000 }, (_, n) => ({
            id: String(n), name: `image ${n}`, file: `image ${n}.tif`, state: 'unlabeled',
            objects: 0, doubt: null, corrections: null, problem: '' }));
          const told = [];
          const shown = new ImageList(list, {
            open: () => {}, explain: (problem) => told.push(problem), found: () => {} });
          const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          shown.show(images, '0');
          const count = list.children.length;
          const asked = list.querySelectorAll('img[src]').length;
          list.children[3].firstElementChild.focus();
          shown.show(images.map((image) => ({ ...image, state: 'labeled' })), '0');
          const focused = [document.activeElement.dataset.id, document.activeElement.dataset.state];
          const broken = { ...images[4], state: 'problem', problem: 'cut off' };
          shown.show(images.with(4, broken), '0');
          list.querySelector('[data-id="4"]').click();
          list.scrollTop = 1e9;
          await frame();
          const end = list.lastElementChild.textContent;
          shown.show(images, '1000');
          await frame();
          const box = list.querySelector('[data-id="1000"]').getBoundingClientRect();
          const around = list.getBoundingClientRect();
          const inside = box.top >= around.top && box.bottom <= around.bottom;
          return [count, asked, end, focused, told, inside];
        }""",
        module_server,
    )
    assert rows < 40
    assert loading == 2
    assert last.startswith("image 1999")
    assert focus == ["3", "labeled"]
    assert told == ["cut off"]
    assert revealed

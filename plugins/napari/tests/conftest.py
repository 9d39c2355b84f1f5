"""A real viewer, forms as the menu opens them, and clicks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from unmask.phantoms import draw_one


@pytest.fixture
def viewer(make_napari_viewer, qtbot):
    """A viewer whose window is shown; other ways give blank screenshots."""
    window = make_napari_viewer(show=True)
    window.window._qt_window.resize(1200, 800)
    qtbot.waitExposed(window.window._qt_window)
    return window


@pytest.fixture
def open_form(viewer):
    """Open a form of the plugin by its name in the menu."""

    def open_one(name: str):
        _, widget = viewer.window.add_plugin_dock_widget("napari-unmask", name)
        return widget

    return open_one


@pytest.fixture
def click(qtbot) -> Callable:
    """Click a button with the mouse."""

    def press(button):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    return press


@pytest.fixture
def run(qtbot, click) -> Callable:
    """Click the button of a form and wait for the end of its work; the messages."""

    def start(form, button=None, seconds: float = 400) -> str:
        with qtbot.waitSignal(form.job.ended, timeout=int(1000 * seconds)):
            click(button or form.run_button)
        return form.messages.toPlainText()

    return start


@pytest.fixture
def click_at(viewer, qtbot):
    """Click on a voxel of a layer in the picture."""

    def press(layer, voxel):
        window = viewer.window._qt_viewer
        world = np.asarray(layer.data_to_world(voxel), float)
        shown = list(viewer.dims.displayed)
        native = window.canvas.native
        center = np.asarray(viewer.camera.center)[-2:]
        offset = (world[shown] - center) * viewer.camera.zoom
        ratio = native.devicePixelRatioF()
        place = QPoint(
            int(native.width() / 2 + offset[1] / ratio),
            int(native.height() / 2 + offset[0] / ratio),
        )
        qtbot.mousePress(native, Qt.MouseButton.LeftButton, pos=place)
        qtbot.mouseRelease(native, Qt.MouseButton.LeftButton, pos=place)

    return press


@pytest.fixture(scope="session")
def nuclei():
    """A small 2D image of nuclei and their labels."""
    drawn = draw_one("nuclei", (96, 112), seed=3)
    return drawn.image[0], drawn.labels


@pytest.fixture(scope="session")
def volume():
    """A small volume of nuclei and their labels."""
    drawn = draw_one("nuclei", (6, 48, 56), seed=3)
    return drawn.image[0], drawn.labels.astype(np.uint32)

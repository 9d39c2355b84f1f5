"""Draw docs/images/napari.png: the forms of the plugin in a real window of napari.

Run it from the repository with Xvfb, after ``make test-napari`` has made the environment::

    QT_API=pyside6 QT_QPA_PLATFORM=xcb LIBGL_ALWAYS_SOFTWARE=1 \
      xvfb-run -a -s "-screen 0 1280x1024x24" .venv-napari/bin/python docs/scripts/napari_picture.py
"""

from __future__ import annotations

import time
from pathlib import Path

import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication

from unmask.phantoms import draw_one

TARGET = Path(__file__).resolve().parents[1] / "images" / "napari.png"
SIZE, COLORS = (1240, 820), 64


def wait(seconds: float) -> None:
    """Let the window draw."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def main() -> None:
    """Segment a phantom, list its objects and save the picture of the window."""
    viewer = napari.Viewer(show=True)
    window = viewer.window._qt_window
    window.resize(*SIZE)
    image = draw_one("nuclei", (256, 256), seed=1).image[0]
    viewer.add_image(image, name="nuclei", scale=(0.5, 0.5), units=("um", "um"))
    docks = [viewer.window.add_plugin_dock_widget("napari-unmask", "Segment")]
    segment = docks[0][1]
    segment.model.choose("nuclei")
    segment.run_button.click()
    while segment.job.running:
        wait(0.1)
    docks.append(viewer.window.add_plugin_dock_widget("napari-unmask", "Proofread"))
    proofread = docks[1][1]
    proofread.run_button.click()
    while proofread.job.running:
        wait(0.1)
    proofread.path.setText("nuclei_labels.tif")
    window.tabifyDockWidget(docks[0][0], docks[1][0])
    docks[1][0].raise_()
    viewer.reset_view()
    wait(2)
    shown = np.asarray(viewer.screenshot(canvas_only=False, flash=False))[..., :3]
    if len(np.unique(shown.reshape(-1, 3), axis=0)) < 50:
        raise SystemExit("The window is blank; run this under xvfb-run as the first lines say.")
    picture = Image.fromarray(shown).quantize(COLORS)
    TARGET.parent.mkdir(exist_ok=True)
    picture.save(TARGET, optimize=True)
    print(f"{TARGET}: {picture.size}, {TARGET.stat().st_size / 1000:.0f} kB")
    viewer.close()


if __name__ == "__main__":
    main()

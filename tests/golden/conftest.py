"""What the golden tests of several programs share."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def flow_images(golden):
    """Images of a program's case ``flows``: for each, its arrays by the rest of their names."""

    def read(folder):
        case = json.loads((golden / folder / "manifest.json").read_text())["cases"]["flows"]
        file = np.load(golden / folder / case["file"])
        names = [name.removesuffix("_label") for name in case["arrays"] if name.endswith("_label")]
        assert names
        return [
            {key.removeprefix(f"{name}_"): file[key] for key in file if key.startswith(f"{name}_")}
            for name in names
        ]

    return read

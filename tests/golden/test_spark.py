"""LAMB against three steps of the optimiser of SparK."""

import json

import numpy as np
import pytest
import torch

from unmask.training.lamb import Lamb


@pytest.mark.parametrize(("case", "size"), [("small", 0.3), ("clipped", 5.0)])
def test_steps_equal_the_published_ones(golden, fill, case, size):
    salt = json.loads((golden / "spark" / "manifest.json").read_text())["salt"]
    stored = np.load(golden / "spark" / "lamb.npz")
    names = ["w1", "w2", "b1", "zero"]
    parameters = {name: torch.nn.Parameter(torch.tensor(stored[f"start_{name}"])) for name in names}
    groups = [
        {"params": [parameters[name] for name in names if name != "b1"], "weight_decay": 0.04},
        {"params": [parameters["b1"]], "weight_decay": 0.0},
    ]
    optimizer = Lamb(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-6, max_norm=5.0)
    for step in range(3):
        for name, parameter in parameters.items():
            shape = tuple(parameter.shape)
            gradient = fill.make_input(f"lamb_g_{name}_{step}", shape, salt, "signed") * size
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
        for name, parameter in parameters.items():
            expected = torch.tensor(stored[f"{case}_step{step + 1}_{name}"])
            torch.testing.assert_close(parameter.detach(), expected, atol=1e-6, rtol=0)

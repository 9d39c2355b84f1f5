"""What a round is trained on, and that the plan of `unmask train` understands it as meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unmask import api
from unmask.build import assemble_segmenter
from unmask.io import open_labels
from unmask.serve.commands import Defaults, Effort, train_command

SHAPES = {2: (48, 40), 3: (10, 24, 20)}


def settings_of(command) -> list[str]:
    return [command[n + 1] for n, word in enumerate(command) if word == "--set"]


def planned(client, **effort):
    """The recipe of the next round, and the labels of its first image."""
    folder = client.site.workspace.runs / "set"
    chosen = client.site.jobs._stage.write(folder)
    command, init = train_command(chosen, folder, Effort(**effort), Defaults(), [])
    assert command[:2] == ("train", str(chosen.listing))
    assert init is None
    made = api.plan(chosen.listing, settings=[*settings_of(command), "train.steps=5"])
    first = json.loads(chosen.listing.read_text())["training"][0]
    labels = open_labels(folder / first["label"], ndim=chosen.ndim).read()[0]
    return made, labels, command


def blocks(ndim: int, count: int = 6) -> np.ndarray:
    """Objects in a row along the last axis but one."""
    ids = np.zeros(SHAPES[ndim], np.uint16)
    for number in range(count):
        row = 1 + number * (SHAPES[ndim][-2] // count)
        ids[..., row : row + 3, 4:8] = number + 1
    return ids


@pytest.mark.parametrize("ndim", [2, 3])
def test_only_the_box_teaches(served, ndim):
    """From the page to the weights of the loss: voxels outside of the box count for nothing."""
    client = served(ndim)
    ids = blocks(ndim)
    client.put(client.image(), ids)
    start, stop = [0] * ndim, [*SHAPES[ndim][:-1], 12]
    region = {"regions": [[start, stop]]}
    client.request("PATCH", f"/api/image/{client.image()}", json=region)
    made, labels, _ = planned(client, updates=5)
    assert made.recipe.task is not None
    assert made.recipe.task.name == "flows"
    # The ignored value is no object: six were drawn.
    assert made.facts.objects is not None
    assert made.facts.objects.count == 6
    task = assemble_segmenter(made.recipe).task
    assert task is not None
    weight = task.encode(labels, None).weight[0]
    expected = np.zeros(ids.shape)
    expected[..., :12] = 1
    np.testing.assert_array_equal(weight, expected)


def test_few_objects_in_two_images_are_not_taken_for_classes(served):
    """Ids begin at 1 in every image, as classes do."""
    client = served()
    for number in (0, 1):
        client.put(client.image(number), blocks(2, 3))
    made, _, command = planned(client)
    assert made.recipe.task is not None
    assert made.recipe.task.name == "flows"
    assert command[command.index("--minutes") + 1] == "2"
    assert made.recipe.data.ignore_label is None


@pytest.mark.parametrize("ndim", [2, 3])
def test_scribbles_are_classes_and_the_rest_is_unknown(served, ndim):
    client = served(ndim)
    ids = np.zeros(SHAPES[ndim], np.uint16)
    ids[..., 3, 2:15], ids[..., 9, 2:15], ids[..., 15, 4:9] = 1, 3, 3
    client.put(client.image(), ids)
    client.request("PATCH", "/api/project", json={"kind": "classes"})
    made, labels, _ = planned(client)
    task = made.recipe.task
    assert task is not None
    assert task.model_dump() == {"name": "semantic", "classes": 4}
    np.testing.assert_array_equal(labels, np.where(ids == 0, 65535, ids))
    assert made.recipe.data.ignore_label == 65535


def test_a_recipe_of_the_person_who_started_the_server_is_used(served):
    client = served()
    client.put(client.image(), blocks(2))
    chosen = client.site.jobs._stage.write(client.site.workspace.runs / "set")
    defaults = Defaults(preset="cells", settings=("train.batch_size=2",), init="phantoms")
    command, _ = train_command(chosen, Path("out"), Effort(minutes=3), defaults, [])
    assert command[4:6] == ("--preset", "cells")
    assert command[-4:-2] == ("--init", "phantoms")
    assert "--minutes" not in command
    assert settings_of(command) == ["train.batch_size=2"]

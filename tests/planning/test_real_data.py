"""Decisions on real data sets, pinned: task, classes, scale, shape of the network."""

from __future__ import annotations

import pytest

from unmask import api

# Set, labels, task, and fields that are known to be right.
SETS = [
    ("dsb2018_nuclei", "labels", "flows", {"data.channels": 3, "data.scale": None}),
    ("isbi2012_em", "labels", "affinities", {"data.channels": 1, "data.foreground": 0.0}),
    ("isbi2012_em", "labels_membrane", "semantic", {"task.classes": 2}),
    ("fib25_em3d", "labels", "affinities", {"task.widen": [1, 1, 1]}),
    ("hippocampus_mri", "labels", "semantic", {"task.classes": 3, "data.crop": [40, 56, 40]}),
    ("vnc_sstem", "labels", "affinities", {"data.channels": 1}),
    ("vnc_sstem", "labels_semantic", "semantic", {"task.classes": 5}),
    ("axon_sem", "labels", "flows", {"data.scale": None}),
    ("axon_sem", "labels_semantic", "semantic", {"task.classes": 3}),
    ("plant_nuclei_3d_mini", "labels", "flows", {"data.crop": [64, 64, 64]}),
    ("oxford_pets_mini", "labels", "semantic", {"task.classes": 3, "data.channels": 3}),
    ("totalseg_mini", "labels", "semantic", {}),
    ("bacteria_dapi", "labels", "flows", {"data.crop": [128, 128]}),
    ("cardiac_cine_mri", "labels", "semantic", {"task.classes": 2, "data.foreground": 0.9}),
    ("germline_nuclei", "labels", "flows", {"data.scale": 0.56}),
    ("mito_sbem_nc", "labels", "boundary", {"data.scale": [1.0, 0.38, 0.38]}),
    ("mito_sbem_nc", "labels_semantic", "semantic", {"task.classes": 2}),
    ("neuron_fluo", "labels", "flows", {"data.foreground": 0.7}),
    ("superalloy_sem", "labels", "semantic", {"task.classes": 3}),
    ("superalloy_sem", "labels_instances", "flows", {}),
    ("usiigaci_phase", "labels", "flows", {"data.channels": 1}),
    ("worms_bbbc010", "labels", "flows", {}),
]


@pytest.mark.parametrize(("name", "labels", "task", "fields"), SETS)
def test_task_and_scale_of_real_images(data_root, name, labels, task, fields):
    train = data_root / name / "train"
    if not train.is_dir():
        pytest.skip(f"no {name}")
    made = api.plan(train / "images", labels=train / labels)
    assert made.recipe.task is not None
    assert made.recipe.task.name == task
    values = {each.field: each.value for each in made.decisions}
    assert {field: values.get(field) for field in fields} == fields
    if name == "mito_sbem_nc" and labels == "labels":
        # The files have no voxel size; mitochondria are far shorter across the sections.
        assert made.facts.voxel[0] > 5
        assert any("voxel size" in note for note in made.notes)

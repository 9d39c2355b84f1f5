"""Recipe and files of a run on disk; weights that a run begins with."""

from __future__ import annotations

import pytest
import torch

from unmask.build import new_method, new_segmenter
from unmask.checkpoint import code_fields, save_model
from unmask.errors import CheckpointError, DataError
from unmask.recipe import Recipe, load
from unmask.training.provenance import code_marks, initialize, is_new_run, note_run, versions

MARKS = {"a.tif": "10:5", "b.tif": "20:6"}
VIT = "{name: vit, patch: [8, 8], dim: 24, depth: 2, heads: 2}"


def recipe(preset: str, *settings: str) -> Recipe:
    small = ["data.channels=1", "data.crop=[32, 32]", f"model.backbone={VIT}"]
    return load(preset).with_settings([*small, *settings])


def begin(folder, chosen: Recipe, marks, *, resume: bool):
    if is_new_run(folder, chosen, marks, resume=resume):
        note_run(folder, chosen, marks)


class TestNotes:
    def test_written_and_compared(self, tmp_path):
        chosen = recipe("semantic2d")
        begin(tmp_path, chosen, MARKS, resume=False)
        assert load(tmp_path / "recipe.yaml") == chosen
        begin(tmp_path, chosen, MARKS, resume=True)

    @pytest.mark.parametrize("setting", ["train.workers=3", "train.keep=9", "train.save_every=2"])
    def test_what_changes_no_weight_may_differ(self, tmp_path, setting):
        begin(tmp_path, recipe("semantic2d"), MARKS, resume=False)
        begin(tmp_path, recipe("semantic2d", setting), MARKS, resume=True)

    @pytest.mark.parametrize("setting", ["train.lr=9", "data.crop=[16, 16]", "task.classes=3"])
    def test_what_changes_weights_may_not(self, tmp_path, setting):
        begin(tmp_path, recipe("semantic2d"), MARKS, resume=False)
        with pytest.raises(CheckpointError, match=setting.split("=")[0]):
            begin(tmp_path, recipe("semantic2d", setting), MARKS, resume=True)

    @pytest.mark.parametrize(
        "marks", [{"a.tif": "10:5"}, {**MARKS, "c.tif": "1:1"}, {**MARKS, "b.tif": "20:7"}]
    )
    def test_other_files_are_refused(self, tmp_path, marks):
        begin(tmp_path, recipe("semantic2d"), MARKS, resume=False)
        with pytest.raises(DataError, match=r"[bc]\.tif"):
            begin(tmp_path, recipe("semantic2d"), marks, resume=True)

    def test_another_source_of_a_part_is_refused(self, tmp_path):
        code = code_marks({"code": [{"file": "part.py", "sha256": "0a"}]})
        begin(tmp_path / "new", recipe("semantic2d"), {**MARKS, **code}, resume=False)
        with pytest.raises(DataError, match=r"source of part\.py"):
            begin(
                tmp_path / "new",
                recipe("semantic2d"),
                {**MARKS, **code_marks({"code": [{"file": "part.py", "sha256": "0b"}]})},
                resume=True,
            )

    def test_runs_that_noted_no_sources_resume(self, tmp_path):
        begin(tmp_path, recipe("semantic2d"), MARKS, resume=False)
        code = code_marks({"code": [{"file": "part.py", "sha256": "0a"}]})
        begin(tmp_path, recipe("semantic2d"), {**MARKS, **code}, resume=True)

    def test_a_run_with_snapshots_is_not_overwritten(self, tmp_path):
        begin(tmp_path, recipe("semantic2d"), MARKS, resume=False)
        (tmp_path / "snapshots" / "step-000001").mkdir(parents=True)
        with pytest.raises(CheckpointError, match="--resume"):
            begin(tmp_path, recipe("semantic2d", "train.lr=9"), {}, resume=False)
        assert load(tmp_path / "recipe.yaml") == recipe("semantic2d")

    def test_resume_of_an_empty_folder_begins(self, tmp_path):
        begin(tmp_path, recipe("semantic2d"), MARKS, resume=True)
        assert (tmp_path / "recipe.yaml").is_file()

    @pytest.mark.parametrize("content", [None, "", "{"])
    def test_a_damaged_fingerprint_is_named(self, tmp_path, content):
        begin(tmp_path, recipe("semantic2d"), MARKS, resume=False)
        (tmp_path / "data.json").unlink()
        if content is not None:
            (tmp_path / "data.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"data\.json"):
            begin(tmp_path, recipe("semantic2d"), MARKS, resume=True)


class TestInitialise:
    @staticmethod
    def saved(tmp_path, chosen: Recipe, objective: torch.nn.Module):
        path = tmp_path / "model.safetensors"
        with torch.no_grad():
            for parameter in objective.parameters():
                parameter.add_(0.25)
        save_model(path, objective.state_dict(), {"recipe": chosen.model_dump(mode="json")})
        return path

    @pytest.mark.parametrize("patch", ["8", "[8, 8]"])
    def test_a_pretrained_backbone(self, tmp_path, patch):
        before = recipe("mae2d", f"model.backbone.patch={patch}")
        method = new_method(before)
        path = self.saved(tmp_path, before, method)
        segmenter = new_segmenter(recipe("semantic2d"))
        fresh = segmenter.head.get_parameter("weight").clone()
        lines = initialize(segmenter, path).lines
        assert any("backbone" in line for line in lines)
        wanted = method.state_dict()
        for name, tensor in segmenter.backbone.state_dict().items():
            assert torch.equal(tensor, wanted[f"backbone.{name}"]), name
        assert torch.equal(segmenter.head.get_parameter("weight"), fresh)

    def test_another_crop_gets_fitted_positions(self, tmp_path):
        before = recipe("mae2d")
        path = self.saved(tmp_path, before, new_method(before))
        segmenter = new_segmenter(recipe("semantic2d", "data.crop=[48, 40]"))
        assert any("pos_embed" in line for line in initialize(segmenter, path).lines)

    def test_a_whole_segmenter(self, tmp_path):
        chosen = recipe("semantic2d")
        first = new_segmenter(chosen)
        path = self.saved(tmp_path, chosen, first)
        second = new_segmenter(chosen)
        initialize(second, path)
        wanted = first.state_dict()
        assert all(torch.equal(tensor, wanted[n]) for n, tensor in second.state_dict().items())

    def test_another_number_of_classes_keeps_its_head(self, tmp_path):
        chosen = recipe("semantic2d")
        path = self.saved(tmp_path, chosen, new_segmenter(chosen))
        other = new_segmenter(recipe("semantic2d", "task.classes=4"))
        fresh = other.head.get_parameter("weight").clone()
        lines = initialize(other, path).lines
        assert any("head not taken over; weight is (" in line for line in lines), lines
        assert torch.equal(other.head.get_parameter("weight"), fresh)

    @pytest.mark.parametrize(
        ("preset", "here", "words"),
        [
            ("cells", ("task={name: semantic, classes: 3}",), "Flows there, Semantic here"),
            ("cells", ("task={name: flows, flow_scale: 1.0}",), "scale is 5.0 there, 1.0 here"),
            ("cells", ("task={name: classify, classes: [a, b, c]}",), "Flows there, Classify here"),
            ("semantic2d", ("task={name: semantic, classes: 2, values: [0, 7]}",), "values is"),
        ],
    )
    def test_a_head_of_equal_shape_for_another_purpose(self, tmp_path, preset, here, words):
        before = recipe(preset, "model.decoder=linear")
        path = self.saved(tmp_path, before, new_segmenter(before))
        chosen = before.with_settings(here)
        other = new_segmenter(chosen)
        fresh = other.head.get_parameter("weight").clone()
        lines = initialize(other, path, chosen).lines
        assert len(lines) == 1
        assert "head not taken over" in lines[0]
        assert words in lines[0]
        assert "backbone 100% taken over" in lines[0]
        assert "decoder 100% taken over" in lines[0]
        assert torch.equal(other.head.get_parameter("weight"), fresh)

    @pytest.mark.parametrize(
        "setting", ["task.steps=50", "task.min_size=3", "task.flow_weight=2", "train.lr=0.1"]
    )
    def test_a_head_for_the_same_purpose_read_in_another_way(self, tmp_path, setting):
        before = recipe("cells")
        first = new_segmenter(before)
        path = self.saved(tmp_path, before, first)
        chosen = before.with_settings([setting])
        other = new_segmenter(chosen)
        lines = initialize(other, path, chosen).lines
        assert "head 100% taken over" in lines[0]
        wanted = first.state_dict()
        assert all(torch.equal(tensor, wanted[n]) for n, tensor in other.state_dict().items())

    @pytest.mark.parametrize("ndim", [2, 3])
    def test_masked_pretraining_into_classes_of_whole_images(self, tmp_path, ndim):
        vit = f"{{name: vit, patch: {[8] * ndim}, dim: 24, depth: 2, heads: 2}}"
        small = [f"data.crop={[16] * ndim}", "data.channels=1", f"model.backbone={vit}"]
        before = load(f"mae{ndim}d").with_settings(small)
        method = new_method(before)
        path = self.saved(tmp_path, before, method)
        chosen = load(f"classify{ndim}d").with_settings(small)
        other = new_segmenter(chosen)
        lines = initialize(other, path, chosen).lines
        assert "backbone 100% taken over" in lines[0]
        assert "decoder" not in lines[0]
        wanted = method.state_dict()
        for name, tensor in other.backbone.state_dict().items():
            assert torch.equal(tensor, wanted[f"backbone.{name}"]), name

    def test_a_head_that_rebuilds_images_is_no_head_of_classes(self, tmp_path):
        resunet = "model.backbone={name: resunet, width: 4, depth: 3}"
        before = load("spark2d").with_settings([resunet, "data.crop=[32, 32]", "data.channels=2"])
        path = self.saved(tmp_path, before, new_method(before))
        chosen = load("semantic2d").with_settings(
            [resunet, "data.crop=[32, 32]", "data.channels=2", "task.classes=2",
             "model.decoder=spark"]
        )  # fmt: skip
        lines = initialize(new_segmenter(chosen), path, chosen).lines
        assert "head not taken over" in lines[0]

    def test_code_of_the_other_model_is_not_run(self, tmp_path):
        marker, file = tmp_path / "marker", tmp_path / "evil.py"
        file.write_text(f"open({str(marker)!r}, 'w').close()\nclass T: pass")
        before = recipe("semantic2d")
        tree = before.model_dump(mode="json")
        weights = new_segmenter(before).state_dict()
        for task in (f"{file}:T", {"name": "affinities", "decoding": f"{file}:T"}):
            tree["task"] = task
            save_model(tmp_path / "m.safetensors", weights, {"recipe": tree, "code": 3})
            lines = initialize(new_segmenter(before), tmp_path / "m.safetensors", before).lines
            assert "code was not run" in lines[0]
            assert "evil.py:T" in lines[0]
            assert "head not taken over" in lines[0]
        assert not marker.exists()

    def test_a_task_from_a_file_is_known_by_its_source(self, tmp_path):
        file = tmp_path / "part.py"
        file.write_text("from unmask.tasks.semantic import Semantic\nclass Mine(Semantic): pass")
        chosen = recipe("semantic2d", f"task={{name: '{file}:Mine', classes: 2}}")
        segmenter = new_segmenter(chosen)
        card = {"recipe": chosen.model_dump(mode="json"), **code_fields(chosen)}
        path = tmp_path / "m.safetensors"
        save_model(path, segmenter.state_dict(), card)
        assert "head 100% taken over" in initialize(new_segmenter(chosen), path, chosen).lines[0]
        file.write_text(file.read_text() + "\n# changed")
        again = new_segmenter(chosen)
        assert "head not taken over" in initialize(again, path, chosen).lines[0]

    def test_another_backbone_is_refused_and_nothing_changes(self, tmp_path):
        before = recipe("mae2d")
        path = self.saved(tmp_path, before, new_method(before))
        resunet = "model.backbone={name: resunet, width: 4, depth: 2}"
        segmenter = new_segmenter(recipe("semantic2d", resunet))
        kept = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            initialize(segmenter, path)
        assert all(torch.equal(tensor, kept[n]) for n, tensor in segmenter.state_dict().items())

    def test_a_deeper_backbone_is_not_cut_short(self, tmp_path):
        mit = "model.backbone={{name: mit, dims: [8, 16], heads: [1, 2], depths: {}}}"
        deep, flat = (recipe("semantic2d", mit.format(n)) for n in ("[1, 3]", "[1, 2]"))
        path = self.saved(tmp_path, deep, new_segmenter(deep))
        segmenter = new_segmenter(flat)
        kept = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
        with pytest.raises(CheckpointError) as caught:
            initialize(segmenter, path)
        text = str(caught.value)
        for word in (str(path), "block2.2.", "MixTransformer", "depths: [1, 3]"):
            assert word in text
        assert all(torch.equal(tensor, kept[n]) for n, tensor in segmenter.state_dict().items())


def test_versions_name_what_made_a_model():
    assert {"python", "unmask", "torch", "numpy", "numba"} == set(versions())

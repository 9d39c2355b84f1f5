"""Published weights: every source, whole and damaged, from Python and from the command line."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import unmask
from unmask.checkpoint import load_model
from unmask.clustering.encoder import load_encoder
from unmask.errors import CheckpointError, RecipeError
from unmask.interop.official import SOURCES, read
from unmask.models import BranchHead, ManetDecoder, MixTransformer, ViT
from unmask.pretraining import MAE

TOKENS: dict[str, tuple[ViT, dict[str, Any]]] = {
    "mae": (ViT(2, 3, image=16, patch=4, dim=24, depth=2, heads=2), {"decoder_dim": 16}),
    "glmae": (ViT(3, 1, image=16, patch=8, dim=24, depth=2, heads=2), {"decoder_dim": 16}),
    "maester": (
        ViT(2, 1, image=20, patch=5, dim=192, depth=2, heads=1, position_scale=0.08),
        {"decoder_dim": 128, "decoder_heads": 8},
    ),
}
# What the tensors of such small networks do not show.
SETTINGS = {
    "mae": ["model.backbone.heads=2", "method.decoder_heads=4"],
    "glmae": ["model.backbone.heads=2", "method.decoder_heads=4"],
}
HEADS = {"head.branches.0.": "gradflow_head.", "head.branches.1.": "cellprob_head."}


class Cells(torch.nn.Module):
    """A small network of MEDIAR's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MixTransformer(
            2, 3, dims=(8, 16, 40, 64), depths=(1, 1, 1, 1), heads=(1, 2, 5, 8)
        )
        self.decoder = ManetDecoder(2, self.encoder.channels, self.encoder.strides, width=4)
        self.head = BranchHead(2, 4, 3, hidden=6)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.decoder(self.encoder(image), image.shape[2:]))


def published(source: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A network and its weights under their published names."""
    torch.manual_seed(0)
    if source == "mediar":
        network = Cells().eval()
        names = {}
        for name in network.state_dict():
            for ours, theirs in HEADS.items():
                names.setdefault(name, name)
                names[name] = names[name].replace(ours, theirs)
        return network, {names[name]: each for name, each in network.state_dict().items()}
    backbone, options = TOKENS[source]
    network = MAE(backbone, decoder_depth=1, **options).eval()
    state = network.state_dict()
    return network, {name.removeprefix("backbone."): each for name, each in state.items()}


def expected(source: str, network: Any, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        if source == "mediar":
            return network(image)
        return network.backbone.encode(network.backbone.embed(image).values)


def image_for(source: str) -> torch.Tensor:
    if source == "mediar":
        return torch.rand(2, 3, 64, 32)
    backbone = TOKENS[source][0]
    return torch.rand(2, backbone.in_channels, *(2 * n for n in backbone.patch))


SMALL = ["mae", "maester", "glmae", "mediar"]


@pytest.fixture
def saved(tmp_path):
    """``saved(source, change)``: a file of a source after ``change(weights)``.

    Safetensors where nothing is nested: opening a pickle starts a process.
    """

    def write(source, change=lambda weights: weights):
        tree = change(published(source)[1])
        if all(isinstance(value, torch.Tensor) for value in tree.values()):
            path = tmp_path / "weights.safetensors"
            save_file({name: value.contiguous() for name, value in tree.items()}, path)
        else:
            path = tmp_path / "weights.pth"
            torch.save(tree, path)
        return path

    return write


def load(path, source):
    return unmask.load_official(path, source=source, settings=SETTINGS.get(source, ()))


@pytest.mark.parametrize("source", SMALL)
class TestEverySource:
    def test_outputs_are_those_of_the_network(self, source, saved):
        model, image = load(saved(source), source), image_for(source)
        assert not model.training
        with torch.no_grad():
            found = model(image)
        torch.testing.assert_close(found, expected(source, published(source)[0], image))

    def test_half_precision_is_widened(self, source, saved):
        def half(weights):
            return {n: w.half() if w.is_floating_point() else w for n, w in weights.items()}

        model = load(saved(source, half), source)
        assert {p.dtype for p in model.parameters()} == {torch.float32}

    def test_missing_and_strange_entries_are_named_together(self, source, saved):
        def damaged(weights):
            names = [n for n in weights if n.endswith("weight") and weights[n].ndim == 1]
            short = {n: w for n, w in weights.items() if n != names[0]}
            short[names[1]] = short[names[1]][:-1]
            return {**short, "stranger": torch.zeros(2)}

        with pytest.raises(CheckpointError) as error:
            load(saved(source, damaged), source)
        text = str(error.value)
        assert re.search(r"missing\n", text)
        assert "stranger" in text
        assert re.search(r"expected numbers of shape \(\d+,\), found numbers of shape", text)
        assert SOURCES[source].title in text
        assert "3 differences" in text

    def test_another_source_is_recognised(self, source, saved):
        path = saved(source)
        for other in SMALL:
            if other != source:
                with pytest.raises(CheckpointError, match=f"expected .* found .*--source {source}"):
                    load(path, other)

    def test_convert_writes_a_model_that_says_where_it_is_from(self, source, saved, tmp_path):
        path, out = saved(source), tmp_path / "model.safetensors"
        assert (
            unmask.convert(path, source=source, out=out, settings=SETTINGS.get(source, ())) == out
        )
        card = load_model(out).card
        assert card["origin"]["file"] == path.name
        assert card["origin"]["source"] == source
        assert len(card["origin"]["sha256"]) == 64
        assert card["recipe"]["name"] == f"{source}_weights"
        assert card["versions"]["unmask"]
        # `--init` and dense features take the backbone of it
        backbone = load_encoder(out).backbone
        image = image_for(source)
        with torch.no_grad():
            features = backbone(image.to(next(backbone.parameters()).device))
        assert len(features) == len(backbone.channels)


def test_a_converted_segmenter_predicts(saved, tmp_path):
    out = tmp_path / "cells.safetensors"
    unmask.convert(saved("mediar"), source="mediar", out=out)
    image = np.random.default_rng(0).integers(0, 255, (3, 70, 50)).astype(np.uint8)
    result = unmask.predict(out, image, settings=["infer.tile=[64,64]"])
    assert result.labels.shape == (70, 50)


def test_an_encoder_alone_is_enough(saved):
    def encoder(weights):
        return {n: w for n, w in weights.items() if not n.startswith(("mask_token", "decoder_"))}

    image = image_for("mae")
    with torch.no_grad():
        found = load(saved("mae", encoder), "mae")(image)
    torch.testing.assert_close(found, expected("mae", published("mae")[0], image))


@pytest.mark.parametrize("group", ["student", "teacher", "state_dict", "model"])
def test_layouts_of_glmae(group):
    weights = published("glmae")[1]
    inner = {f"module.backbone.{name}": each for name, each in weights.items()}
    other = {"module.backbone.norm.weight": torch.zeros(3)}
    tree = ({"teacher": other} if group == "student" else {}) | {group: inner, "epoch": 1599}
    found = SOURCES["glmae"].unpack(tree)
    assert {name: each.data_ptr() for name, each in found.items()} == {
        name: each.data_ptr() for name, each in weights.items()
    }


def test_a_pickle_with_wrappers_is_read(saved):
    def nested(weights):
        head = {"module.head.mlp.0.weight": torch.zeros(4, 4)}
        inner = {f"module.backbone.{name}": each for name, each in weights.items()} | head
        return {"student": inner, "epoch": 1599}

    found = read(saved("glmae", nested), "glmae", SETTINGS["glmae"])
    assert found.recipe.data.crop == (16, 16, 16)


def test_a_leftover_head_of_mediar_is_dropped(saved):
    extra = {"segmentation_head.0.weight": torch.zeros(3, 4, 3, 3)}
    load(saved("mediar", lambda weights: weights | extra), "mediar")


def test_published_sizes_are_named(saved):
    assert read(saved("mediar"), "mediar").recipe.model.backbone.choice.options["dims"] == [
        8,
        16,
        40,
        64,
    ]


def test_what_tensors_do_not_show_is_asked_for(saved):
    with pytest.raises(
        RecipeError, match=r"--set model\.backbone\.heads=\.\.\. --set method\.deco"
    ):
        unmask.load_official(saved("mae"), source="mae")

    def flat(weights):
        return {n: w[:, :-2] if "pos_embed" in n else w for n, w in weights.items()}

    with pytest.raises(RecipeError, match=r"--set data\.crop"):
        load(saved("glmae", flat), "glmae")


def test_a_grid_that_is_no_cube_is_given(saved):
    def flat(weights):
        return {n: w[:, :7] if "pos_embed" in n else w for n, w in weights.items()}

    path = saved("glmae", flat)
    given = [*SETTINGS["glmae"], "data.crop=[8,16,24]"]
    model = unmask.load_official(path, source="glmae", settings=given)
    assert model(torch.rand(1, 1, 8, 16, 24)).shape == (1, 7, 24)
    with pytest.raises(CheckpointError, match="pos_embed"):
        unmask.load_official(path, source="glmae", settings=[*given, "data.crop=[8,8,24]"])


class TestCommandLine:
    def test_convert(self, command, saved, tmp_path):
        out = tmp_path / "cells.safetensors"
        answer = command("convert", saved("mediar"), "--source", "mediar", "--out", out)
        assert answer.code == 0, answer.err
        assert str(out) in answer.out
        assert load_model(out).card["origin"]["source"] == "mediar"

    def test_a_student_is_fine_tuned_on_a_grid_that_is_no_cube(
        self, command, saved, phantoms, tmp_path
    ):
        """Positions follow; a crop that is no whole patches is padded and cropped back."""

        def wrapped(weights):
            return {"student": {f"module.backbone.{name}": v for name, v in weights.items()}}

        model = tmp_path / "student.safetensors"
        heads = [part for line in SETTINGS["glmae"] for part in ("--set", line)]
        answer = command(
            "convert", saved("glmae", wrapped), "--source", "glmae", "--out", model, *heads
        )
        assert answer.code == 0, answer.err
        lines = [
            "model.backbone={name: vit, patch: 8, dim: 24, depth: 2, heads: 2}",
            "model.decoder={name: unetr, width: 4}",
            "task.classes=2",
            "data.crop=[8, 24, 20]",
            "train.steps=1",
            "train.batch_size=1",
            "train.freeze=[backbone]",
        ]
        run = tmp_path / "run"
        files = ("--images", phantoms[3] / "images", "--labels", phantoms[3] / "classes")
        given = [part for line in lines for part in ("--set", line)]
        answer = command(
            "train", "--preset", "semantic3d", *files, "--init", model, "--out", run, *given
        )
        assert answer.code == 0, answer.err
        assert "pos_embed: grid (2, 2, 2) to (1, 3, 3)" in answer.err + answer.out
        assert "Frozen: backbone" in answer.err + answer.out
        weights, theirs = load_model(run).weights, published("glmae")[1]
        assert torch.equal(
            weights["backbone.blocks.1.mlp.fc1.weight"], theirs["blocks.1.mlp.fc1.weight"]
        )
        assert weights["backbone.pos_embed"].shape == (1, 1 + 1 * 3 * 3, 24)

    @pytest.mark.parametrize(
        ("source", "change", "words"),
        [
            ("mediar", lambda w: {n: v for n, v in w.items() if "norm1" not in n}, "missing"),
            ("mediar", lambda w: {n: v for n, v in w.items() if "patch" not in n}, "another one"),
            ("mediar", lambda w: {}, "no tensors"),
            ("unet", lambda w: w, "one of bioimageio, glmae, imagenet, mae, maester, mediar, mit,"),
            (
                "medair",
                lambda w: w,
                "pea3d, spark, found another name. Did you mean mediar?",
            ),
        ],
        ids=["missing", "another encoder", "nothing", "unknown source", "misspelled source"],
    )
    def test_what_is_refused(self, command, saved, tmp_path, source, change, words):
        out = tmp_path / "cells.safetensors"
        answer = command("convert", saved("mediar", change), "--source", source, "--out", out)
        assert answer.code == 2, answer.err
        for word in ("expected", words):
            assert word in answer.err
        assert not out.exists()

    @pytest.mark.parametrize("name", ["patch_embed1.proj.weight", "center.top_conv.weight"])
    def test_a_single_missing_entry_is_named(self, saved, name):
        path = saved("mediar", lambda w: {n: v for n, v in w.items() if not n.endswith(name)})
        with pytest.raises(CheckpointError) as caught:
            read(path, "mediar")
        assert "found 1 difference." in str(caught.value)
        assert name in str(caught.value)
        assert "another one" not in str(caught.value)

    def test_the_name_of_a_model_file(self, command, saved, tmp_path):
        out = tmp_path / "cells.pth"
        answer = command("convert", saved("mediar"), "--source", "mediar", "--out", out)
        assert answer.code == 2
        assert ".safetensors" in answer.err

    def test_code_is_not_run(self, command, tmp_path):
        canary = tmp_path / "canary"

        class Payload:
            def __reduce__(self):
                return (type(canary).touch, (canary,))

        path = tmp_path / "evil.pth"
        torch.save({"model": Payload()}, path)
        out = tmp_path / "m.safetensors"
        answer = command("convert", path, "--source", "mae", "--out", out)
        assert answer.code == 2
        assert "not run" in answer.err
        assert not canary.exists()

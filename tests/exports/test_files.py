"""Exported files: what they contain, what runs them, what is refused."""

from __future__ import annotations

import json
import pickle
import runpy
import zipfile

import numpy as np
import pytest
import tifffile
import torch
import yaml

import unmask
from unmask import api
from unmask.checkpoint import load_model
from unmask.checkpoint.script_archive import load_script_state
from unmask.errors import CheckpointError, RecipeError
from unmask.exports import FORMATS
from unmask.exports.check import TOLERANCE
from unmask.exports.package_text import describe_package, read_me
from unmask.infer.load import load_predictor
from unmask.recipe import load


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(folder)
    return folder


def image_of(*shape):
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.float32)


def predicted(model, image):
    return load_predictor(model, ["infer.precision='32'"]).predict(image, keep_scores=True)


def assert_alike(found, expected, model):
    """Nearly equal scores, and labels that the decoding of the model makes of them.

    Labels of random weights are undecided: another last digit of a score may change them.
    """
    np.testing.assert_allclose(found.scores, expected.scores, atol=TOLERANCE)
    np.testing.assert_array_equal(found.labels, unmask.decode(model, found.scores))


def test_a_package_passes_its_checks(package):
    assert package.comparison.difference < TOLERANCE
    assert [shape[0] for shape in package.comparison.shapes] == [1, 3]


def test_a_package_names_license_authors_and_start_weights():
    start = {"model": "nuclei", "license": "MIT", "data": {"name": "N", "citation": "Roe 2020"}}
    card = {"license": "cc-by-4.0", "authors": ["A. Lab", "B/C"], "start": start,
            "recipe": load("cells").model_dump(mode="json")}  # fmt: skip
    names = {"README.md", "decode.py", "test_input.npy", "test_output.npy", "weights.onnx",
             "weights.torchscript.pt", "weights.state_dict.pt"}  # fmt: skip
    description = {
        "card": card, "name": "Small", "axes": "yx", "task": {"name": "flows"},
        "input": {"channels": 1, "channel_names": [], "axes": "bcyx"},
        "output": {"channels": ["a"]}, "normalize": {"name": "zscore", "inside": True},
    }  # fmt: skip
    tree = describe_package(description, dict.fromkeys(names, "0"), "2.10")
    assert tree["license"] == "CC-BY-4.0"
    assert tree["authors"] == [{"name": "A. Lab"}, {"name": "B-C"}]
    assert tree["cite"][0]["text"] == "Roe 2020"
    for word in ("License: cc-by-4.0", "Authors: A. Lab, B/C", "nuclei, license MIT"):
        assert word in read_me(description)
    # An identifier of the owner is none of the format's.
    card["license"] = "LicenseRef-Lab"
    assert "license" not in describe_package(description, dict.fromkeys(names, "0"), "2.10")


def test_a_package_describes_normalization_and_scores(unpacked):
    tree = yaml.safe_load((unpacked / "rdf.yaml").read_text())
    steps = [step["id"] for step in tree["inputs"][0]["preprocessing"]]
    assert steps == ["ensure_dtype", "scale_range", "clip"]
    names = tree["outputs"][0]["axes"][1]["channel_names"]
    assert names == ["flow_y", "flow_x", "foreground"]
    assert set(tree["weights"]) == {"pytorch_state_dict", "torchscript", "onnx"}


@pytest.mark.parametrize("name", ["weights.onnx", "weights.torchscript.pt"])
def test_exported_files_predict_the_labels_of_the_model(model, unpacked, name):
    image = image_of(1, 61, 83)
    reference = predicted(model, image)
    found = predicted(unpacked / name, image)
    assert_alike(found, reference, model)
    assert found.scores is not None
    assert (unmask.decode(unpacked / name, found.scores) == found.labels).all()


def test_the_card_of_an_exported_file(unpacked, model):
    facts = api.model_card(unpacked / "weights.onnx").facts
    expected = api.model_card(model).facts
    assert {**facts, "weights": None} == {**expected, "weights": None}


def test_a_package_is_a_model(package, model):
    image = image_of(1, 40, 50)
    assert_alike(predicted(package.path, image), predicted(model, image), model)


def test_fixed_normalization_is_inside(tmp_path, write_model):
    model = write_model(tmp_path, "data.normalize={name: window, low: 10, high: 200}")
    done = api.export(model, format="torchscript", out=tmp_path / "a.pt", check=True)
    assert done.description["normalize"]["inside"]
    image = image_of(1, 40, 56)
    with torch.no_grad():
        scores = torch.jit.load(done.path)(torch.from_numpy(image[None]))[0].numpy()
    predictor = load_predictor(model, ["infer.precision='32'", "infer.tile=[40, 56]"])
    np.testing.assert_allclose(scores, predictor.scores(image), atol=TOLERANCE)


@pytest.mark.parametrize("form", ["pytorch_state_dict", "torchscript"])
def test_a_package_becomes_the_same_model(unpacked, model, tmp_path, form):
    path = unpacked / f"{form}.yaml"
    tree = yaml.safe_load((unpacked / "rdf.yaml").read_text())
    tree["weights"] = {form: tree["weights"][form]}
    path.write_text(yaml.safe_dump(tree))
    api.convert(path, source="bioimageio", out=tmp_path / "back.safetensors")
    back, first = load_model(tmp_path / "back.safetensors"), load_model(model)
    assert set(back.weights) == set(first.weights)
    assert all(torch.equal(back.weights[name], first.weights[name]) for name in first.weights)
    assert back.card["recipe"] == first.card["recipe"]


def repack(package, path, change):
    """A copy of a package with changed files."""
    with zipfile.ZipFile(package.path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def _exchange(files):
    files["weights.state_dict.pt"] += b"x"


def _foreign(files):
    tree = yaml.safe_load(files["rdf.yaml"])
    tree["config"] = {}
    tree["weights"].pop("pytorch_state_dict")
    files["rdf.yaml"] = yaml.safe_dump(tree).encode()


def _elsewhere(files):
    tree = yaml.safe_load(files["rdf.yaml"])
    tree["weights"]["pytorch_state_dict"]["source"] = "../../weights.pt"
    files["rdf.yaml"] = yaml.safe_dump(tree).encode()


def _empty(files):
    files.pop("rdf.yaml")


def _other_card(files):
    tree = yaml.safe_load(files["rdf.yaml"])
    tree["config"]["unmask"]["card"]["recipe"]["model"]["backbone"]["width"] = 5
    files["rdf.yaml"] = yaml.safe_dump(tree).encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_exchange, "SHA-256"),
        (_foreign, "TorchScript without a recipe"),
        (_elsewhere, "inside the package"),
        (_empty, "rdf.yaml"),
        (_other_card, "does not fit"),
    ],
)
def test_damaged_and_foreign_packages_are_refused(package, tmp_path, change, words):
    path, out = tmp_path / "bad.zip", tmp_path / "out.safetensors"
    repack(package, path, change)
    with pytest.raises(CheckpointError, match=words):
        api.convert(path, source="bioimageio", out=out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["text.zip", "text.pt", "text.onnx"])
def test_other_files_are_no_models(tmp_path, name):
    path = tmp_path / name
    path.write_text("no network at all")
    with pytest.raises(CheckpointError, match=r"expected (an ONNX file|.*\.onnx, \.pt, \.zip)"):
        load_predictor(path)


def test_exchanged_weights_of_a_package_are_not_run(package, tmp_path):
    path = tmp_path / "bad.zip"
    repack(package, path, lambda files: files.update({"weights.onnx": b"another network"}))
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_predictor(path)


@pytest.mark.parametrize("length", [0, 100, 5000])
def test_cut_files_are_refused(unpacked, tmp_path, length):
    for name in ("weights.onnx", "weights.torchscript.pt"):
        path = tmp_path / name
        path.write_bytes((unpacked / name).read_bytes()[:length])
        with pytest.raises(CheckpointError, match=name):
            load_predictor(path)


class _Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_code_in_torchscript_is_not_run(tmp_path, capsys):
    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(_Evil()))
    with pytest.raises(CheckpointError, match="print is not a module or a tensor"):
        load_script_state(path)
    assert not capsys.readouterr().out


def test_refusals_say_why_and_write_nothing(model, package, tmp_path, write_model):
    forest = write_model(
        tmp_path,
        "model.backbone={name: pixels}",
        "model.decoder={name: single}",
        "model.head={name: forest, trees: 2}",
        "task={name: semantic}",
    )
    here = {each.name for each in tmp_path.iterdir()}
    taken = forest
    with pytest.raises(RecipeError, match="compiled kernel"):
        api.export(forest, format="torchscript", out=tmp_path / "a.pt")
    with pytest.raises(RecipeError, match=r"ends in \.onnx"):
        api.export(model, format="onnx", out=tmp_path / "a.pt")
    with pytest.raises(RecipeError, match="Did you mean 'onnx'"):
        api.export(model, format="onxx", out=tmp_path / "a.onnx")
    with pytest.raises(RecipeError, match="found an exported file"):
        api.export(package.path, format="onnx", out=tmp_path / "a.onnx")
    (tmp_path / "b.pt").write_bytes(b"")
    with pytest.raises(RecipeError, match="does not exist"):
        api.export(model, format="torchscript", out=tmp_path / "b.pt")
    assert {each.name for each in tmp_path.iterdir()} == here | {"b.pt"}
    assert taken.exists()


def test_a_file_whose_scores_differ_is_not_kept(model, tmp_path, monkeypatch):
    chosen = FORMATS["torchscript"]

    def wrong(path):
        run = chosen.open(path)
        return lambda image: run(image) + 1e-3

    changed = type(chosen)(chosen.title, chosen.suffix, chosen.write, wrong, chosen.describe)
    monkeypatch.setattr("unmask.exports.torchscript.FORMAT", changed)
    with pytest.raises(CheckpointError, match="difference"):
        api.export(model, format="torchscript", out=tmp_path / "a.pt", check=True)
    assert not list(tmp_path.iterdir())


def test_the_description_is_json(unpacked):
    described = FORMATS["onnx"].describe(unpacked / "weights.onnx")
    assert json.loads(json.dumps(described)) == described
    assert described["input"]["axes"] == "bcyx"


@pytest.mark.parametrize("shape", ["batch", "image"])
def test_the_decoding_script_takes_the_output_of_its_package(unpacked, monkeypatch, shape):
    scores = np.load(unpacked / "test_output.npy")
    path = unpacked / f"{shape}.npy"
    np.save(path, scores if shape == "batch" else scores[0])
    monkeypatch.setattr("sys.argv", ["decode.py", str(path), str(unpacked / "labels.tif")])
    runpy.run_path(str(unpacked / "decode.py"))
    labels = tifffile.imread(unpacked / "labels.tif")
    assert (labels == unmask.decode(unpacked / "weights.onnx", scores[0])).all()


def test_mistakes_with_the_decoding_script_are_explained(unpacked, monkeypatch):
    script = str(unpacked / "decode.py")
    path = unpacked / "two.npy"
    np.save(path, np.concatenate(2 * [np.load(unpacked / "test_output.npy")]))
    for words, text in (
        ([str(path), "labels.tif"], "found a batch of 2"),
        (["none.npy", "labels.tif"], "none.npy: "),
        ([], "python decode.py scores.npy labels.tif"),
    ):
        monkeypatch.setattr("sys.argv", ["decode.py", *words])
        with pytest.raises(SystemExit, match=text):
            runpy.run_path(script)

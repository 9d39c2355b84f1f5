"""A shared model: the same weights, a card for strangers, digests, and a hub that gets it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import yaml

from unmask import api
from unmask.checkpoint import describe_model, load_model, save_model
from unmask.checkpoint.lineage import ancestors, start_fields
from unmask.errors import DataError, RecipeError, SaveError
from unmask.recipe import load

RUN = Path(__file__).resolve().parents[1] / "fixtures" / "v0_1" / "run"
OWNER = api.Owner("Small nuclei", "CC-BY-4.0", ("A. Lab",), "Nuclei of ours, CC0")
OPTIONS = api.ShareOptions(OWNER)


def share(to: Path | str, options: api.ShareOptions = OPTIONS, model: Path | str = RUN):
    said: list[str] = []
    return api.share(model, to=to, options=options, say=said.append), "\n".join(said)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "model"
    share(folder)
    return folder


def test_the_folder_is_complete_and_its_digests_hold(shared):
    names = {path.relative_to(shared).as_posix() for path in shared.rglob("*") if path.is_file()}
    assert names == {"model.safetensors", "README.md", "CITATION.cff", "SHA256SUMS",
                     "examples/predict.py"}  # fmt: skip
    lines = (shared / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} == names - {"SHA256SUMS"}
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((shared / name).read_bytes()).hexdigest() == digest


def test_weights_are_the_same_and_files_of_the_owner_are_not_named(shared):
    before, after = load_model(RUN), load_model(shared)
    assert before.weights.keys() == after.weights.keys()
    assert all(torch.equal(before.weights[name], after.weights[name]) for name in before.weights)
    assert after.card["recipe"] == before.card["recipe"]
    assert (after.card["license"], after.card["authors"]) == ("CC-BY-4.0", ["A. Lab"])
    everything = b"".join(path.read_bytes() for path in shared.rglob("*") if path.is_file())
    assert b"nuclei_000.tif" not in everything
    for path in (RUN, shared):
        assert str(path).encode() not in everything


def test_the_readme_says_what_others_ask(shared):
    text = (shared / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---\n")[1])
    assert (header["license"], header["library_name"]) == ("cc-by-4.0", "unmask")
    for word in ("# Small nuclei", "## Scores", "Nuclei of ours", "CC-BY-4.0", "CITATION.cff",
                 "--model model --out", "pip install unmask"):  # fmt: skip
        assert word in text, word


def test_the_citation_is_valid(shared):
    fields = yaml.safe_load((shared / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= fields.keys()
    assert fields["authors"] == [{"name": "A. Lab"}]
    assert any("unmask" in each["title"] for each in fields["references"])
    compile((shared / "examples" / "predict.py").read_text(), "predict.py", "exec")


def test_the_card_is_shown(shared, command):
    answer = command("models", shared)
    assert answer.code == 0, answer.err
    for word in ("CC-BY-4.0", "Nuclei of ours"):
        assert word in answer.out


def test_scores_and_data_of_a_shipped_model(tmp_path):
    done, _ = share(tmp_path / "n", api.ShareOptions(), "nuclei")
    text = (tmp_path / "n" / "README.md").read_text(encoding="utf-8")
    for word in ("| all f1@0.5 | 0.8756 |", "86 validation images", "CC0-1.0", "Apache-2.0"):
        assert word in text, word
    citation = yaml.safe_load((tmp_path / "n" / "CITATION.cff").read_text(encoding="utf-8"))
    assert any("Caicedo" in str(each) for each in citation["references"])
    assert "No author" in "".join(done.doubts)


def test_a_license_is_needed(tmp_path):
    with pytest.raises(RecipeError, match="--license"):
        share(tmp_path / "a", api.ShareOptions(api.Owner()))
    assert not (tmp_path / "a").exists()


def test_other_files_are_never_replaced(tmp_path, shared):
    (tmp_path / "thesis.txt").write_text("mine")
    again = api.ShareOptions(OWNER, overwrite=True)
    with pytest.raises(RecipeError, match=r"thesis\.txt"):
        share(tmp_path, again)
    with pytest.raises(RecipeError, match="--overwrite"):
        share(shared)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_card_cannot_write_html():
    from unmask.sharing.texts import _line

    assert _line("<script>|\x1b[2J\n# x") == "&lt;script>\\|\\x1b[2J\\n# x"


def test_to_the_hub_and_back(fake_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 20)
    done, said = share("hf:lab/small")
    assert fake_hub.private["lab/small"]
    assert "private" in said
    assert set(fake_hub.repositories["lab/small"]) == set(done.files)
    assert describe_model("hf:lab/small").card["license"] == "CC-BY-4.0"
    assert "--model hf:lab/small" in fake_hub.repositories["lab/small"]["README.md"].decode()
    with pytest.raises(RecipeError, match="--overwrite"):
        share("hf:lab/small")


def test_a_hub_that_refuses(fake_hub):
    fake_hub.accepts = False
    with pytest.raises(SaveError, match="hf auth login"):
        share("hf:lab/small")


def test_a_revision_is_not_a_target(fake_hub):
    with pytest.raises(RecipeError, match="lab/small"):
        share("hf:lab/small@v1")


def test_pictures_of_predictions(tmp_path, monkeypatch):
    from unmask.api import prediction

    def predict_files(model, images, *, out, options, say):
        say(f"[1/3] {images[0]} -> {out}/a.tif")
        say("note: kept")
        (Path(out) / "overlay").mkdir()
        for image in images:
            (Path(out) / "overlay" / f"{Path(image).stem}.png").write_bytes(b"png")
        assert options.overlay

    monkeypatch.setattr(prediction, "predict_files", predict_files)
    images = RUN.parent / "images"
    done, said = share(tmp_path / "m", api.ShareOptions(OWNER, images=str(images)))
    names = [f"examples/example-{number}.png" for number in (1, 2, 3)]
    assert [name for name in done.files if name.endswith(".png")] == names
    text = (tmp_path / "m" / "README.md").read_text()
    assert all(f"({name})" in text for name in names)
    # Neither names of the owner's images nor a temporary folder, which is gone.
    assert "nuclei_000" not in text
    assert "note: kept" in said
    assert "->" not in said


def test_pictures_of_a_classifier_are_refused(tmp_path):
    recipe = load("classify2d").with_settings(["task.classes=[a, b]"])
    file = tmp_path / "classes.safetensors"
    save_model(file, load_model(RUN).weights, {"recipe": recipe.model_dump(mode="json")})
    images = api.ShareOptions(OWNER, images=str(RUN.parent / "images"))
    with pytest.raises(RecipeError, match=r"--images: .*classifies whole images"):
        share(tmp_path / "sub" / "m", images, file)
    assert not (tmp_path / "sub").exists()
    share(tmp_path / "m", model=file)
    assert "image-classification" in (tmp_path / "m" / "README.md").read_text()
    assert "save_image" not in (tmp_path / "m" / "examples" / "predict.py").read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [("CC BY 4.0", "such as CC-BY-4.0"), ("ours", "LicenseRef-ours"), ("", "an identifier")],
)
def test_licenses_are_identifiers(tmp_path, name, words, command):
    answer = command("share", RUN, "--to", tmp_path / "sub" / "m", "--license", name)
    assert answer.code == 2
    assert words in answer.err
    assert not (tmp_path / "sub").exists()


def test_a_license_is_written_as_spdx_does(tmp_path):
    for given, kept in {"cc-by-4.0": "CC-BY-4.0", "LicenseRef-Lab-1": "LicenseRef-Lab-1"}.items():
        done, _ = share(tmp_path / given, api.ShareOptions(api.Owner(license=given)))
        assert done.license == kept


def test_nothing_is_left_if_pictures_fail(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError):
        share(tmp_path / "a" / "m", api.ShareOptions(OWNER, images=str(tmp_path / "images")))
    assert not (tmp_path / "a").exists()


def copy_of_run(folder: Path, **more: object) -> Path:
    """A model file with the weights of the run, and another card."""
    model = load_model(RUN)
    file = folder / "model.safetensors"
    save_model(file, model.weights, {**model.card, **more})
    return file


def test_the_chain_of_start_weights_is_kept(tmp_path):
    """Of a model that a training did not change, all but the last files are of others."""
    first = {"license": "CC-BY-SA-4.0", "authors": ["B. Lab"], "origin": {"title": "MEDIAR"},
             "data": {"name": "Their cells", "citation": "Roe 2020", "license": "CC0"}}  # fmt: skip
    parent = copy_of_run(tmp_path / "theirs", **first)
    second = copy_of_run(tmp_path / "second", license="MIT", **start_fields(parent))
    mine = copy_of_run(tmp_path / "mine", step=0, metrics={"f1": 0.5}, held_out={"images": 1},
                       **start_fields(second))  # fmt: skip
    done, said = share(tmp_path / "out", model=mine)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for word in ("On 1 held-out image.", "## Start weights", "those of second, unchanged",
                 "### theirs", "CC-BY-SA-4.0", "authors: B. Lab", "Their cells", "Roe 2020",
                 "### MEDIAR", "6 files of the authors"):  # fmt: skip
        assert word in text, word
    assert "Roe 2020" in (tmp_path / "out" / "CITATION.cff").read_text(encoding="utf-8")
    for word in ("Share that model instead", "theirs (license: CC-BY-SA-4.0; data: CC0)",
                 "MEDIAR is not known", "Only 1 image"):  # fmt: skip
        assert word in said, word
    card = describe_model(tmp_path / "out").card
    assert str(tmp_path) not in str(card)
    assert "nuclei_000.tif" not in str(card)
    assert [each.name for each in ancestors(card)] == ["second", "theirs", "MEDIAR"]
    assert len(done.doubts) == 5


def test_a_missing_license_names_that_of_the_start_weights(tmp_path):
    mine = copy_of_run(tmp_path, start={"model": "nuclei", "license": "Apache-2.0"})
    with pytest.raises(RecipeError, match=r"nuclei has the license Apache-2\.0"):
        share(tmp_path / "out", api.ShareOptions(), mine)


@pytest.mark.parametrize(
    ("held_out", "text"),
    [
        ({"images": 7}, "7 held-out images"),
        ({"images": 6, "folds": 3}, "6 images, each held out once (3 folds)"),
        (None, "whose number the card does not say"),
    ],
)
def test_scores_say_what_they_are_of(tmp_path, held_out, text):
    mine = copy_of_run(tmp_path, metrics={"f1": 0.5}, held_out=held_out)
    share(tmp_path / "out", model=mine)
    assert text in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("task", "what"), [({"name": "flows"}, "objects"), ({"name": "semantic"}, "classes")]
)
def test_a_planned_model_has_the_name_under_which_it_is_shared(tmp_path, task, what):
    """Every plan is called "plan", which says nothing to others."""
    model = load_model(RUN)
    recipe = dict(model.card["recipe"]) | {
        "name": "plan", "description": "planned from 4 labeled images", "task": task,
    }  # fmt: skip
    save_model(tmp_path / "m.safetensors", model.weights, {**model.card, "recipe": recipe})
    share(
        tmp_path / "my-cells",
        api.ShareOptions(api.Owner(license="MIT")),
        tmp_path / "m.safetensors",
    )
    text = (tmp_path / "my-cells" / "README.md").read_text(encoding="utf-8")
    assert f"# my-cells\n\nSegments {what} in 2D images. Its training was planned from 4" in text
    citation = yaml.safe_load((tmp_path / "my-cells" / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["title"] == "my-cells"
    assert load_model(tmp_path / "my-cells").card["name"] == "my-cells"
    share(tmp_path / "titled", OPTIONS, tmp_path / "m.safetensors")
    assert "# Small nuclei\n" in (tmp_path / "titled" / "README.md").read_text(encoding="utf-8")

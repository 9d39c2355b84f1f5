import numpy as np
import pytest
from PIL import Image

import unmask
from unmask import checkpoint
from unmask.api import planning
from unmask.api.unlabeled import unlabeled_note
from unmask.errors import DataError, RecipeError

SMALL = [
    "model.backbone.width=4",
    "model.backbone.depth=2",
    "data.crop=[16, 16]",
    "train.batch_size=2",
    "train.warmup=0",
    "train.workers=0",
]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(5):
        image = rng.normal(100, 5, (24, 24))
        image[6:18, 6:18] += 60
        labels = np.zeros((24, 24), np.uint8)
        labels[6:18, 6:18] = 1
        for part, array in (("images", image), ("labels", labels)):
            (tmp_path / part).mkdir(exist_ok=True)
            if part == "images" or number < 2:
                Image.fromarray(array.astype(np.uint8)).save(tmp_path / part / f"{number}.png")
    return tmp_path


def train(folder, out, *, steps=2, settings=(), **options):
    options = {"unlabeled": folder / "images", **options}
    lines = [*SMALL, f"train.steps={steps}", *settings]
    return unmask.train(
        "semantic2d",
        images=folder / "images",
        labels=folder / "labels",
        out=folder / out,
        settings=lines,
        **options,
    )


@pytest.mark.parametrize("method", ["consistency", "pseudo_labels", "reconstruction"])
def test_a_run_that_resumes_equals_one_that_was_not_interrupted(folder, method):
    settings = [f"train.unlabeled={{name: {method}, ramp: 0.5}}", "train.save_every=2"]
    whole = train(folder, "whole", steps=4, settings=settings)
    train(folder, "parts", steps=4, settings=settings)
    # As if the run had been ended after its second update.
    for path in (folder / "parts" / "snapshots" / "step-4").iterdir():
        path.unlink()
    (folder / "parts" / "snapshots" / "step-4").rmdir()
    parts = train(folder, "parts", steps=4, settings=settings, resume=True)
    models = [checkpoint.load_model(run.folder).weights for run in (whole, parts)]
    assert all((models[0][name] == models[1][name]).all() for name in models[0])
    said = (whole.folder / "journal.jsonl").read_text()
    assert '"unlabeled"' in said
    assert unmask.predict(whole.folder, folder / "images" / "0.png").labels.shape == (24, 24)


def test_images_with_labels_are_no_unlabeled_images(folder, capsys):
    train(folder, "run", steps=1)
    text = capsys.readouterr().err
    assert "uses 3 unlabeled images (consistency); 2 others" in text


def test_other_spellings_of_a_path_name_the_same_images(folder, capsys, monkeypatch):
    """A held-out image must not be trained on because its path is written in another way."""
    monkeypatch.chdir(folder)
    (folder / "linked").symlink_to("images", target_is_directory=True)
    for number, path in enumerate((folder / "images", "linked")):
        unmask.train("semantic2d", images="images", labels="labels", out=f"run{number}",
                     unlabeled=path, settings=[*SMALL, "train.steps=1"])  # fmt: skip
        assert "uses 3 unlabeled images (consistency); 2 others" in capsys.readouterr().err


def test_the_note_on_unlabeled_images_names_a_command_that_works(folder, capsys):
    import shlex

    from typer.testing import CliRunner

    from unmask.cli import app

    train(folder, "run", steps=1, unlabeled=None)
    line = next(x for x in capsys.readouterr().err.splitlines() if "can be used" in x)
    command = shlex.split(line.split("`")[1])
    assert command[0] == "unmask"
    assert "--unlabeled" in command
    done = CliRunner().invoke(app, command[1:])
    assert done.exit_code == 0, done.output
    assert (folder / "run-unlabeled" / "model.safetensors").is_file()


def test_unfitting_unlabeled_images_are_refused(folder):
    other = folder / "other"
    other.mkdir()
    np.save(other / "a.npy", np.zeros((5, 24, 24), np.float32))
    with pytest.raises(DataError, match=r"(?s)--unlabeled.*a\.npy"):
        train(folder, "run", unlabeled=other)
    with pytest.raises(DataError, match=r"at least 2 images.*found 0, and 2 with labels"):
        train(folder, "run", unlabeled=[folder / "images" / f"{n}.png" for n in (0, 1)])
    with pytest.raises(RecipeError, match="Give --unlabeled PATH"):
        train(folder, "run", unlabeled=None, settings=["train.unlabeled=consistency"])
    assert not (folder / "run" / "model.safetensors").exists()


def test_the_note_keeps_the_validation():
    """Otherwise the next run would hold out other images, and its scores could not be compared."""
    (note,) = unlabeled_note(2, ["i/a.png", "i/b.png"], "i", "l", validation=("vi", "vl"))
    assert "--labels l --val-images vi --val-labels vl --unlabeled i --out" in note
    for validation in ((None, None), ("vi", None)):
        (note,) = unlabeled_note(2, ["i/a.png", "i/b.png"], "i", "l", validation=validation)
        assert "--val" not in note


@pytest.mark.parametrize(
    ("given", "method"), [([], "consistency"), (["train.unlabeled=pseudo_labels"], "pseudo_labels")]
)
def test_minutes_are_for_updates_with_unlabeled_crops(folder, monkeypatch, given, method):
    """The plan times updates of a recipe that learns from unlabeled images."""

    class Planned(BaseException):
        pass

    def time_update(labeled, recipe):
        raise Planned(recipe.train.unlabeled.name)

    monkeypatch.setattr(planning, "_time_update", time_update)
    with pytest.raises(Planned, match=method):
        unmask.train(
            images=folder / "images",
            labels=folder / "labels",
            unlabeled=folder / "images",
            out=folder / "run",
            minutes=1,
            settings=given,
        )

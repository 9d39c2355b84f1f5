import numpy as np
import pytest
from PIL import Image

import unmask
from unmask import checkpoint
from unmask.errors import DataError, RecipeError

FEW = ["model.backbone.scales=[1, 3]", "model.head.trees=20"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        image = rng.normal(100, 5, (40, 48))
        image[:, 24:] += 80
        drawn = np.zeros((40, 48), np.uint8)
        drawn[5, 3:12], drawn[30, 30:45] = 1, 4
        for part, array in (("images", image), ("scribbles", drawn)):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / part / f"{name}.png")
    return tmp_path


def fit(folder, **options):
    options = {"labels": folder / "scribbles", "settings": FEW, **options}
    return unmask.train("pixels", images=folder / "images", out=folder / "run", **options)


def test_scribbles_in_files_make_a_run_that_predicts(folder, capsys):
    run = fit(folder, val_images=folder / "images", val_labels=folder / "scribbles")
    assert run.metrics["dice"] > 0.95
    labels = unmask.predict(run.folder, folder / "images" / "a.png").labels
    assert set(np.unique(labels)) == {1, 4}
    card = checkpoint.load_model(run.folder).card
    assert card["pixels"] == {"1": 18, "4": 30}
    assert "a.png" in (run.folder / "data.json").read_text()
    assert "Features: bank" in (run.folder / "journal.jsonl").read_text() or run.steps == 1
    capsys.readouterr()
    # A second fit takes the place of the first one.
    assert fit(folder).folder == run.folder
    said = "".join(capsys.readouterr())
    assert "the share of labeled pixels that get their class from a classifier" in said
    assert "Predict, label where the result is wrong, and train again" in said
    # The next command is the end of what the training itself prints.
    command = f"unmask predict {folder / 'images'} --model {run.folder}"
    assert said.index("step 1/1") < said.index(command)


def test_features_of_a_network_are_offered_by_init_and_chosen_by_recall(folder):
    run = fit(folder, init="nuclei")
    card = checkpoint.load_model(run.folder).card
    assert set(card["recall"]) == {"bank", "network", "both"}
    assert card["start"]["license"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.backbone.scale=[1]", "no option 'scale'.*Did you mean 'scales'"),
        ("model.backbone.scales=[a]", "scales"),
        ("model.head.tree=20", "Did you mean 'trees'"),
    ],
)
def test_misspelled_options_are_refused(setting, words, folder):
    with pytest.raises(RecipeError, match=words):
        fit(folder, settings=[setting])
    assert not (folder / "run" / "model.safetensors").exists()


def test_bad_scribbles_name_what_to_do(folder):
    for path in (folder / "scribbles").iterdir():
        drawn = np.asarray(Image.open(path)).copy()
        drawn[drawn == 4] = 0
        Image.fromarray(drawn).save(path)
    with pytest.raises(DataError, match=r"two classes or more.*data.ignore_label=255"):
        fit(folder)
    assert not (folder / "run").exists()
    run = fit(folder, settings=[*FEW, "data.ignore_label=255"])
    assert set(np.unique(unmask.predict(run.folder, folder / "images" / "a.png").labels)) <= {0, 1}
    with pytest.raises(RecipeError, match=r"expected a network for 2 axes.*found pixels"):
        fit(folder, init=run.folder)


def test_check_takes_the_classes_of_the_scribbles(folder):
    audit = unmask.check(
        folder / "images", labels=folder / "scribbles", recipe="pixels", say=lambda _: None
    )
    assert audit.problems == []
    assert len(audit.pairs) == 2
    for path in (folder / "scribbles").iterdir():
        drawn = np.asarray(Image.open(path)).copy()
        Image.fromarray(np.where(drawn == 4, 0, drawn)).save(path)
    audit = unmask.check(
        folder / "images", labels=folder / "scribbles", recipe="pixels", say=lambda _: None
    )
    assert "two classes or more" in audit.problems[0]


@pytest.mark.parametrize(("across", "refused"), [(3, False), (6, True)])
def test_numbered_objects_are_no_classes(folder, capsys, across, refused):
    for number, path in enumerate(sorted((folder / "scribbles").iterdir())):
        drawn = np.zeros((40, 48), np.uint8)
        # One object fewer in the second image.
        for index in range(across * across - number):
            y, x = 6 * (index // across), 6 * (index % across)
            drawn[y : y + 4, x : x + 4] = index + 1
        Image.fromarray(drawn).save(path)
    if refused:
        with pytest.raises(DataError, match=r"36 values that seem to number objects.*--preset"):
            fit(folder)
        assert not (folder / "run").exists()
        return
    fit(folder)
    assert "9 values that seem to number objects" in "".join(capsys.readouterr())

"""Trackers get what the journal gets, offline, and never end a training."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from unmask.errors import MissingPackageError, RecipeError
from unmask.recipe import load
from unmask.training.journal import Journal
from unmask.training.trackers import TRACKERS, Tracked, build_trackers

OWN = """
CALLS = []
class Own:
    def start(self, run): CALLS.append(("start", run.name, run.step, run.recall("own")))
    def log(self, step, numbers): CALLS.append(("log", step, dict(numbers)))
    def picture(self, step, name, pixels): CALLS.append(("picture", step, name, pixels.shape))
    def close(self, *, failed): CALLS.append(("close", failed))
"""


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    (tracker,) = build_trackers([f"{file}:Own"])
    calls = type(tracker).log.__globals__["CALLS"]
    calls.clear()
    return tracker, calls


def journal(folder: Path, *trackers, recipe=None) -> Journal:
    opened = Journal(folder, steps=4, tensorboard=False, quiet=True)
    opened.track(trackers, recipe or {"train": {"steps": 4}})
    return opened


def test_a_tracker_of_a_third_party_gets_lines_and_pictures(tmp_path, own):
    tracker, calls = own
    with journal(tmp_path / "run", tracker) as lines:
        lines.log({"step": 1, "loss": 0.5, "note": "a sentence", "bad": float("nan")})
        lines.keep_picture(2, "batch", np.zeros((4, 6, 3), np.uint8))
    assert calls == [
        ("start", "run", 0, None),
        ("log", 1, {"loss": 0.5}),
        ("picture", 2, "batch", (4, 6, 3)),
        ("close", False),
    ]


def test_nothing_begins_without_a_line(tmp_path, own):
    with journal(tmp_path / "run", own[0]):
        pass
    assert own[1] == []


def test_a_failed_training_is_marked(tmp_path, own):
    lines = journal(tmp_path / "run", own[0])

    def training() -> None:
        with lines:
            lines.log({"step": 1, "loss": 0.5})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        training()
    assert own[1][-1] == ("close", True)


def test_a_tracker_that_fails_is_left_alone(tmp_path, own, capsys):
    tracker, calls = own
    tracker.log = None
    opened = Journal(tmp_path / "run", steps=4, tensorboard=False)
    opened.track([tracker], {})
    with opened as lines:
        for step in (1, 2, 3):
            lines.log({"step": step, "loss": 0.5})
    assert [name for name, *_ in calls] == ["start"]
    assert capsys.readouterr().err.count("training continues without it") == 1
    assert len((tmp_path / "run" / "journal.jsonl").read_text().splitlines()) == 3


def test_a_resumed_run_continues_its_own(tmp_path):
    (tmp_path / "run").mkdir()
    new = Tracked(tmp_path / "run")
    new.remember("own", "abc")
    new.remember("other", "xyz")
    resumed = Tracked(tmp_path / "run", step=2)
    assert (resumed.recall("own"), resumed.recall("other"), new.recall("own")) == (
        "abc",
        "xyz",
        None,
    )


def test_the_recipe_is_flat():
    settings = Tracked(Path("a"), recipe=load("cells").model_dump(mode="json")).settings()
    assert settings["train.steps"] == load("cells").train.steps
    assert settings["model.backbone.name"] == "resunet"
    assert json.loads(str(settings["data.crop"]))


def test_folds_have_names_of_their_own():
    assert Tracked(Path("runs/cells/fold-1"), "fold 2 of 5").name == "cells fold 2 of 5"


def test_unknown_trackers_are_named(tmp_path):
    with pytest.raises(RecipeError, match=r"'mlflo'.*mlflow.*wandb"):
        build_trackers(["mlflo"])


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_the_extra_is_named(name, monkeypatch):
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        "unmask.training.trackers.base.find_spec", lambda it: None if it == name else plain(it)
    )
    with pytest.raises(MissingPackageError, match=rf"unmask\[{name}\]"):
        build_trackers([name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own use of SQLAlchemy
def test_mlflow(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    for first in (0, 2):
        lines = journal(tmp_path / "run", *build_trackers(["mlflow"]))
        lines.resume(first)
        with lines:
            lines.log({"step": first + 1, "loss": 0.5, "f1@0.5": 0.25})
    client = MlflowClient()
    experiment = client.get_experiment_by_name("unmask")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["train.steps"] == "4"
    assert run.data.metrics["f1_at_0.5"] == 0.25
    assert [each.step for each in client.get_metric_history(run.info.run_id, "loss")] == [1, 3]


@pytest.mark.slow
def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with journal(tmp_path / "run", *build_trackers(["wandb"])) as lines:
        lines.log({"step": 1, "loss": 0.5})
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert any(folder.glob("*.wandb"))
    assert json.loads((tmp_path / "run" / "trackers.json").read_text())["wandb"] in folder.name

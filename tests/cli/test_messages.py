"""``--json``, ``-q`` and ``-v``: what goes where."""

from __future__ import annotations

import io
import json
import shlex
import warnings
from contextlib import nullcontext

import pytest
from rich.console import Console

from unmask.cli.terminal import direct_messages, progress
from unmask.errors import DataError

# What a terminal obeys.
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def predicted(command, trained, phantoms, tmp_path):
    out = tmp_path / "out"

    def run(*flags):
        return out, command(
            "predict", phantoms[2] / "images", "--model", trained[2], "--out", out, *flags
        )

    return run


def test_json_has_one_object_per_line(predicted):
    out, answer = predicted("--json")
    assert answer.code == 0, answer.err
    outputs = [record["output"] for record in records(answer.out)]
    assert sorted(outputs) == sorted(str(path) for path in out.iterdir())
    assert "->" in answer.err


def test_quiet_prints_results_only(predicted):
    _, answer = predicted("-q")
    assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_verbose_names_versions_and_time(predicted):
    _, answer = predicted("-v")
    assert answer.code == 0
    assert "unmask 0." in answer.err
    assert "torch" in answer.err
    assert "Elapsed" in answer.err


def test_verbose_shows_where_an_error_comes_from(command):
    answer = command("presets", "nothing", "-v")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert "Traceback" not in command("presets", "nothing").err


def test_quiet_and_verbose_exclude_each_other(command):
    answer = command("presets", "-q", "-v")
    assert answer.code == 2
    assert "--quiet or --verbose" in answer.err


def test_errors_are_objects_too(command, tmp_path):
    answer = command("models", tmp_path / "none", "--json")
    assert answer.code == 2
    (record,) = records(answer.out)
    assert record["exit_code"] == 2
    assert str(tmp_path / "none") in record["error"]
    assert record["error"] in answer.err


def test_warnings_are_shown_when_quiet(command, monkeypatch):
    def warns(_):
        warnings.warn("disk without locks", UserWarning, stacklevel=1)
        return []

    monkeypatch.setattr("unmask.api.shipped_models", lambda: warns(None))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        answer = command("models", "-q")
    assert answer.code == 0, answer.err
    assert "disk without locks" in answer.err


@pytest.mark.parametrize(
    "arguments", [["presets"], ["presets", "cells"], ["presets", "cells", "--all"], ["models"],
                  ["models", "nuclei"], ["prepare"]],
)  # fmt: skip
def test_lists_as_json(arguments, command):
    answer = command(*arguments, "--json")
    assert answer.code == 0, answer.err
    found = records(answer.out)
    assert found
    assert all(isinstance(record, dict) and record for record in found)


def test_the_report_is_one_object(command, phantoms):
    labels = phantoms[2] / "labels"
    answer = command("evaluate", "--truth", labels, "--predicted", labels.parent / "classes",
                     "--metrics", "dice", "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    (report,) = records(answer.out)
    assert set(report) == {"images", "summary", "settings", "version"}


def test_check_as_json(command, phantoms, tiny):
    images = phantoms[2] / "images"
    answer = command("check", images, "--labels", phantoms[2] / "labels", "--preset", "cells",
                     *tiny(2, steps=1), "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    (audit,) = records(answer.out)
    assert audit["problems"] == []
    assert audit["labeled"] == len(list(images.iterdir()))
    # The training with the same options.
    words = shlex.split(answer.err.partition("Next:\n")[2])
    labels = images.with_name("labels")
    assert words[:5] == ["unmask", "train", str(images), "--labels", str(labels)]
    assert words[-4:] == ["--set", tiny(2, steps=1)[-1], "--out", "runs/mine"]


@pytest.mark.parametrize("verb", ["train", "pretrain", "check", "predict", "curve", "cluster"])
def test_images_as_arguments_or_option(verb, command, tmp_path):
    """Both at once, or none, is an error that says so; it comes before anything else."""
    more = {
        "train": ["--out", "r", "--preset", "cells", "--labels", "l"],
        "pretrain": ["--out", "r", "--preset", "mae2d"],
        "check": [],
        "predict": ["--model", "nuclei", "--out", "r"],
        "curve": ["--out", "r", "--preset", "cells", "--labels", "l"],
        "cluster": ["--model", "nuclei", "--out", "r"],
    }[verb]
    both = command(verb, "a", "--images", "b", *more)
    none = command(verb, *more)
    assert both.code == none.code == 2
    assert "found both" in both.err
    assert "expected IMAGES, found none" in none.err
    missing = tmp_path / "missing"
    by_argument = command(verb, missing, *more)
    by_option = command(verb, "--images", missing, *more)
    assert by_argument.code == by_option.code == 2
    assert by_argument.err == by_option.err
    assert str(missing) in by_argument.err or "cluster" in verb


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("select", "i", "--count", "two"), "select --count: expected a whole number, found two."),
        (("select", "i", "--count", "0"), "select --count: expected a number of 1 or more, found"),
        (("serve", "--port", "70000"), "serve --port: expected a number of 65535 or less, found"),
        (("predict", "i", "--out", "o", "--diameter", "x"), "--diameter: expected a number, found"),
    ],
)
def test_numbers_out_of_range(words, expected, command):
    answer = command(*words)
    assert answer.code == 2
    assert expected in answer.err
    assert "Input should be" not in answer.err


def test_several_paths(command, trained, phantoms, tmp_path):
    files = sorted((phantoms[2] / "images").iterdir())[:2]
    answer = command("predict", *files, "--model", trained[2], "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f.name for f in files]


def test_skipped_files_as_json(command, trained, phantoms, tmp_path):
    """Outputs of the other files, then the error."""
    good = sorted((phantoms[2] / "images").iterdir())[0]
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"no image")
    answer = command("predict", good, bad, "--model", trained[2], "--out", tmp_path / "out",
                     "--skip-bad", "--json")  # fmt: skip
    assert answer.code == 2
    output, error = records(answer.out)
    assert output["output"] == str(tmp_path / "out" / good.name)
    assert output["image"] == str(good)
    assert error["exit_code"] == 2
    assert "bad.tif" in error["error"]


def test_wrong_requests_as_json(command):
    answer = command("check", "a", "--images", "b", "--json")
    assert answer.code == 2
    (record,) = records(answer.out)
    assert "found both" in record["error"]


@pytest.mark.parametrize("ending", [None, KeyboardInterrupt(), DataError("damaged")])
def test_the_cursor_comes_back_wherever_the_work_has_ended(monkeypatch, ending):
    """A bar hides the cursor of the terminal; Ctrl-C leaves no terminal without one."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    monkeypatch.setattr("unmask.apps.progress.Console", lambda **_: console)
    with (
        nullcontext() if ending is None else pytest.raises(type(ending)),
        direct_messages(quiet=False, verbose=False, as_json=False),
    ):
        progress()(1, 3)
        assert HIDE in text.getvalue()
        assert SHOW not in text.getvalue()
        if ending is not None:
            raise ending
    assert SHOW in text.getvalue()

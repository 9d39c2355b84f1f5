"""What a person sees of a training."""

from __future__ import annotations

import io

from rich.console import Console

from unmask.training.progress import Display


def shown(*, terminal: bool, width: int = 80) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=width, force_interactive=terminal)
    display = Display(25_000, title="fold 2 of 5", total=150_000, before=25_000, console=console)
    display.start(0)
    for step in (1_000, 2_000):
        display.move(step)
        display.show({"step": step, "loss": 0.123456, "lr": 1e-3, "gradient_norm": 2.5})
    scores = {f"validation/{name}": 0.5 for name in ("f1@0.5", "aji", "dice", "iou", "accuracy")}
    display.show({"step": 3_000, "loss": 0.123456, **scores})
    display.close()
    return text.getvalue()


def test_the_count_is_whole_at_80_columns():
    lines = shown(terminal=True).replace("\r", "\n").splitlines()
    bars = [line for line in lines if "28000/150000" in line]
    assert bars
    assert "loss 0.1235" in bars[-1]


def test_scores_are_a_line_above_the_bar(capsys):
    text = shown(terminal=True, width=200)
    assert "fold 2 of 5: step 3000/25000  loss 0.1235  f1@0.5 0.5000  aji 0.5000" in text
    shown(terminal=False)
    assert "f1@0.5 0.5000" in capsys.readouterr().err


def test_lines_say_what_is_left(capsys):
    display = Display(100, console=Console(file=io.StringIO(), force_terminal=False))
    display.start(0)
    display.show({"step": 10, "loss": 1.0})
    assert capsys.readouterr().err.rstrip().endswith(" left")


def test_undefined_scores_are_said(capsys):
    display = Display(100, console=Console(file=io.StringIO(), force_terminal=False))
    display.show({"step": 10, "loss": None, "validation/dice": None})
    assert "dice undefined" in capsys.readouterr().err

import io

from rich.console import Console

from unmask.apps import progress
from unmask.apps.progress import WindowProgress


def shown(terminal):
    text = io.StringIO()
    tell = WindowProgress(Console(file=text, force_terminal=terminal, width=80))
    for done in (1, 2, 3):
        tell(done, 3)
    return text.getvalue()


def test_a_terminal_gets_a_bar():
    assert "3/3" in shown(terminal=True)


def test_short_work_tells_nothing_elsewhere():
    assert shown(terminal=False) == ""


def test_long_work_tells_lines_elsewhere(monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", -1.0)
    # The last one is followed by the result, which says that it is done.
    assert shown(terminal=False).splitlines() == [f"window {n} of 3" for n in (1, 2)]

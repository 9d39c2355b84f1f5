"""Files that a command may replace, and those that it never does."""

from __future__ import annotations

import pytest

from unmask.errors import DataError
from unmask.metrics.report import refuse_other_files
from unmask.own_files import refuse_existing, refuse_others


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    refuse_others(path, b"x")
    path.write_bytes(b"")
    refuse_others(path, b"x")
    path.write_bytes(b"name,x\n")
    refuse_others(path, b"x", starts=(b"id", b"name"))
    with pytest.raises(DataError, match="would be lost"):
        refuse_others(path, b"x", unlike=(b"name,x",))
    for marks, starts in (((b"y",), (b"",)), ((b"x",), (b"id",))):
        with pytest.raises(DataError, match="would be lost"):
            refuse_others(path, *marks, starts=starts)


@pytest.mark.parametrize("table", ["name,class\na,cat\n", "name,class,cat,dog\na,cat,0.9,0.1\n"])
def test_a_report_never_replaces_a_table_of_classes(tmp_path, table):
    path = tmp_path / "classes.csv"
    path.write_text(table)
    with pytest.raises(DataError, match="would be lost"):
        refuse_other_files(path)
    path.write_text("name,truth,predicted\na,cat,dog\n")
    refuse_other_files(path)


def test_existing_files_are_refused(tmp_path):
    refuse_existing(tmp_path / "new")
    refuse_existing(tmp_path, overwrite=True)
    with pytest.raises(DataError, match="--overwrite"):
        refuse_existing(tmp_path, overwrite=False)
    with pytest.raises(DataError, match="remove it"):
        refuse_existing(tmp_path)

"""Values with digests: whole ones are read, cut and damaged ones are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask import sealed
from unmask.errors import CheckpointError


def test_one_value_is_verified(tmp_path):
    path = tmp_path / "plan.json"
    sealed.write(path, {"a": [1, None, "ä\n"]})
    assert sealed.read(path) == {"a": [1, None, "ä\n"]}
    content = path.read_bytes()
    for place in range(len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"plan\.json.*digest"):
            sealed.read(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="no file"):
        sealed.read(path)


@given(st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=5), st.integers(0, 10**6))
def test_a_cut_file_keeps_the_lines_before(tmp_path_factory, values, cut):
    path = tmp_path_factory.mktemp("lines") / "finished.jsonl"
    for value in values:
        sealed.add_line(path, value)
    assert sealed.read_lines(path) == values
    content = path.read_bytes()
    cut %= len(content)
    path.write_bytes(content[:cut])
    found = sealed.read_lines(path)
    # A line without its end may be whole.
    whole = content[:cut].count(b"\n")
    assert found == values[: len(found)]
    assert whole <= len(found) <= whole + 1
    sealed.add_line(path, "later")
    assert sealed.read_lines(path) == [*found, "later"]


def test_lines_that_are_not_ours_are_left_out(tmp_path):
    path = tmp_path / "a"
    assert sealed.read_lines(path) == []
    path.write_bytes(b"\n\xff\xfe\n{}\n")
    assert sealed.read_lines(path) == []

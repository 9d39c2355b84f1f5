"""Former names of arguments work on, with a warning."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from unmask import metrics
from unmask.api import ClusterOptions
from unmask.renamed import accept_former_names


@accept_former_names(colour="color")
@dataclass(frozen=True)
class Paint:
    color: str = "red"


def test_former_names_give_the_same_value():
    with pytest.warns(FutureWarning, match="Paint: colour is now called color"):
        blue = Paint(colour="blue")  # pyright: ignore[reportCallIssue]
    assert blue == Paint("blue") == replace(Paint(), color="blue")
    with pytest.warns(FutureWarning, match="colour"):
        assert blue.colour == "blue"  # pyright: ignore[reportAttributeAccessIssue]


def test_options_of_clusters_by_their_former_names():
    with pytest.warns(FutureWarning):
        former = ClusterOptions(centres="a", surround=4.0, turns=True)  # pyright: ignore[reportCallIssue]
    assert former == ClusterOptions(centers="a", neighborhood=4.0, rotations=True)


def test_former_functions_of_a_package_work_and_warn():
    with pytest.warns(FutureWarning, match="summarise is now called summarize"):
        former = metrics.summarise  # pyright: ignore[reportAttributeAccessIssue]
    assert former is metrics.summarize
    assert "summarise" not in dir(metrics)

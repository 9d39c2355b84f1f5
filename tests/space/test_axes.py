import pytest

from unmask.errors import DataError
from unmask.space.axes import parse, spatial
from unmask.space.spacing import check_spacing


def test_axes_are_read_in_any_case_and_order():
    assert parse("yxc", ndim=3) == "YXC"
    assert spatial("XYC") == "YX"


@pytest.mark.parametrize("axes", ["yy", "yq", "y x"])
def test_strange_letters_are_refused(axes):
    with pytest.raises(DataError, match="expected different letters"):
        parse(axes)


def test_the_number_of_axes_must_fit():
    with pytest.raises(DataError, match="names 3 axes, but the array has 2"):
        parse("zyx", ndim=2)


def test_spacing_is_checked():
    assert check_spacing(None, 2, source="a") is None
    assert check_spacing([2, 0.5], 2, source="a") == (2.0, 0.5)
    for wrong in ([1], [1, 0], [1, float("nan")]):
        with pytest.raises(DataError, match="a: expected 2 positive voxel sizes"):
            check_spacing(wrong, 2, source="a")

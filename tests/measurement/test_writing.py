"""Tables on disk: read back by csv, pandas, pyarrow and anndata."""

from __future__ import annotations

import csv
import sys
import warnings

import numpy as np
import pytest

import unmask
from unmask.errors import DataError, MissingPackageError
from unmask.measurement import Table, concatenate
from unmask.measurement.writing import safe_text

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import anndata
    import pandas as pd


@pytest.fixture
def table(make_cells):
    labels = make_cells((40, 44), 3)
    return unmask.measure(
        labels,
        images=labels * 1.5,
        spacing=(0.5, 0.25),
        columns={"score": {int(labels.max()): 0.5}},
    )


def test_csv_reads_back_exactly(table, tmp_path):
    path = table.write(tmp_path / "objects.csv")
    # The default parser of pandas is off by one bit now and then.
    frame = pd.read_csv(path, float_precision="round_trip")  # pyright: ignore
    assert list(frame.columns) == list(table)
    for name in table:
        np.testing.assert_array_equal(frame[name].to_numpy(), table[name], err_msg=name)
    assert frame["touches_border"].dtype == bool


def test_parquet_reads_back_exactly(table, tmp_path):
    frame = pd.read_parquet(table.write(tmp_path / "objects.parquet"))
    for name in table:
        np.testing.assert_array_equal(frame[name].to_numpy(), table[name], err_msg=name)
    assert frame["id"].dtype == np.uint64


def test_anndata_reads_back(table, tmp_path):
    data = anndata.read_h5ad(table.write(tmp_path / "objects.h5ad"))
    assert data.n_obs == len(table)
    assert list(data.obs["id"]) == table["id"].tolist()
    for k, name in enumerate(data.var_names):
        np.testing.assert_array_equal(np.asarray(data.X)[:, k], table[name].astype(float))
    np.testing.assert_array_equal(data.obsm["spatial"][:, 0], table["centroid_x_um"])
    assert data.obs_names.is_unique
    assert set(table) == {*data.var_names, *data.obs.columns}


def test_to_pandas_and_pictures_of_a_table(table):
    frame = table.to_pandas()
    assert frame.shape == (len(table), len(table.columns))
    assert repr(table).startswith(f"Table({len(table)} objects, ")
    assert len(repr(table)) < 120
    assert "<th>area_um2</th>" in table._repr_html_()
    assert f"{len(table)} objects" in table._repr_html_()
    assert "id" in table
    assert Table({"n": np.array(["<b>"])})._repr_html_().count("&lt;b&gt;") == 1


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\ta"])
def test_text_is_never_a_formula(text, tmp_path):
    table = Table({"image": np.array([text, 'a,"b"']), text: np.array([-1.5, np.nan])})
    with table.write(tmp_path / "a.csv").open(newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows == [["image", f"'{text}"], [f"'{text}", "-1.5"], ['a,"b"', ""]]
    assert safe_text("cell") == "cell"


def test_an_unknown_suffix_is_refused(table, tmp_path):
    with pytest.raises(DataError, match=r"\.csv \.parquet \.h5ad"):
        table.write(tmp_path / "a.xlsx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("package", "suffix"), [("pyarrow", "parquet"), ("anndata", "h5ad")])
def test_missing_packages_name_the_extra(table, tmp_path, monkeypatch, package, suffix):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r"unmask\[tables\]"):
        table.write(tmp_path / f"a.{suffix}")


def test_tables_with_other_columns_are_joined():
    one = Table({"image": np.array(["a"]), "id": np.array([1], np.uint64), "x": np.array([1.0])})
    two = Table(
        {"image": np.array(["bb"]), "id": np.array([2**60], np.uint64), "note": np.array(["n"])}
    )
    both = concatenate([one, two])
    assert both["image"].tolist() == ["a", "bb"]
    assert both["id"].tolist() == [1, 2**60]
    np.testing.assert_array_equal(both["x"], [1, np.nan])
    assert both["note"].tolist() == ["", "n"]
    assert len(concatenate([])) == 0

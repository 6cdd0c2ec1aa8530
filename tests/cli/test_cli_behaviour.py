from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from command_line import QUICK, failure, frame, run, write_frame
from conftest import assert_same_model, small
from scipy.sparse import coo_array

from sk_rqvae import RQVAETransformer
from sk_rqvae.cli.matrix_files.item_tables import Items, read_affinity, read_weights
from sk_rqvae.metrics import affinity_lift

SETTINGS = {"max_epochs": 1, "hidden_dims": (4,), "codebook_size": 8}


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)


@pytest.fixture
def items(rows, tmp_path):
    keys = [f"item-{number}" for number in range(len(rows))]
    return write_frame(tmp_path / "items.parquet", frame(rows, sku=keys))


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    left, right = rng.integers(60, size=(2, 300))
    return pd.DataFrame({"item_a": left, "item_b": right, "weight": rng.random(300)})


def named(table):
    """The table with keys in place of row numbers."""
    keys = {
        name: "item-" + table[name].astype(str)
        for name in ("item", "item_a", "item_b")
        if name in table
    }
    return table.assign(**keys)


def write(path, table):
    if path.suffix == ".tsv":
        table.to_csv(path, sep="\t", index=False)
        return path
    return write_frame(path, table)


def fitted_with(tmp_path, items, *options):
    folder = tmp_path / "model"
    keys = ("--item-column", "sku") if items.suffix == ".parquet" else ()
    options = (*options, *keys, *QUICK, "--random-state", 0, "--quiet")
    assert run("fit", items, "-o", folder, *options) == 0
    return RQVAETransformer.from_pretrained(folder)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_fit_reads_affinity_by_the_keys_of_items(rows, items, pairs, tmp_path, ending):
    path = write(tmp_path / f"pairs{ending}", named(pairs))
    model = fitted_with(tmp_path, items, "--affinity", path)
    affinity = coo_array((pairs["weight"], (pairs["item_a"], pairs["item_b"])))
    assert_same_model(small(**SETTINGS).fit(rows, affinity=affinity), model)


def test_pairs_without_weights_count_one_each(rows, pairs, tmp_path):
    np.save(tmp_path / "items.npy", rows)
    path = write(tmp_path / "pairs.csv", pairs[["item_a", "item_b"]])
    model = fitted_with(tmp_path, tmp_path / "items.npy", "--affinity", path)
    affinity = coo_array((np.ones(300), (pairs["item_a"], pairs["item_b"])))
    assert_same_model(small(**SETTINGS).fit(rows, affinity=affinity), model)


def test_fit_reads_the_weights_of_items(rows, items, tmp_path):
    table = pd.DataFrame({"item": [5, 3, 40], "weight": [2.0, 7.0, 1.0]})
    path = write(tmp_path / "weights.csv", named(table))
    model = fitted_with(tmp_path, items, "--sample-weight", path)
    weights = np.zeros(60)
    weights[[5, 3, 40]] = [2, 7, 1]
    with pytest.warns(UserWarning, match="different rows"):
        assert_same_model(small(**SETTINGS).fit(rows, sample_weight=weights), model)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"item_a": ["item-1"], "b": ["item-2"]}, "must have the columns item_a, item"),
        ({"item_a": ["item-1"], "item_b": ["none"]}, "row 0, column 'item_b'.*'none'"),
        (
            {"item_a": ["item-1"], "item_b": ["item-2"], "weight": ["many"]},
            "column 'weight' must have a finite number.* Got 'many'",
        ),
        (
            {"item_a": ["item-1"], "item_b": ["item-2"], "weight": [-1]},
            "affinity must not be negative",
        ),
    ],
)
def test_a_table_of_pairs_that_is_wrong_is_named(
    items, tmp_path, capsys, table, message
):
    path = write(tmp_path / "pairs.csv", pd.DataFrame(table))
    options = ("--item-column", "sku", "--affinity", path, *QUICK)
    said = failure(capsys, "fit", items, "-o", tmp_path / "model", *options)
    assert re.search(message, said)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'item_a,item_b\n"item-1"x,item-2\n', "pairs.csv, line 2: ',' expected"),
        ("item_a,item_b\nÜ,b\n".encode("latin-1"), "pairs.csv, after line"),
        (b"item_a,item_b\nitem-1\n", "pairs.csv, line 2 must have 2 fields. Got 1"),
    ],
)
def test_a_table_that_is_no_csv_is_an_error_that_names_it(
    items, tmp_path, capsys, content, message
):
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    options = ("--item-column", "sku", "--affinity", path, *QUICK)
    said = failure(capsys, "fit", items, "-o", tmp_path / "model", *options)
    assert message in said


def test_a_null_among_keys_is_an_error_that_names_its_row(rows, tmp_path, capsys):
    np.save(tmp_path / "items.npy", rows)
    table = pd.DataFrame({"item_a": [0, 1, None], "item_b": [1, 2, 3]})
    path = write(tmp_path / "pairs.parquet", table)
    command = ("fit", tmp_path / "items.npy", "-o", tmp_path / "model", *QUICK)
    said = failure(capsys, *command, "--affinity", path)
    assert "row 2, column 'item_a' must have the key of an item. Got null" in said


def test_damage_anywhere_in_a_table_is_an_error_that_names_it(
    rows, tmp_path, capsys, pairs
):
    np.save(tmp_path / "items.npy", rows)
    # Weights may change without being wrong.
    path = write(tmp_path / "pairs.parquet", pairs[["item_a", "item_b"]])
    whole = path.read_bytes()
    command = ("fit", tmp_path / "items.npy", "-o", tmp_path / "model", "--force")
    said = []
    for position in range(4, len(whole) - 8, len(whole) // 12):
        damaged = bytearray(whole)
        damaged[position : position + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(damaged)
        capsys.readouterr()
        if run(*command, "--affinity", path, *QUICK):
            said.append(capsys.readouterr().err)
    assert said
    assert [message for message in said if "pairs.parquet" not in message] == []


def test_a_report_of_pairs_has_the_affinity_lift(rows, items, pairs, tmp_path, capsys):
    path = write(tmp_path / "pairs.csv", named(pairs))
    model = fitted_with(tmp_path, items, "--affinity", path)
    options = ("--item-column", "sku", "--affinity", path, "--quiet")
    report = ("report", tmp_path / "model", items, *options)
    assert run(*report, "--format", "json") == 0
    printed = json.loads(capsys.readouterr().out)
    affinity = coo_array((pairs["weight"], (pairs["item_a"], pairs["item_b"])))
    affinity.resize(60, 60)
    expected = affinity_lift(model.transform(frame(rows)), affinity)
    lift = np.array(printed["affinity_lift"], dtype=float)
    np.testing.assert_allclose(lift, expected)


def test_an_undefined_lift_is_null_in_json(items, pairs, tmp_path, capsys):
    path = write(tmp_path / "pairs.csv", named(pairs))
    fitted_with(tmp_path, items, "--codebook-size=32")
    options = ("--item-column", "sku", "--affinity", path, "--quiet")
    report = ("report", tmp_path / "model", items, *options)
    assert run(*report, "--format", "json") == 0
    text = capsys.readouterr().out
    assert "NaN" not in text
    assert json.loads(text)["affinity_lift"][-1] is None


def test_an_item_with_two_weights_is_refused(items, tmp_path, capsys):
    table = pd.DataFrame({"item": ["item-1", "item-1"], "weight": [1, 2]})
    path = write(tmp_path / "weights.csv", table)
    options = ("--item-column", "sku", "--sample-weight", path, *QUICK)
    said = failure(capsys, "fit", items, "-o", tmp_path / "model", *options)
    assert "must list each item once" in said


def test_the_ending_of_a_table_is_checked_before_any_work(items, tmp_path, capsys):
    options = ("--affinity", tmp_path / "pairs.npy", *QUICK)
    said = failure(capsys, "fit", items, "-o", tmp_path / "model", *options, status=2)
    assert "--affinity must end in .csv, .parquet, .tsv" in said


def test_a_table_names_each_column_once(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("item,weight,weight\n0,1,5\n")
    with pytest.raises(ValueError, match=r"must name each column once\. Got 'weight'"):
        read_weights(path, Items(None, 2))
    path.write_text("item,weight\n0,1_0\n")
    with pytest.raises(ValueError, match=r"must have a finite number.* Got '1_0'"):
        read_weights(path, Items(None, 2))


def test_other_columns_of_a_table_may_have_one_name(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("item,weight,,\n0,1,,\n")
    assert read_weights(path, Items(None, 2)).tolist() == [1, 0]
    path.write_text("item,weight\n0,-1\n")
    with pytest.raises(
        ValueError, match=r"row 0, column 'weight' must not be negative"
    ):
        read_weights(path, Items(None, 2))


def test_a_pair_can_be_corrected_by_a_negative_weight(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("item_a,item_b,weight\n0,1,3\n0,1,-1\n")
    assert read_affinity(path, Items(None, 2)).toarray().tolist() == [[0, 2], [0, 0]]

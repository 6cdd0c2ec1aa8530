from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from command_line import failure, frame, run, write_frame, write_rows

from sk_rqvae import RQVAETransformer, SemanticIDIndex

ANY_ENDING = (".json", ".safetensors")
FORMATS = [".csv", ".json", ".npy", ".npz", ".parquet"]


@pytest.fixture(scope="module")
def rows(blobs):
    return blobs[:80]


@pytest.fixture(scope="module")
def codes(fitted, rows):
    return fitted.transform(rows)


@pytest.fixture(scope="module")
def items(rows, tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("items") / "items.npy", rows)


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fitted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def named_model(fitted, tmp_path_factory):
    """The same model, fitted on columns with names."""
    folder = tmp_path_factory.mktemp("named")
    named = RQVAETransformer(**fitted.get_params())
    vars(named).update(vars(fitted))
    named.feature_names_in_ = np.array(list("abcdefghijkl"), dtype=object)
    named.save_pretrained(folder)
    return folder


def codes_in(path):
    """The codes that a file of IDs has."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        return np.load(path)["codes"]
    if path.suffix == ".json":
        return np.array(list(json.loads(path.read_text()).values()))
    return SemanticIDIndex.from_table(path, policy="none", item_type=int).ids_


# Output


@pytest.mark.parametrize("kind", FORMATS)
def test_transform_writes_the_ids_that_python_gives(
    items, codes, model, tmp_path, kind
):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"ids{kind}"
    assert run("transform", model, items, "-o", path) == 0
    np.testing.assert_array_equal(codes_in(path), codes)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_without_a_file_ids_go_to_standard_output(items, codes, model, capsys):
    assert run("transform", model, items, "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == "item_id,level_1,level_2,level_3"
    assert lines[1:] == [
        f"{row},{','.join(map(str, code))}" for row, code in enumerate(codes.tolist())
    ]


def test_the_format_can_be_named(items, codes, model, tmp_path, capsys):
    assert run("transform", model, items, "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [str(row) for row in range(len(codes))]
    assert list(told.values()) == codes.tolist()
    path = tmp_path / "ids.txt"
    assert run("transform", model, items, "-o", path, "--format", "csv") == 0
    assert path.read_text().startswith("item_id,level_1")


def test_tokens_are_those_of_an_index(items, codes, model, tmp_path):
    index = SemanticIDIndex(policy="none").fit(codes)
    path = tmp_path / "ids.csv"
    assert run("transform", model, items, "-o", path, "--tokens") == 0
    lines = path.read_text().splitlines()
    assert lines[0] == "item_id,tokens"
    assert [line.partition(",")[2] for line in lines[1:]] == index.tokens(codes)
    path = tmp_path / "ids.json"
    assert run("transform", model, items, "-o", path, "--tokens") == 0
    read = SemanticIDIndex.from_json(path, policy="none", item_type=int)
    np.testing.assert_array_equal(read.ids_, codes)


@pytest.mark.parametrize("policy", ["suffix", "reassign"])
def test_a_policy_gives_the_ids_of_an_index(
    fitted, rows, codes, model, tmp_path, policy, capsys
):
    twice = np.concatenate([rows, rows[:5]])
    path = write_rows(tmp_path / "items.npy", twice)
    ids = tmp_path / "ids.npy"
    assert run("transform", model, path, "-o", ids, "--policy", policy) == 0
    needs = {"X": twice, "model": fitted} if policy == "reassign" else {}
    all_codes = np.concatenate([codes, codes[:5]])
    index = SemanticIDIndex(policy=policy).fit(all_codes, **needs)
    np.testing.assert_array_equal(np.load(ids), index.ids_)
    assert "85 rows, 85 distinct IDs" in capsys.readouterr().err


def test_a_table_with_suffixes_makes_the_same_index(rows, codes, model, tmp_path):
    path = write_frame(
        tmp_path / "items.csv", frame(rows, sku=[f"B{row}" for row in range(80)])
    )
    ids = tmp_path / "ids.csv"
    options = ("--policy", "suffix", "--item-column", "sku")
    assert run("transform", model, path, "-o", ids, *options) == 0
    index = SemanticIDIndex.from_table(ids, policy="suffix")
    expected = SemanticIDIndex(policy="suffix").fit(codes, index.item_ids_)
    np.testing.assert_array_equal(index.ids_, expected.ids_)


def test_rows_are_transformed_in_blocks(items, codes, model, tmp_path, monkeypatch):
    monkeypatch.setattr("sk_rqvae.cli.matrix_files.npy_file.ROWS_AT_ONCE", 30)
    lengths = []
    transform = RQVAETransformer.transform
    monkeypatch.setattr(
        RQVAETransformer,
        "transform",
        lambda self, X: (lengths.append(len(X)), transform(self, X))[1],
    )
    path = tmp_path / "ids.csv"
    assert run("transform", model, items, "-o", path) == 0
    assert lengths == [30, 30, 20]
    np.testing.assert_array_equal(codes_in(path), codes)


def test_transform_ends_with_a_summary_of_one_line(
    fitted, items, rows, codes, model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sk_rqvae.cli.matrix_files.npy_file.ROWS_AT_ONCE", 30)
    path = tmp_path / "ids.csv"
    assert run("transform", model, items, "-o", path) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"sk-rqvae: transformed 80 rows, {len(np.unique(codes, axis=0))} distinct IDs, "
        f"explained variance {fitted.score(rows):.3f}, "
    )
    assert line.endswith(f" s, written to {path}")


def test_the_summary_omits_an_explained_variance_that_is_undefined(
    rows, model, tmp_path, capsys
):
    path = write_rows(tmp_path / "same.npy", np.repeat(rows[:1], 3, axis=0))
    assert run("transform", model, path, "-o", tmp_path / "ids.csv") == 0
    assert "3 rows, 1 distinct IDs, " in (said := capsys.readouterr().err)
    assert "explained" not in said


# Columns and keys


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_columns_are_reordered_as_the_model_expects(
    rows, codes, named_model, tmp_path, kind
):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    table = frame(rows)[list("lkjihgfedcba")]
    path = write_frame(tmp_path / f"items{kind}", table)
    ids = tmp_path / "ids.npy"
    assert run("transform", named_model, path, "-o", ids) == 0
    np.testing.assert_array_equal(np.load(ids), codes)


def test_a_missing_or_unknown_column_is_an_error(rows, named_model, tmp_path, capsys):
    table = frame(rows)
    path = write_frame(tmp_path / "items.csv", table.drop(columns="c"))
    said = failure(capsys, "transform", named_model, path)
    assert "has no column 'c', which the model was fitted on" in said
    path = write_frame(tmp_path / "items.csv", table.assign(price=1.0))
    said = failure(capsys, "transform", named_model, path)
    assert "has the column 'price', which the model was not fitted on" in said
    assert (
        run(
            "transform",
            named_model,
            path,
            "--columns",
            "a,b,c,d,e,f,g,h,i,j,k,l",
            "-o",
            tmp_path / "ids.csv",
        )
        == 0
    )


def test_a_file_without_names_is_read_in_its_order_with_a_warning(
    items, codes, named_model, tmp_path, capsys
):
    ids = tmp_path / "ids.npy"
    assert run("transform", named_model, items, "-o", ids) == 0
    np.testing.assert_array_equal(np.load(ids), codes)
    assert "items.npy has no column names" in capsys.readouterr().err


def test_report_reorders_columns_too(fitted, rows, named_model, tmp_path, capsys):
    table = frame(rows)[list("lkjihgfedcba")]
    path = write_frame(tmp_path / "items.csv", table)
    assert run("report", named_model, path) == 0
    assert capsys.readouterr().out == f"{fitted.report(rows)}\n"


@pytest.mark.parametrize("source", [".csv", ".parquet"])
@pytest.mark.parametrize("target", [".csv", ".json", ".parquet"])
def test_keys_are_written_exactly_as_they_were_read(
    rows, model, tmp_path, source, target
):
    pytest.importorskip("pyarrow")
    keys = [9007199254740993, 9007199254740992, -1]
    path = write_frame(tmp_path / f"items{source}", frame(rows[:3], sku=keys))
    ids = tmp_path / f"ids{target}"
    assert run("transform", model, path, "--item-column", "sku", "-o", ids) == 0
    if target == ".json":
        assert list(json.loads(ids.read_text())) == [str(key) for key in keys]
    else:
        index = SemanticIDIndex.from_table(ids, policy="none", item_type=int)
        assert index.item_ids_.tolist() == keys


@pytest.mark.parametrize("key", ["a\rb", "a\nb", 'a"b', "a,b", "a\r\nb"])
def test_a_key_is_quoted_in_csv_if_it_needs_to_be(rows, model, tmp_path, key):
    path = write_frame(tmp_path / "items.parquet", frame(rows[:2], sku=[key, "c"]))
    ids = tmp_path / "ids.csv"
    assert run("transform", model, path, "-o", ids, "--item-column", "sku") == 0
    assert SemanticIDIndex.from_table(ids, policy="none").item_ids_.tolist() == [
        key,
        "c",
    ]
    with ids.open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["item_id", key, "c"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locale")
def test_redirected_output_and_input_are_utf_8_in_every_locale(rows, model, tmp_path):
    keys = ["Ünïcödé", "日本"]
    path = write_frame(tmp_path / "items.csv", frame(rows[:2], sku=keys))
    index = tmp_path / "catalogue.index"
    command = ("index", "build", model, path, "--item-column", "sku", "-o", index)
    assert run(*command) == 0
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "sk_rqvae", "index", "lookup", index, "--by=key", "-"],
        input="\ufeff日本\nÜnïcödé\n".encode(),
        capture_output=True,
        env=os.environ | plain,
        check=True,
    )
    lines = done.stdout.decode().splitlines()[1:]
    assert [line.partition(",")[0] for line in lines] == keys[::-1]


def test_control_sequences_in_keys_do_not_reach_a_terminal(
    rows, model, tmp_path, capsys, monkeypatch
):
    path = write_frame(tmp_path / "items.csv", frame(rows[:1], sku=["\x1b[31mred"]))
    options = ("--item-column", "sku", "--quiet")
    assert run("transform", model, path, *options) == 0
    assert "\x1b[31mred" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run("transform", model, path, *options) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert r"\x1b[31mred" in said


def test_a_column_that_is_not_read_may_have_long_texts(rows, codes, model, tmp_path):
    limit = csv.field_size_limit()
    table = frame(rows, text="long " * 30_000)
    path = write_frame(tmp_path / "items.csv", table)
    ids = tmp_path / "ids.npy"
    options = ("--columns", "a,b,c,d,e,f,g,h,i,j,k,l", "-o", ids)
    assert run("transform", model, path, *options) == 0
    np.testing.assert_array_equal(np.load(ids), codes)
    assert csv.field_size_limit() == limit


# Errors


def test_a_file_is_replaced_only_with_the_option_force(items, model, tmp_path, capsys):
    path = tmp_path / "ids.csv"
    path.write_text("precious")
    said = failure(capsys, "transform", model, items, "-o", path)
    assert "ids.csv exists. Pass --force to replace it" in said
    assert path.read_text() == "precious"
    assert run("transform", model, items, "-o", path, "--force") == 0
    assert path.read_text().startswith("item_id")


def test_an_input_is_never_replaced(rows, model, tmp_path, capsys):
    path = write_rows(tmp_path / "x.npy", rows)
    link = tmp_path / "link.npy"
    link.symlink_to(path)
    for output in (path, link):
        said = failure(capsys, "transform", model, path, "-o", output, "--force")
        assert "is an input of the command" in said
    np.testing.assert_array_equal(np.load(path), rows)


@pytest.mark.parametrize("command", ["transform", "index build", "explore"])
def test_no_file_of_the_model_is_replaced(
    fitted, items, tmp_path, capsys, monkeypatch, command
):
    monkeypatch.setattr("sk_rqvae.cli.id_files.destination.TO_FILES", ANY_ENDING)
    monkeypatch.setattr("sk_rqvae.cli.commands.explore._ENDINGS", ANY_ENDING)
    folder = tmp_path / "model"
    fitted.save_pretrained(folder)
    (weights,) = folder.glob("*.safetensors")
    for path in (folder / "config.json", weights):
        before = path.read_bytes()
        arguments = (*command.split(), folder, items, "-o", path, "--force")
        assert "is an input of the command" in failure(capsys, *arguments)
        assert path.read_bytes() == before


def test_a_failed_transform_does_not_change_an_existing_file(
    rows, model, tmp_path, capsys
):
    bad = np.concatenate([rows, np.full((1, 12), np.nan)])
    path = write_rows(tmp_path / "items.csv", bad)
    ids = tmp_path / "ids.csv"
    ids.write_text("precious")
    said = failure(capsys, "transform", model, path, "-o", ids, "--force")
    assert "items.csv, line 82, column 'a' must be a number. Got an empty field" in said
    assert ids.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids.csv", "items.csv"]


def test_nan_is_an_error_that_names_row_and_column(rows, model, tmp_path, capsys):
    bad = rows.copy()
    bad[70, 3] = np.nan
    path = write_rows(tmp_path / "items.npy", bad)
    for command in ("transform", "report"):
        said = failure(capsys, command, model, path)
        assert "items.npy, row 70, column 3 must be a finite number. Got nan" in said


@pytest.mark.parametrize("command", ["transform", "report"])
def test_swapped_arguments_are_an_error_that_says_what_to_type(
    items, model, capsys, command
):
    said = failure(capsys, command, items, model, status=2)
    assert said.endswith(f"Type: sk-rqvae {command} {model} {items}")


def test_a_missing_model_is_an_error_that_says_how_to_make_one(items, tmp_path, capsys):
    said = failure(capsys, "transform", tmp_path / "nothing", items)
    assert f"no model at {tmp_path / 'nothing'}. Make one: sk-rqvae fit" in said
    said = failure(capsys, "transform", tmp_path, items)
    assert "it has no config.json. Make one: sk-rqvae fit" in said
    said = failure(capsys, "transform", items, items)
    assert "items.npy is no model: a model is a folder" in said


def test_a_wrong_command_line_has_the_status_2_and_a_failure_1(
    rows, items, model, tmp_path, capsys
):
    narrow = write_rows(tmp_path / "narrow.npy", rows[:, :2])
    missing = tmp_path / "nothing"
    for arguments, message, status in [
        (
            (model, narrow),
            "narrow.npy must have 12 columns of numbers, as in fit. Got 2",
            1,
        ),
        ((model, missing / "x.npy"), "x.npy: No such file or directory", 1),
        ((model, items, "-o", missing / "ids.csv"), "nothing is not a folder", 1),
        ((model, items, "-o", tmp_path / "ids.txt"), "ids.txt must end in .csv, ", 2),
        ((model, items, "-o", "ids.npy", "--tokens"), "--tokens is not for .npy", 2),
        ((model, items, "-o", "ids.csv", "--format", "json"), "must end in .json", 2),
        ((model, items, "--format", "npy"), "npy needs a file: name it with -o", 2),
        ((model, items, "--array", "x"), "--array is not for .npy files", 2),
        ((model, items, "--policy", "prefix"), "'prefix' is not one of", 2),
        ((model,), "Missing argument 'ITEMS'", 2),
        ((model, tmp_path / "x.txt"), "x.txt must end in .npy, .npz, .csv", 2),
    ]:
        assert message in failure(capsys, "transform", *arguments, status=status)
    wrong = failure(capsys, "transform", model, items, "--device", "tpu", status=2)
    assert "device must be" in wrong

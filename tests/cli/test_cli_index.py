from __future__ import annotations

import copy
import io
import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from command_line import failure, frame, run, write_frame, write_rows
from conftest import small

from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.cli.work.index_keys import keys_like


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fitted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(blobs):
    return blobs[:60]


KEYS = [f"B{row:02d}" for row in range(60)]


@pytest.fixture
def table(rows, tmp_path):
    """Write some rows with their keys as a table."""

    def write(part, name="items.csv", keys=KEYS):
        path = tmp_path / name
        return write_frame(path, frame(rows[part].astype(float), sku=keys[part]))

    return write


@pytest.fixture
def catalogue(model, table, tmp_path):
    """An index of the first 50 rows."""
    path = tmp_path / "catalogue.index"
    arguments = (model, table(slice(50)), "--item-column", "sku")
    assert run("index", "build", *arguments, "-o", path, "--quiet") == 0
    return path


def printed(capsys, *arguments):
    """The lines that a command prints, without the header."""
    capsys.readouterr()
    assert run("index", *arguments) == 0
    return capsys.readouterr().out.splitlines()[1:]


@pytest.mark.parametrize("policy", ["none", "suffix", "reassign"])
def test_build_makes_the_index_that_python_makes(
    fitted, rows, model, table, tmp_path, policy
):
    path = tmp_path / "catalogue.index"
    options = ("--item-column", "sku", "--policy", policy)
    assert run("index", "build", model, table(slice(None)), "-o", path, *options) == 0
    index = SemanticIDIndex.load(path)
    expected = SemanticIDIndex(policy=policy).fit(
        fitted.transform(rows), KEYS, X=rows, model=fitted
    )
    np.testing.assert_array_equal(index.ids_, expected.ids_)
    assert index.item_ids_.tolist() == KEYS
    assert index.fingerprint_ == expected.fingerprint_
    assert index.summary() == expected.summary()


def test_add_gives_new_items_the_ids_that_python_gives(
    fitted, rows, model, table, catalogue
):
    before = SemanticIDIndex.load(catalogue)
    path = table(slice(50, 60), "new.parquet")
    assert run("index", "add", catalogue, model, path, "--item-column", "sku") == 0
    before.add(fitted.transform(rows[50:]), KEYS[50:], X=rows[50:], model=fitted)
    np.testing.assert_array_equal(SemanticIDIndex.load(catalogue).ids_, before.ids_)


@pytest.mark.filterwarnings("error:X does not have valid feature names")
def test_a_model_with_column_names_takes_tables_without_a_warning(
    fitted, rows, tmp_path
):
    model = copy.copy(fitted)
    model.feature_names_in_ = frame(rows).columns.to_numpy(dtype=object)
    model.save_pretrained(tmp_path / "model")
    crowd = frame(np.repeat(rows[:20], 3, axis=0).astype(float), sku=KEYS)
    crowd = crowd[crowd.columns[::-1]]
    first = write_frame(tmp_path / "first.csv", crowd[:30])
    then = write_frame(tmp_path / "then.csv", crowd[30:])
    path, options = tmp_path / "index", ("--item-column", "sku", "--quiet")
    build = ("index", "build", tmp_path / "model", first, "-o", path, *options)
    assert run(*build, "--policy", "reassign") == 0
    assert run("index", "add", path, tmp_path / "model", then, *options) == 0
    rows = crowd[model.feature_names_in_]
    expected = SemanticIDIndex(policy="reassign").fit(
        model.transform(rows), KEYS, X=rows, model=model
    )
    np.testing.assert_array_equal(SemanticIDIndex.load(path).ids_, expected.ids_)


def test_add_skips_known_items_only_if_asked(model, table, catalogue, capsys):
    content = catalogue.read_bytes()
    arguments = (catalogue, model, table(slice(40, 60)), "--item-column", "sku")
    message = failure(capsys, "index", "add", *arguments)
    assert "has the item 'B40', which has an ID. Use --skip-known" in message
    assert catalogue.read_bytes() == content
    assert run("index", "add", *arguments, "--skip-known") == 0
    assert "added 10 items to 50, skipped 10, " in capsys.readouterr().err
    content = catalogue.read_bytes()
    assert run("index", "add", *arguments, "--skip-known") == 0
    assert "added 0 items to 60, skipped 20, " in capsys.readouterr().err
    assert catalogue.read_bytes() == content


@pytest.mark.parametrize("name", ["new.csv", "new.parquet", "new.npy", "new.npz"])
def test_adding_no_rows_leaves_the_index_as_it_was(
    rows, model, catalogue, tmp_path, capsys, name
):
    content = catalogue.read_bytes()
    options = ("--item-column", "sku")
    if name.startswith("new.np"):
        items, options = write_rows(tmp_path / name, rows[:0]), ()
    else:
        none = frame(rows.astype(float), sku=KEYS)[:0]
        items = write_frame(tmp_path / name, none)
    assert run("index", "add", catalogue, model, items, *options) == 0
    said = capsys.readouterr().err
    assert "added 0 items to 50, " in said
    assert f"{name} has no rows" in said
    assert catalogue.read_bytes() == content


def test_a_file_without_rows_and_without_a_header_adds_nothing(
    model, catalogue, tmp_path, capsys
):
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert run("index", "add", catalogue, model, empty, "--no-header") == 0
    assert "empty.csv has no rows" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["new.csv", "new.npy"])
def test_a_file_without_rows_must_have_as_many_columns_as_the_model(
    rows, model, catalogue, tmp_path, capsys, name
):
    if name == "new.npy":
        items = write_rows(tmp_path / name, rows[:0, 1:])
    else:
        items = write_frame(tmp_path / name, frame(rows[:0, 1:].astype(float), sku=[]))
    options = () if name == "new.npy" else ("--item-column", "sku")
    said = failure(capsys, "index", "add", catalogue, model, items, *options)
    assert "must have 12 columns of numbers, as in fit. Got 11" in said


@pytest.mark.parametrize("name", ["new.csv", "new.parquet"])
def test_a_table_without_rows_must_have_the_columns_of_the_model(
    rows, tmp_path, capsys, name
):
    items = frame(rows.astype(float), sku=KEYS)
    options = ("--item-column", "sku")
    model, path = tmp_path / "named", tmp_path / "named.index"
    small(max_epochs=1).fit(items.drop(columns="sku")).save_pretrained(model)
    first = write_frame(tmp_path / "first.csv", items)
    assert run("index", "build", model, first, *options, "-o", path, "--quiet") == 0
    none = write_frame(tmp_path / name, items[:0].drop(columns="b"))
    said = failure(capsys, "index", "add", path, model, none, *options)
    assert "has no column 'b'" in said


def test_adding_a_file_that_is_no_matrix_is_an_error(
    model, catalogue, tmp_path, capsys
):
    for name, array in [("flat", []), ("no columns", np.ones((0, 0)))]:
        items = write_rows(tmp_path / f"{name}.npy", np.array(array))
        assert name in failure(capsys, "index", "add", catalogue, model, items)
    empty = tmp_path / "empty.csv"
    empty.touch()
    said = failure(capsys, "index", "add", catalogue, model, empty)
    assert "Got an empty file" in said


def test_only_the_model_of_an_index_adds_to_it(
    blobs, model, table, catalogue, tmp_path, capsys
):
    small(max_epochs=1, random_state=1).fit(blobs).save_pretrained(tmp_path / "other")
    arguments = (table(slice(50, 60), "new.csv"), "--item-column", "sku")
    said = failure(capsys, "index", "add", catalogue, tmp_path / "other", *arguments)
    assert f"other must be the model that {catalogue} was built with" in said
    assert "Pass that model, or build an index with this one: sk-rqvae index" in said
    assert "rebind" not in said
    path = tmp_path / "python.index"
    SemanticIDIndex().fit([[0, 1, 2]], ["a"]).save(path)
    said = failure(capsys, "index", "add", path, model, *arguments)
    assert f"{path} was made without a model" in said
    assert "rebind" not in said


def test_without_keys_added_rows_are_numbered_on(rows, model, tmp_path, capsys):
    path = tmp_path / "catalogue.index"
    items = write_rows(tmp_path / "items.npy", rows[:3])
    assert run("index", "build", model, items, "-o", path, "--quiet") == 0
    arguments = ("index", "add", path, model, items)
    said = failure(capsys, *arguments, "--skip-known", status=2)
    assert "--skip-known needs keys, and" in said
    assert len(SemanticIDIndex.load(path)) == 3
    assert run(*arguments, "--quiet") == 0
    assert SemanticIDIndex.load(path).item_ids_.tolist() == [0, 1, 2, 3, 4, 5]


def test_removed_items_are_not_found(catalogue, capsys, monkeypatch):
    assert run("index", "remove", catalogue, "B00", "B01") == 0
    assert "removed 2 items, 48 remain" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("B02\nB03\n"))
    assert run("index", "remove", catalogue, "-") == 0
    assert len(SemanticIDIndex.load(catalogue)) == 46
    said = failure(capsys, "index", "lookup", catalogue, "B00", "--by", "key")
    assert "B00" in said


def test_a_removal_that_fails_removes_nothing(catalogue, capsys):
    content = catalogue.read_bytes()
    said = failure(capsys, "index", "remove", catalogue, "B00", "unknown")
    assert "no item 'unknown'. Use --skip-unknown" in said
    assert catalogue.read_bytes() == content


def test_remove_skips_unknown_items_only_if_asked(catalogue, capsys):
    command = ("index", "remove", catalogue, "B00", "B01", "unknown", "--skip-unknown")
    assert run(*command) == 0
    assert "removed 2 items, skipped 1, 48 remain" in capsys.readouterr().err
    assert "B00" not in SemanticIDIndex.load(catalogue)
    content = catalogue.read_bytes()
    assert run(*command) == 0
    assert "removed 0 items, skipped 3, 48 remain" in capsys.readouterr().err
    assert catalogue.read_bytes() == content


def test_skipped_keys_can_be_of_another_kind_and_come_twice(
    rows, model, tmp_path, capsys
):
    items = write_rows(tmp_path / "rows.npy", rows[:9])
    path = tmp_path / "numbered.index"
    assert run("index", "build", model, items, "-o", path, "--quiet") == 0
    keys = ("sku", "007", "3", "3", "99999999999999999999", "8")
    assert run("index", "remove", path, *keys, "--skip-unknown") == 0
    assert "removed 2 items, skipped 3, 7 remain" in capsys.readouterr().err


def test_an_empty_list_of_items_removes_none(catalogue, capsys, monkeypatch):
    content = catalogue.read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("index", "remove", catalogue, "-") == 0
    assert "removed 0 items, 50 remain" in capsys.readouterr().err
    assert catalogue.read_bytes() == content


@pytest.mark.parametrize("command", ["add", "remove"])
def test_a_command_during_which_another_process_saved_can_be_run_again(
    model, table, catalogue, capsys, monkeypatch, command
):
    load = SemanticIDIndex.load

    def load_before_another_process_saves(path):
        index = load(path)
        monkeypatch.setattr(SemanticIDIndex, "load", load)
        other = load(path)
        other.remove(["B49"])
        other.save(path)
        return index

    arguments = {
        "add": (model, table(slice(50, 60), "new.csv"), "--item-column", "sku"),
        "remove": ("B00",),
    }[command]
    monkeypatch.setattr(SemanticIDIndex, "load", load_before_another_process_saves)
    said = failure(capsys, "index", command, catalogue, *arguments)
    assert said.endswith(
        "catalogue.index was changed by another process meanwhile, and this command "
        "changed nothing. Run it again."
    )
    assert len(SemanticIDIndex.load(catalogue)) == 49
    assert run("index", command, catalogue, *arguments) == 0
    assert len(SemanticIDIndex.load(catalogue)) == {"add": 59, "remove": 48}[command]


def test_lookup_finds_ids_by_key_and_keys_by_id(catalogue, capsys):
    index = SemanticIDIndex.load(catalogue)
    lines = printed(capsys, "lookup", catalogue, "B07", "B03", "--by", "key")
    assert lines == [
        f"{key},{','.join(map(str, index.ids_of([key])[0].tolist()))}"
        for key in ("B07", "B03")
    ]
    ids = [line.partition(",")[2] for line in lines]
    assert printed(capsys, "lookup", catalogue, *ids) == lines
    tokens = index.tokens(index.ids_of(["B07", "B03"]))
    assert printed(capsys, "lookup", catalogue, *tokens) == lines


def test_lookup_finds_all_items_with_a_prefix(catalogue, capsys):
    index = SemanticIDIndex.load(catalogue)
    first = int(index.ids_[0, 0])
    lines = printed(capsys, "lookup", catalogue, "--by", "prefix", str(first))
    found = [line.partition(",")[0] for line in lines]
    assert found == index.items_with_prefix([first]).tolist()


def test_integer_keys_can_be_typed_on_the_command_line(rows, model, tmp_path, capsys):
    path = tmp_path / "catalogue.index"
    items = write_rows(tmp_path / "items.npy", rows)
    assert run("index", "build", model, items, "-o", path) == 0
    (line,) = printed(capsys, "lookup", path, "--by", "key", "7")
    assert line.startswith("7,")
    for word in ("x", "1_0", " 2 ", "007", "+7", "٣", "9" * 19, "9" * 30):
        said = failure(capsys, "index", "lookup", path, "--by", "key", word)
        assert f"items of the index are integers. Got the key {word!r}" in said


def test_looking_up_an_invalid_id_is_an_error(catalogue, capsys):
    for wanted, message in [
        ("99,99,99,99", "no item has ID (99, 99, 99, 99)"),
        ("1,2", "An ID of this index has 4 codes. Got 2"),
        ("one", "must be codes, such as 12,3, or tokens. Got 'one'"),
    ]:
        assert message in failure(capsys, "index", "lookup", catalogue, wanted)


@pytest.mark.parametrize("kind", [".csv", ".json", ".parquet"])
def test_an_export_can_be_read_back_as_the_same_index(catalogue, tmp_path, kind):
    path = tmp_path / f"ids{kind}"
    options = ("--tokens",) if kind == ".json" else ()
    assert run("index", "export", catalogue, "-o", path, *options) == 0
    read = SemanticIDIndex.from_json if kind == ".json" else SemanticIDIndex.from_table
    index, expected = read(path), SemanticIDIndex.load(catalogue)
    np.testing.assert_array_equal(index.ids_, expected.ids_)
    assert index.item_ids_.tolist() == expected.item_ids_.tolist()


def test_an_empty_item_is_not_exported_to_csv(capsys, tmp_path):
    path = tmp_path / "empty.index"
    SemanticIDIndex().fit([[0, 0], [1, 1]], ["a", ""]).save(path)
    said = failure(capsys, "index", "export", path, "-o", tmp_path / "ids.csv")
    assert "items must not be empty to be written as CSV" in said
    assert not (tmp_path / "ids.csv").exists()
    assert run("index", "export", path, "-o", tmp_path / "ids.json") == 0


@pytest.mark.parametrize("as_tokens", [False, True])
@pytest.mark.parametrize("kind", [".csv", ".json", ".parquet"])
def test_an_index_without_items_is_exported_as_an_empty_table(
    catalogue, tmp_path, kind, as_tokens
):
    path = tmp_path / f"ids{kind}"
    assert run("index", "remove", catalogue, *KEYS[:50], "--quiet") == 0
    options = ("--tokens",) if as_tokens else ()
    assert run("index", "export", catalogue, "-o", path, *options) == 0
    if kind == ".json":
        assert json.loads(path.read_text()) == {}
        return
    table = pd.read_csv(path) if kind == ".csv" else pd.read_parquet(path)
    codes = ["tokens"] if as_tokens else ["level_1", "level_2", "level_3", "suffix"]
    assert table.columns.tolist() == ["item_id", *codes]
    assert len(table) == 0


def test_an_empty_table_keeps_the_type_of_keys(rows, model, tmp_path):
    path, table = tmp_path / "catalogue.index", tmp_path / "ids.parquet"
    items = write_rows(tmp_path / "items.npy", rows[:2])
    assert run("index", "build", model, items, "-o", path, "--quiet") == 0
    assert run("index", "remove", path, "0", "1", "--quiet") == 0
    assert run("index", "export", path, "-o", table) == 0
    assert (pd.read_parquet(table).dtypes == np.int64).all()


def test_a_lookup_that_finds_nothing_prints_an_empty_table(catalogue, capsys):
    wanted = ("index", "lookup", catalogue, "--by", "prefix", "15,15,15")
    assert SemanticIDIndex.load(catalogue).items_with_prefix([15, 15, 15]).size == 0
    assert run(*wanted, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {}
    assert run(*wanted) == 0
    assert capsys.readouterr().out == "item_id,level_1,level_2,level_3,suffix\n"


def test_the_summary_has_the_figures_of_the_index(catalogue, capsys):
    expected = SemanticIDIndex.load(catalogue).summary()
    assert run("index", "summary", catalogue, "--format", "json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == {**expected, "revision": 1}
    assert run("index", "summary", catalogue, "--format", "text") == 0
    assert "n_items           50\n" in capsys.readouterr().out


def test_the_error_of_a_file_that_is_no_index_is_one_line(tmp_path, capsys):
    path = tmp_path / "catalogue.index"
    path.write_bytes(b"not an index")
    assert "catalogue.index" in failure(capsys, "index", "summary", path)
    assert "nothing" in failure(capsys, "index", "summary", tmp_path / "nothing")


def test_an_index_is_replaced_only_with_the_option_force(
    model, table, catalogue, capsys
):
    arguments = (model, table(slice(5)), "--item-column", "sku", "-o", catalogue)
    assert "exists. Pass --force" in failure(capsys, "index", "build", *arguments)
    assert run("index", "build", *arguments, "--force") == 0
    assert len(SemanticIDIndex.load(catalogue)) == 5


def test_lookups_do_not_import_torch(catalogue, fresh_python):
    script = """
import sys
from sk_rqvae.cli import main
main(["index", "lookup", sys.argv[1], "--by", "key", "B07", "--format", "json"])
print([name for name in ("torch", "sklearn", "skorch") if name in sys.modules])
"""
    assert fresh_python(script, catalogue).endswith("[]")


@pytest.mark.parametrize(
    "wanted", [("--by", "key", "item 7"), ("--by", "prefix", "7,0"), ("7,0,7,0",)]
)
def test_a_lookup_reads_no_more_of_the_catalogue_than_it_prints(
    tmp_path, capsys, wanted
):
    path = tmp_path / "catalogue.index"
    number = np.arange(50_000)
    codes = np.column_stack([number % 256, number // 256, number % 256])
    SemanticIDIndex().fit(codes, [f"item {n}" for n in number]).save(path)
    expected = printed(capsys, "lookup", path, *wanted)  # imports what it needs
    assert expected == ["item 7,7,0,7,0"]
    tracemalloc.start()
    try:
        assert printed(capsys, "lookup", path, *wanted) == expected
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Any array of all items or IDs has a pointer or an integer for each.
    assert peak < 8 * len(number)


def test_integers_are_the_texts_of_an_index_of_texts():
    index = SemanticIDIndex().fit([[0, 1]] * 2, ["7", "8"])
    assert keys_like(index, np.array([8, 7])).tolist() == ["8", "7"]
    padded = SemanticIDIndex().fit([[0, 1]] * 2, ["007", "8"])
    assert keys_like(padded, np.array([8, 7])).tolist() == [8, 7]


@pytest.fixture(scope="module")
def new_model(blobs, tmp_path_factory):
    """A model that was trained from the beginning, and the folder that it is in."""
    model = small(random_state=7).fit(blobs)
    folder = tmp_path_factory.mktemp("new_model")
    model.save_pretrained(folder)
    return model, folder


def test_realign_writes_the_model_that_python_renames(
    new_model, rows, model, table, catalogue, tmp_path, capsys
):
    new, folder = new_model
    items = table(slice(None), "today.csv")
    content = catalogue.read_bytes()
    named, options = tmp_path / "named", ("--item-column", "sku")
    assert run("index", "realign", catalogue, folder, items, "-o", named, *options) == 0
    said = capsys.readouterr().err
    assert "50 of 60 items have an ID" in said
    assert catalogue.read_bytes() == content
    index = SemanticIDIndex.load(catalogue)
    codes, report = index.realign(new.transform(rows), KEYS, model=new)
    renamed = RQVAETransformer.from_pretrained(named)
    np.testing.assert_array_equal(renamed.transform(rows), codes)
    assert f"{100 * report['kept'][0]:.1f}%" in said
    assert report["kept"][0] > report["kept_without"][0]
    assert renamed.get_params() == new.get_params()

    # The year goes on with it.
    later = tmp_path / "later.index"
    first = table(slice(50), "first.csv")
    assert run("index", "build", named, first, "-o", later, *options) == 0
    assert run("index", "add", later, named, items, *options, "--skip-known") == 0
    assert SemanticIDIndex.load(later).item_ids_.tolist() == KEYS
    capsys.readouterr()
    assert run("index", "churn", catalogue, later, "--format", "json") == 0
    churn = json.loads(capsys.readouterr().out)
    assert churn == index.churn(SemanticIDIndex.load(later))


def test_realign_numbers_the_rows_of_a_file_without_keys(
    new_model, model, rows, tmp_path
):
    _, folder = new_model
    items = write_rows(tmp_path / "items.npy", rows)
    index, named = tmp_path / "index", tmp_path / "named"
    assert run("index", "build", model, items, "-o", index, "--quiet") == 0
    arguments = (index, folder, items, "-o", named, "--quiet")
    assert run("index", "realign", *arguments) == 0
    renamed = RQVAETransformer.from_pretrained(named).transform(rows)
    old = SemanticIDIndex.load(index).ids_
    new = RQVAETransformer.from_pretrained(folder).transform(rows)
    assert (renamed == old[:, :3]).sum() > (new == old[:, :3]).sum()


def test_realign_refuses_what_it_cannot_use(
    new_model, rows, model, table, catalogue, tmp_path, capsys
):
    _, folder = new_model
    items, named = table(slice(None), "today.csv"), tmp_path / "named"

    def message(*arguments, status=1):
        return failure(
            capsys, "index", "realign", catalogue, folder, *arguments, status=status
        )

    without_keys = write_rows(tmp_path / "items.npy", rows)
    assert "item_ids must be given" in message(without_keys, "-o", named)
    strangers = table(slice(5), "other.csv", keys=[f"C{i}" for i in range(60)])
    with_keys = ("--item-column", "sku")
    error = message(strangers, "-o", named, *with_keys)
    assert "must have items that" in error
    assert "such as 'C0'" in error
    error = message(items, "-o", folder, *with_keys, "--force")
    assert "is an input of the command" in error
    small(n_layers=2, max_epochs=1).fit(rows).save_pretrained(tmp_path / "two")
    other = (catalogue, tmp_path / "two", items, "-o", named, *with_keys)
    error = failure(capsys, "index", "realign", *other)
    assert f"two must have the levels and the codes of {catalogue}" in error
    numbers = write_frame(tmp_path / "n.csv", frame(rows.astype(float), sku=range(60)))
    named_by_numbers = tmp_path / "numbers.index"
    build = (model, numbers, "-o", named_by_numbers, "--quiet", *with_keys)
    assert run("index", "build", *build) == 0
    error = failure(
        capsys, "index", "realign", named_by_numbers, folder, without_keys, "-o", named
    )
    assert "item_ids must be given" in error
    assert not named.exists()


def test_churn_shows_one_figure_a_line(model, table, catalogue, tmp_path, capsys):
    same = tmp_path / "same.index"
    arguments = (model, table(slice(40), "fewer.csv"), "--item-column", "sku")
    assert run("index", "build", *arguments, "-o", same, "--quiet") == 0
    assert run("index", "churn", catalogue, same) == 0
    lines = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()
    )
    assert lines["n_common"] == "40"
    assert lines["n_removed"] == "10"
    assert lines["n_changed"] == "0, 0, 0, 0"
    assert lines["changed_share"] == "0, 0, 0, 0"

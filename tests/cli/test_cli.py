from __future__ import annotations

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import assert_same_model, small

from sk_rqvae import RQVAETransformer, SemanticIDIndex, __version__
from sk_rqvae.cli import _parameters, main

QUICK = (
    "--max-epochs=1",
    "--hidden-dims=4",
    "--codebook-size=8",
    "--device=cpu",
    "--mixed-precision=no",
)


@pytest.fixture(scope="module")
def items(blobs, tmp_path_factory):
    path = tmp_path_factory.mktemp("items") / "items.npy"
    np.save(path, blobs)
    return path


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fitted.save_pretrained(folder)
    return folder


@pytest.fixture
def run():
    """Run the program and return its exit status."""

    def call(*arguments):
        try:
            return main([str(argument) for argument in arguments])
        except SystemExit as done:
            return done.code

    return call


@pytest.fixture
def error(run, capsys):
    """Run the program, which fails, and return the line that it says."""

    def call(*arguments):
        assert run(*arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        return said.err

    return call


# fit


def test_fit_writes_the_model_that_python_fits(run, items, blobs, tmp_path, capsys):
    options = ("--n-layers=2", "--codebook-size=8,4", "--hidden-dims=4")
    folder = tmp_path / "made" / "model"
    # Sums on a GPU are not rounded alike twice.
    training = ("--max-epochs", 2, "--random-state", 3, "--device=cpu")
    assert run("fit", items, "-o", folder, *options, *training) == 0
    said = capsys.readouterr()
    assert said.out == ""
    expected = RQVAETransformer(
        n_layers=2,
        codebook_size=(8, 4),
        hidden_dims=(4,),
        max_epochs=2,
        random_state=3,
        device="cpu",
    ).fit(blobs)
    fitted = RQVAETransformer.from_pretrained(folder)
    assert_same_model(fitted, expected)
    assert fitted.get_params() == expected.get_params()


def test_fit_does_not_read_a_npy_file_into_memory(run, items, tmp_path, monkeypatch):
    seen = []
    fit = RQVAETransformer.fit
    monkeypatch.setattr(
        RQVAETransformer, "fit", lambda self, X: (seen.append(X), fit(self, X))[1]
    )
    assert run("fit", items, "-o", tmp_path / "model", *QUICK) == 0
    assert isinstance(seen[0], np.memmap)


@pytest.mark.parametrize("name", ["items.csv", "items.npz", "items.parquet"])
def test_fit_gives_the_same_model_from_every_format(run, blobs, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = write_items(tmp_path / name, blobs[:100])
    folder = tmp_path / "model"
    assert run("fit", path, "-o", folder, *QUICK, "--random-state", 0) == 0
    expected = small(max_epochs=1, hidden_dims=(4,), codebook_size=8).fit(blobs[:100])
    assert_same_model(RQVAETransformer.from_pretrained(folder), expected)


def test_a_model_is_replaced_only_by_force(run, error, items, model, tmp_path):
    before = sorted(path.name for path in model.iterdir())
    assert "Pass --force to replace it" in error("fit", items, "-o", model, *QUICK)
    assert sorted(path.name for path in model.iterdir()) == before
    folder = tmp_path / "model"
    assert run("fit", items, "-o", folder, *QUICK) == 0
    assert run("fit", items, "-o", folder, *QUICK, "--n-layers", 1, "--force") == 0
    assert len(RQVAETransformer.from_pretrained(folder).codebooks_) == 1


def test_a_wrong_parameter_is_an_error_before_anything_is_read(error, tmp_path):
    missing = tmp_path / "nothing.npy"
    for option, message in [
        (["--n-layers", 0], "n_layers must be at least 1. Got 0"),
        (["--n-layers", "x"], "argument --n-layers: must be int. Got 'x'"),
        (["--codebook-size", "8,x"], "--codebook-size: must be int. Got 'x'"),
        (["--codebook-mode", "gumbel"], "codebook_mode must be one of"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ]:
        assert message in error("fit", missing, "-o", tmp_path / "model", *option)
    assert list(tmp_path.iterdir()) == []


def test_a_model_needs_a_folder(error, items, tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    said = error("fit", items, "-o", path / "model", *QUICK)
    assert "file is not a folder" in said
    said = error("fit", items, "-o", path, "--force", *QUICK)
    assert "file is not a folder" in said


def test_a_warning_is_one_line(run, tmp_path, capsys):
    np.save(tmp_path / "few.npy", np.eye(4))
    assert run("fit", tmp_path / "few.npy", "-o", tmp_path / "model", *QUICK) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("sk-rqvae: warning: ") for line in lines)


# The parameters among the options


def test_every_parameter_is_an_option_but_those_that_need_python():
    names = set(inspect.signature(RQVAETransformer).parameters)
    options = set(_parameters._parameters())
    assert names - options == {"callbacks", "module", "verbose", "warm_start"}


def test_the_help_has_every_parameter_with_its_default_and_description(run, capsys):
    assert run("fit", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--batch-size INT Rows a step of the optimizer. [256]" in said
    assert "--lr FLOAT Highest learning rate of AdamW." in said
    assert "--hidden-dims INT[,INT] Widths of the encoder's hidden layers" in said
    assert "--rerank, --no-rerank Let transform decode all beams" in said
    assert "One of cosine, step, constant. Course of" in said
    for name in _parameters._parameters():
        assert f"--{name.replace('_', '-')}" in said


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--n-layers=4", {"n_layers": 4}),
        ("--codebook-size=64", {"codebook_size": 64}),
        ("--codebook-size=64,32,16", {"codebook_size": (64, 32, 16)}),
        ("--hidden-dims=512", {"hidden_dims": (512,)}),
        ("--hidden-dims=", {"hidden_dims": ()}),
        ("--codebook-mode=sinkhorn", {"codebook_mode": "sinkhorn"}),
        ("--codebook-mode=ste,sinkhorn", {"codebook_mode": ("ste", "sinkhorn")}),
        ("--max-epochs=none", {"max_epochs": None}),
        ("--max-epochs=7", {"max_epochs": 7}),
        ("--lr=1e-3", {"lr": 1e-3}),
        ("--resident-mb=auto", {"resident_mb": "auto"}),
        ("--resident-mb=0.5", {"resident_mb": 0.5}),
        ("--device=cuda:1", {"device": "cuda:1"}),
        ("--random-state=3", {"random_state": 3}),
        ("--codebook-sim-vq", {"codebook_sim_vq": True}),
        ("--no-rerank", {"rerank": False}),
    ],
)
def test_an_option_is_read_as_what_the_parameter_takes(
    run, items, tmp_path, monkeypatch, option, expected
):
    given = {}

    def only_remember(**parameters):
        given.update(parameters)
        raise ValueError("enough")

    monkeypatch.setattr("sk_rqvae.cli._fit.RQVAETransformer", only_remember)
    assert run("fit", items, "-o", tmp_path / "model", option) == 2
    assert given == expected


# transform


@pytest.mark.parametrize("kind", [".npy", ".npz", ".csv", ".parquet"])
def test_transform_writes_the_ids_that_python_gives(
    run, fitted, items, blobs, model, tmp_path, kind
):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"ids{kind}"
    assert run("transform", model, items, "-o", path) == 0
    np.testing.assert_array_equal(read_codes(path), fitted.transform(blobs))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_without_a_file_ids_go_to_the_standard_output(
    run, fitted, items, blobs, model, capsys
):
    assert run("transform", model, items) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == "item_id,level_1,level_2,level_3"
    codes = fitted.transform(blobs)
    assert lines[1:] == [
        f"{row},{','.join(map(str, code))}" for row, code in enumerate(codes.tolist())
    ]


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_a_table_of_ids_has_the_keys_of_the_items_for_an_index(
    run, fitted, blobs, model, tmp_path, kind
):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    keys = [f"B{row:03d}" for row in range(50)]
    path = write_items(tmp_path / f"items{kind}", blobs[:50], keys)
    ids = tmp_path / f"ids{kind}"
    assert run("transform", model, path, "--item-column", "key", "-o", ids) == 0
    index = SemanticIDIndex.from_table(ids, policy="none")
    assert index.item_ids_.tolist() == keys
    np.testing.assert_array_equal(index.ids_, fitted.transform(blobs[:50]))


def test_rows_are_transformed_in_blocks(
    run, fitted, items, blobs, model, tmp_path, monkeypatch
):
    monkeypatch.setattr("sk_rqvae.cli._arrays.ROWS_AT_ONCE", 7)
    lengths = []
    transform = RQVAETransformer.transform
    monkeypatch.setattr(
        RQVAETransformer,
        "transform",
        lambda self, X: (lengths.append(len(X)), transform(self, X))[1],
    )
    path = tmp_path / "ids.csv"
    assert run("transform", model, items, "-o", path) == 0
    assert max(lengths) == 7
    monkeypatch.undo()
    np.testing.assert_array_equal(read_codes(path), fitted.transform(blobs))


def test_a_file_is_replaced_only_by_force(run, error, items, model, tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text("precious")
    said = error("transform", model, items, "-o", path)
    assert "ids.csv is there already. Pass --force" in said
    assert path.read_text() == "precious"
    assert run("transform", model, items, "-o", path, "--force") == 0
    assert path.read_text().startswith("item_id")


def test_a_transform_that_fails_leaves_what_was_there(error, model, blobs, tmp_path):
    rows = np.concatenate([blobs, np.full((1, 12), np.nan)])
    bad = write_items(tmp_path / "items.csv", rows)
    path = tmp_path / "ids.csv"
    path.write_text("precious")
    said = error("transform", model, bad, "-o", path, "--force")
    assert "items.csv, line 602 must have numbers" in said
    assert path.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids.csv", "items.csv"]


def test_what_cannot_be_transformed_is_an_error_of_one_line(
    error, items, model, tmp_path
):
    narrow = tmp_path / "narrow.npy"
    np.save(narrow, np.ones((3, 2)))
    missing = tmp_path / "nothing"
    for arguments, message in [
        ((model, narrow), "X has 2 features, but RQVAETransformer is expecting 12"),
        ((model, missing / "x.npy"), "x.npy: No such file or directory"),
        ((missing, items), "config.json: No such file or directory"),
        ((model, items, "-o", tmp_path / "ids.txt"), "ids.txt must end in .npy, "),
        ((model, items, "-o", missing / "ids.csv"), "nothing is not a folder"),
        ((model, items, "--device", "tpu"), 'device must be "auto", "cpu"'),
        ((model,), "the following arguments are required: ITEMS"),
    ]:
        assert message in error("transform", *arguments)


# report


def test_report_prints_the_table_of_the_model(run, fitted, items, blobs, model, capsys):
    assert run("report", model, items) == 0
    said = capsys.readouterr()
    assert said.out == f"{fitted.report(blobs)}\n"
    assert said.err == ""


def test_a_report_in_json_has_the_columns_of_the_table(
    run, fitted, items, blobs, model, capsys
):
    assert run("report", model, items, "--json") == 0
    columns = json.loads(capsys.readouterr().out)
    expected = fitted.report(blobs).to_dict()
    assert columns == {name: column.tolist() for name, column in expected.items()}


def test_a_table_is_reported_on_like_an_array(
    run, fitted, blobs, model, tmp_path, capsys
):
    path = write_items(tmp_path / "items.csv", blobs[:50], range(50))
    assert run("report", model, path, "--item-column", "key") == 0
    assert capsys.readouterr().out == f"{fitted.report(blobs[:50])}\n"


# The program


def test_the_help_teaches_a_first_session(run, capsys):
    assert run("--help") == 0
    said = capsys.readouterr().out
    for command in ("fit items", "report model items", "transform model items"):
        assert f"  sk-rqvae {command}" in said


@pytest.mark.parametrize("command", ["fit", "transform", "report"])
def test_the_help_of_a_command_has_examples(run, capsys, command):
    assert run(command, "--help") == 0
    assert f"  sk-rqvae {command} " in capsys.readouterr().out.partition("examples:")[2]


def test_the_version_is_that_of_the_package(run, capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_a_command_is_needed(error):
    assert "the following arguments are required: COMMAND" in error()


def test_an_interrupted_program_says_nothing(run, items, model, monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(RQVAETransformer, "transform", interrupt)
    assert run("transform", model, items, "-o", model / "ids.csv") == 130
    assert capsys.readouterr().err == ""
    assert not (model / "ids.csv").exists()


@pytest.mark.slow
def test_a_reader_that_has_enough_is_no_error_to_speak_of(model, tmp_path):
    path = tmp_path / "many.npy"
    np.save(path, np.zeros((20_000, 12), dtype=np.float32))
    script = "import sys; from sk_rqvae.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", script, "transform", model, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout.readline().strip() == b"item_id,level_1,level_2,level_3"
        program.stdout.close()
        assert program.stderr.read() == b""


def write_items(path, rows, keys=None):
    """Write a matrix to a file of any format, with a column `key` in a table."""
    if path.suffix == ".npz":
        np.savez(path, rows=rows)
        return path
    import pandas as pd

    frame = pd.DataFrame(rows.astype(np.float64), columns=list("abcdefghijkl"))
    if keys is not None:
        frame.insert(3, "key", keys)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def read_codes(path):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        return np.load(path)["codes"]
    return SemanticIDIndex.from_table(path, policy="none", item_type=int).ids_

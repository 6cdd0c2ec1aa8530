from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import QUICK, failure, frame, run, write_frame, write_rows
from conftest import assert_same_model, contents, small

from sk_rqvae import RQVAETransformer


@pytest.fixture(scope="module")
def rows(blobs):
    return blobs[:100]


@pytest.fixture(scope="module")
def items(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("items") / "items.npy"
    np.save(path, rows)
    return path


def test_fit_writes_the_model_that_python_fits(items, rows, tmp_path, capsys):
    folder = tmp_path / "made" / "model"
    options = (*QUICK, "--n-layers=2", "--codebook-size=8,4", "--random-state", 3)
    assert run("fit", items, "-o", folder, *options) == 0
    assert capsys.readouterr().out == ""
    expected = small(
        n_layers=2,
        codebook_size=(8, 4),
        hidden_dims=(4,),
        max_epochs=1,
        random_state=3,
    ).fit(rows)
    fitted = RQVAETransformer.from_pretrained(folder)
    assert_same_model(fitted, expected)
    assert fitted.get_params() == expected.get_params()


def test_fit_does_not_read_a_npy_file_into_memory(items, tmp_path, monkeypatch):
    seen = []
    fit = RQVAETransformer.fit
    monkeypatch.setattr(
        RQVAETransformer, "fit", lambda self, X: (seen.append(X), fit(self, X))[1]
    )
    assert run("fit", items, "-o", tmp_path / "model", *QUICK) == 0
    assert isinstance(seen[0], np.memmap)


def test_fit_gives_the_same_model_from_a_table(rows, tmp_path):
    path = write_rows(tmp_path / "items.csv", rows)
    folder = tmp_path / "model"
    assert run("fit", path, "-o", folder, *QUICK, "--random-state", 0) == 0
    expected = small(max_epochs=1, hidden_dims=(4,), codebook_size=8).fit(rows)
    assert_same_model(RQVAETransformer.from_pretrained(folder), expected)


def test_the_model_keeps_the_names_of_the_columns(rows, tmp_path):
    path = write_frame(tmp_path / "items.csv", frame(rows, sku=range(len(rows))))
    options = ("--item-column", "sku", *QUICK)
    assert run("fit", path, "-o", tmp_path / "model", *options) == 0
    fitted = RQVAETransformer.from_pretrained(tmp_path / "model")
    assert fitted.feature_names_in_.tolist() == list("abcdefghijkl")


def test_fit_ends_with_a_summary_of_one_line(items, rows, tmp_path, capsys):
    folder = tmp_path / "model"
    assert run("fit", items, "-o", folder, *QUICK) == 0
    report = RQVAETransformer.from_pretrained(folder).report(rows)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"sk-rqvae: fitted 100 rows, {report.n_unique} distinct IDs, explained "
        f"variance {report.explained_variance[-1]:.3f}, "
    )
    assert line.endswith(f" s, written to {folder}")


def test_the_card_of_a_model_has_the_report_of_the_rows(items, rows, tmp_path):
    folder = tmp_path / "model"
    assert run("fit", items, "-o", folder, *QUICK) == 0
    report = RQVAETransformer.from_pretrained(folder).report(rows)
    card = (folder / "README.md").read_text()
    assert f"{report.n_unique} different IDs for 100 items." in card
    for explained in report.explained_variance:
        assert f" | {explained:.3f} | " in card


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (MemoryError(), 1)]
)
def test_a_pass_for_the_report_that_does_not_end_leaves_the_model_and_says_so(
    items, rows, tmp_path, monkeypatch, capsys, error, status
):
    def fail(*args):
        raise error

    folder = tmp_path / "model"
    with monkeypatch.context() as patched:
        patched.setattr(RQVAETransformer, "report", fail)
        assert run("fit", items, "-o", folder, *QUICK) == status
    said = capsys.readouterr().err
    assert f"sk-rqvae: the model is complete, in {folder}; only its report" in said
    model = RQVAETransformer.from_pretrained(folder)
    assert len(model.transform(rows)) == 100
    assert not (tmp_path / "model.checkpoint").exists()


def test_a_quiet_fit_prints_nothing(items, tmp_path, capsys):
    assert run("fit", items, "-o", tmp_path / "model", *QUICK, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_a_warning_is_printed_on_one_line(tmp_path, capsys):
    np.save(tmp_path / "few.npy", np.eye(4))
    assert run("fit", tmp_path / "few.npy", "-o", tmp_path / "model", *QUICK, "-q") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("sk-rqvae: warning: ") for line in lines)


# Errors before any work


@pytest.fixture
def no_training(monkeypatch):
    """Fail the test if a fit begins."""

    def fit(self, X):
        raise AssertionError("the command began to work")

    monkeypatch.setattr(RQVAETransformer, "fit", fit)


def test_a_model_is_replaced_only_with_the_option_force(items, tmp_path, capsys):
    folder = tmp_path / "model"
    options = (*QUICK, "--quiet")
    assert run("fit", items, "-o", folder, *options) == 0
    before = contents(folder)
    said = failure(capsys, "fit", items, "-o", folder, *QUICK)
    assert "Pass --force to replace the model" in said
    assert contents(folder) == before
    assert run("fit", items, "-o", folder, *options, "--n-layers=1", "--force") == 0
    assert len(RQVAETransformer.from_pretrained(folder).codebooks_) == 1


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("config", ['{"model_type": "bert"}', "[]", "not JSON"])
def test_the_folder_of_another_program_is_refused_before_training(
    items, tmp_path, capsys, config
):
    path = tmp_path / "config.json"
    path.write_text(config)
    said = failure(capsys, "fit", items, "-o", tmp_path, "--force")
    assert "config.json belongs to another program" in said
    assert path.read_text() == config


@pytest.mark.usefixtures("no_training")
def test_a_model_is_not_written_where_a_file_is(items, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    for output in (path / "model", path):
        said = failure(capsys, "fit", items, "-o", output, "--force")
        assert "file is not a folder" in said


@pytest.mark.usefixtures("no_training")
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a read-only folder")
def test_a_folder_that_cannot_be_written_to_is_refused_before_training(items, capsys):
    said = failure(capsys, "fit", items, "-o", "/proc/model")
    assert "/proc cannot be written to" in said


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--n-layers=0", "n_layers must be at least 1. Got 0"),
        ("--n-layers=x", "'--n-layers': must be an integer. Got 'x'"),
        ("--codebook-size=8,x", "'--codebook-size': must be an integer. Got 'x'"),
        ("--codebook-mode=gumbel", "must be gumbel_softmax or rotation_trick or"),
        ("--no-such-option", "There is no option --no-such-option."),
        ("--nlayers=3", "Did you mean '--n-layers'?"),
    ],
)
def test_a_wrong_option_is_an_error_before_anything_is_read(
    tmp_path, capsys, option, message
):
    missing = tmp_path / "nothing.npy"
    arguments = ("fit", missing, "-o", tmp_path / "model", option)
    assert message in failure(capsys, *arguments, status=2)
    assert list(tmp_path.iterdir()) == []


# Settings in a file


@pytest.fixture
def given(monkeypatch):
    """The parameters of a fit, which is not run."""
    given = {}

    def only_remember(**parameters):
        given.update(parameters)
        raise ValueError("enough")

    monkeypatch.setattr("sk_rqvae.cli.work.fit.RQVAETransformer", only_remember)
    return given


def test_a_settings_file_gives_options_that_the_command_line_overrides(
    given, items, tmp_path, capsys
):
    path = tmp_path / "run.toml"
    path.write_text(
        "[fit]\n"
        f"output = {json.dumps(str(tmp_path / 'model'))}\n"
        "n_layers = 4\ncodebook-size = [16, 8]\nrerank = false\nlr = 1\n"
        'max_epochs = "none"\nseparate_ids = true\n'
        "[transform]\ntokens = true\n"
    )
    assert "enough" in failure(capsys, "fit", items, "--config", path, "--n-layers=2")
    assert given == {
        "n_layers": 2,
        "codebook_size": (16, 8),
        "rerank": False,
        "lr": 1.0,
        "max_epochs": None,
        "separate_ids": True,
    }


def test_options_have_the_names_of_the_command_line_in_a_settings_file(
    fitted, items, tmp_path, capsys
):
    fitted.save_pretrained(tmp_path / "model")
    path = tmp_path / "run.toml"
    path.write_text(
        "[transform]\nformat = 'json'\nquiet = true\n[report]\nformat = 'json'"
    )
    for command in ("transform", "report"):
        assert run(command, tmp_path / "model", items, "--config", path) == 0
        assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_layers = 4", "must have a table for each command, such as [fit]. Got 'n_"),
        ("[fit]\nn_layer = 4", "unknown option 'n_layer'. Did you mean 'n_layers'?"),
        ("[fit]\nitem_colum = 'a'", "'item_colum'. Did you mean 'item_column'?"),
        ("[fit]\nn_layers = [4]", "'--n-layers': must be an integer. Got [4]"),
        ("[fit]\nn_layers = 4.5", "'--n-layers': must be an integer. Got 4.5"),
        ("[fit]\nn_layers = true", "'--n-layers': must be an integer. Got True"),
        ("[fit", "run.toml is not valid TOML"),
        ("a = " + 5000 * "[", "run.toml is not valid TOML"),
    ],
)
def test_a_wrong_settings_file_is_an_error_that_names_the_option(
    items, tmp_path, capsys, text, message
):
    path = tmp_path / "run.toml"
    path.write_text(text)
    arguments = ("fit", items, "-o", tmp_path / "model", "--config", path)
    assert message in failure(capsys, *arguments, status=2)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--n-layers=4", {"n_layers": 4}),
        ("--codebook-size=64", {"codebook_size": 64}),
        ("--codebook-size=64,32,16", {"codebook_size": (64, 32, 16)}),
        ("--hidden-dims=512", {"hidden_dims": (512,)}),
        ("--hidden-dims=", {"hidden_dims": ()}),
        ("--decoder-hidden-dims=none", {"decoder_hidden_dims": None}),
        ("--decoder-hidden-dims=64,32", {"decoder_hidden_dims": (64, 32)}),
        ("--codebook-mode=sinkhorn", {"codebook_mode": "sinkhorn"}),
        ("--codebook-mode=ste,sinkhorn", {"codebook_mode": ("ste", "sinkhorn")}),
        ("--max-epochs=none", {"max_epochs": None}),
        ("--max-epochs=7", {"max_epochs": 7}),
        ("--lr=1e-3", {"lr": 1e-3}),
        ("--resident-mb=auto", {"resident_mb": "auto"}),
        ("--resident-mb=0.5", {"resident_mb": 0.5}),
        ("--separate-ids=auto", {"separate_ids": "auto"}),
        ("--separate-ids=no", {"separate_ids": False}),
        ("--device=cuda:1", {"device": "cuda:1"}),
        ("--random-state=3", {"random_state": 3}),
        ("--codebook-sim-vq", {"codebook_sim_vq": True}),
        ("--rerank=no", {"rerank": False}),
        ("--n-experts=none", {"n_experts": None}),
        ("--n-experts=8", {"n_experts": 8}),
    ],
)
def test_an_option_is_converted_to_the_type_of_its_parameter(
    given, items, tmp_path, capsys, option, expected
):
    failure(capsys, "fit", items, "-o", tmp_path / "model", option)
    assert given == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("codebook_normalize = 1", "'codebook_normalize' must be true or false. Got 1"),
        ("quiet = 2", "'quiet' must be true or false. Got 2"),
        ("affinity = false", "'affinity' must be text. Got False"),
        ("item-column = ['sku']", "'item-column' must be text. Got ['sku']"),
        ("output = 1", "'output' must be text. Got 1"),
    ],
)
def test_a_value_of_another_type_in_a_settings_file_is_named(
    items, tmp_path, capsys, line, message
):
    settings = tmp_path / "run.toml"
    settings.write_text(f"[fit]\n{line}\n")
    arguments = ("fit", items, "-o", tmp_path / "model", "--config", settings)
    assert message in failure(capsys, *arguments, status=2)


def test_absurdly_many_levels_are_refused(items, tmp_path, capsys):
    arguments = ("fit", items, "-o", tmp_path / "model", f"--n-layers={10**20}")
    said = failure(capsys, *arguments, status=2)
    assert "n_layers must be at most 10000" in said


def test_an_empty_path_is_no_folder(items, capsys):
    said = failure(capsys, "fit", items, "-o", "", status=2)
    assert "A path must not be empty" in said

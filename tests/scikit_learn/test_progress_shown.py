from __future__ import annotations

import copy

import numpy as np
import pytest
from conftest import assert_same_model, small
from skorch.callbacks import Callback

from sk_rqvae import RQVAEModule, RQVAETransformer
from sk_rqvae._sklearn.progress_bars import bars_asked_for
from sk_rqvae._training import fit, initialize
from sk_rqvae.cli import main

pytest.importorskip("pty")

from terminal import terminal_as


class WaitForBar(Callback):
    """Pause training until its bar has been drawn."""

    def __init__(self, wait):
        self.wait = wait

    def on_epoch_end(self, net, **kwargs):
        self.wait()


def test_fit_shows_its_epochs(blobs, wait_for_bar, capsys):
    options = {"max_epochs": 3, "callbacks": [WaitForBar(wait_for_bar)]}
    with terminal_as("stderr") as terminal:
        watched = small(verbose=1, **options).fit(blobs)
    assert "training" in terminal.written
    assert "epoch 1/3, reconstruction 0." in terminal.written
    assert_same_model(watched, small(max_epochs=3).fit(blobs))
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "Fitted"]


def test_a_warm_start_counts_its_epochs_from_one(blobs, wait_for_bar):
    model = small(warm_start=True, max_epochs=1).fit(blobs)
    model.set_params(verbose=1, max_epochs=2, callbacks=[WaitForBar(wait_for_bar)])
    with terminal_as("stderr") as terminal:
        model.fit(blobs)
    assert "epoch 1/2" in terminal.written


def test_a_custom_loss_without_a_reconstruction_term_has_a_bar_too(blobs, wait_for_bar):
    class Mine(RQVAEModule):
        def compute_loss(self, output):
            loss = self.reconstruction_loss(output.inputs, output.reconstruction)
            return {"mine": loss}

    options = {"max_epochs": 2, "callbacks": [WaitForBar(wait_for_bar)]}
    with terminal_as("stderr") as terminal:
        small(verbose=1, module=Mine, **options).fit(blobs)
    assert "epoch 1/2" in terminal.written


@pytest.mark.parametrize(
    ("step", "work", "doing"),
    [
        (initialize, "location_and_scale", "set-up"),
        (initialize, "initialize_quantizer", "set-up"),
        (fit, "price_shared_ids", "separation"),
    ],
)
def test_fit_shows_the_stages_before_and_after_training(
    blobs, wait_for_bar, monkeypatch, step, work, doing
):
    original = getattr(step, work)

    def slow(*args, **kwargs):
        wait_for_bar()
        return original(*args, **kwargs)

    monkeypatch.setattr(step, work, slow)
    with terminal_as("stderr") as terminal:
        small(max_epochs=1, verbose=1).fit(blobs)
    assert doing in terminal.written


def test_every_stage_of_a_fit_ends_at_its_total(blobs, bars):
    with terminal_as("stderr"), bars_asked_for():
        small(max_epochs=2).fit(blobs)
    assert [bar.doing for bar in bars] == ["set-up", "training", "separation"]
    set_up, training, separation = bars
    assert training.note.startswith("epoch 2/2, reconstruction 0.")
    assert set_up.n_done == pytest.approx(set_up.total)
    assert training.n_done == training.total == 2
    # The auction may need fewer rounds than it is given.
    assert 0 < separation.n_done < 1.001 * separation.total


def test_transforms_show_their_progress_in_rows(fitted, blobs, bars):
    with terminal_as("stderr"), bars_asked_for():
        fitted.inverse_transform(fitted.transform(blobs))
        fitted.report(blobs)
    assert [(bar.doing, bar.total) for bar in bars] == [
        ("transforming", 600),
        ("reconstructing", 600),
        ("transforming", 600),
        ("scoring", 1800),
    ]
    assert [bar.n_done for bar in bars] == [600, 600, 600, 1800]


def test_transforms_are_quiet_by_default(fitted, blobs, bars):
    with terminal_as("stderr"):
        fitted.inverse_transform(fitted.transform(blobs))
    assert bars == []


# The command line


@pytest.fixture
def folder(blobs, fitted, tmp_path, monkeypatch):
    """A working directory with a matrix and a model that was saved with `verbose`."""
    np.save(tmp_path / "items.npy", blobs)
    np.savetxt(tmp_path / "items.csv", blobs, delimiter=",")
    copy.copy(fitted).set_params(verbose=1).save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)


QUICK = "--max-epochs=2 --hidden-dims=4 --codebook-size=9 --device=cpu"


@pytest.mark.parametrize(
    ("command", "doing"),
    [
        (
            f"fit items.npy -o new {QUICK}",
            ["reading", "set-up", "training", "separation", "transforming", "scoring"],
        ),
        (
            f"fit items.csv -o new {QUICK} --quiet",
            [],
        ),
        ("transform model items.npy -o ids.csv", ["transforming"]),
        ("transform model items.csv -o ids.csv", ["transforming"]),
        ("transform model items.csv", ["transforming"]),
        ("report model items.npy", ["reading", "transforming", "scoring"]),
    ],
)
def test_the_program_shows_bars_for_its_stages(folder, bars, capsys, command, doing):
    with terminal_as("stderr") as terminal:
        assert main(command.split()) == 0
    assert [bar.doing for bar in bars] == doing
    assert terminal.written.count("\n") <= 1  # what was made, no table of epochs
    assert "train_reconstruction" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [f"fit items.npy -o new {QUICK}", "transform model items.npy -o ids.csv"],
)
def test_the_program_writes_no_bars_to_a_pipe(folder, bars, capfd, command):
    assert main(command.split()) == 0
    assert bars == []
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1


def test_ids_written_to_a_terminal_are_not_mixed_with_a_bar(folder, bars):
    with terminal_as("stderr"), terminal_as("stdout") as terminal:
        assert main(["transform", "model", "items.npy"]) == 0
    assert bars == []
    assert terminal.written.startswith("item_id,level_1,level_2,level_3")


def test_the_bar_counts_the_rows_of_a_csv_file(folder, wait_for_bar, monkeypatch):
    transform = RQVAETransformer.transform

    def slow(model, X):
        codes = transform(model, X)
        wait_for_bar()
        return codes

    monkeypatch.setattr(RQVAETransformer, "transform", slow)
    monkeypatch.setattr("sk_rqvae.cli.matrix_files.csv_file.ROWS_AT_ONCE", 300)
    with terminal_as("stderr") as terminal:
        assert main(["transform", "model", "items.csv", "-o", "ids.csv"]) == 0
    assert "300 rows" in terminal.written


class Sink:
    """What some services have in place of a stream."""

    def write(self, text):
        pass

    def flush(self):
        pass


@pytest.mark.parametrize("stream", [None, Sink()], ids=["none", "sink"])
def test_training_reports_to_streams_that_know_no_terminals(blobs, monkeypatch, stream):
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    model = small(max_epochs=1, verbose=1).fit(blobs)
    monkeypatch.undo()
    assert model.n_iter_ == 1


class RecordsTexts(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("layers", ["encoder", None, 0.12345])


def test_a_callback_may_record_a_list_of_anything(blobs, capsys):
    small(max_epochs=1, verbose=1, callbacks=[RecordsTexts()]).fit(blobs)
    assert "encoder None 0.123" in capsys.readouterr().out

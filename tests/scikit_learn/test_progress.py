from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import small
from rich.console import Console
from rich.progress import Progress
from skorch.callbacks import EpochScoring

from sk_rqvae._progress import no_progress
from sk_rqvae._sklearn import progress_bars
from sk_rqvae._sklearn.progress_bars import bars_asked_for, progress_bar

pytest.importorskip("pty")

from terminal import terminal_as

ESCAPE = "\x1b"
HIDE, SHOW = f"{ESCAPE}[?25l", f"{ESCAPE}[?25h"


def a_bar(doing="counting", total=4, shown=True):
    return progress_bar(doing, total, shown=shown)


def test_a_bar_shows_the_progress_and_is_removed_at_the_end(wait_for_bar):
    with terminal_as("stderr") as terminal, a_bar() as advance:
        advance(1, "one")
        wait_for_bar()
    assert "counting" in terminal.written
    assert "25%" in terminal.written
    assert "one" in terminal.written
    assert terminal.written.count(HIDE) == terminal.written.count(SHOW) == 1


def test_a_bar_of_unknown_length_shows_no_percentage(wait_for_bar):
    with terminal_as("stderr") as terminal, a_bar(total=None) as advance:
        advance(1, "one")
        wait_for_bar()
    assert "one" in terminal.written
    assert "%" not in terminal.written


def test_short_work_draws_nothing(monkeypatch):
    monkeypatch.setattr(progress_bars, "_SHOWN_AFTER", 3600.0)
    with terminal_as("stderr") as terminal, a_bar() as advance:
        advance(4)
    assert terminal.written == ""


def test_nothing_is_drawn_unless_asked_for():
    with terminal_as("stderr"):
        with a_bar(shown=False) as advance:
            assert advance is no_progress
        with bars_asked_for(), a_bar(shown=False) as advance:
            assert advance is not no_progress
        with a_bar(shown=False) as advance:
            assert advance is no_progress


def test_nothing_is_drawn_if_standard_error_is_not_a_terminal(capsys):
    with a_bar() as advance:
        assert advance is no_progress


def test_nothing_is_drawn_without_a_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with a_bar() as advance:
        assert advance is no_progress


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_bar_is_removed_when_the_work_fails(wait_for_bar, error):
    with terminal_as("stderr") as terminal:
        with pytest.raises(error), a_bar():  # noqa: PT012
            wait_for_bar()
            raise error
        with a_bar("the next"):
            wait_for_bar()
    assert "the next" in terminal.written
    assert terminal.written.count(HIDE) == terminal.written.count(SHOW) == 2


def test_a_bar_within_another_is_not_drawn():
    with terminal_as("stderr"), a_bar("outer"), a_bar("inner") as advance:
        assert advance is no_progress


def test_a_bar_leaves_the_terminal_to_another_display_of_rich():
    with (
        terminal_as("stderr"),
        Progress(console=Console(stderr=True)),
        a_bar() as advance,
    ):
        assert advance is no_progress


def test_output_during_a_bar_still_arrives_where_it_was_sent(wait_for_bar, capsys):
    with terminal_as("stderr") as terminal, a_bar():
        wait_for_bar()
        sys.stdout.write("to a pipe\n")
        sys.stderr.write("to the terminal\n")
    assert capsys.readouterr().out == "to a pipe\n"
    assert "to the terminal" in terminal.written
    assert "pipe" not in terminal.written


# Many at once


def test_threads_that_transform_at_the_same_time_agree(blobs, monkeypatch):
    monkeypatch.setattr(progress_bars, "_SHOWN_AFTER", 0.0)
    rows = np.tile(blobs, (8, 1))
    model = small(max_epochs=1).fit(blobs)
    expected = model.transform(rows)
    model.set_params(verbose=1)
    with terminal_as("stderr") as terminal, ThreadPoolExecutor(4) as threads:
        for codes in threads.map(model.transform, [rows] * 12):
            np.testing.assert_array_equal(codes, expected)
    assert terminal.written.count(HIDE) == terminal.written.count(SHOW) > 0


def test_chunks_of_dask_draw_no_bars(blobs, bars):
    da = pytest.importorskip("dask.array")
    model = small(max_epochs=1).fit(blobs).set_params(verbose=1)
    with terminal_as("stderr"):
        lazy = model.transform(da.from_array(blobs, chunks=(200, -1)))
        codes = lazy.compute()
        assert bars == []
        np.testing.assert_array_equal(codes, model.transform(blobs))
    assert len(bars) == 1


# Pipes


def explained(net, X, y=None):
    return float(1 - net.history[-1, "train_reconstruction"])


def test_the_table_has_colours_only_on_a_terminal(blobs, capsys):
    scoring = EpochScoring(explained, name="explained", use_caching=False)
    model = small(early_stopping=True, verbose=1, callbacks=[scoring], max_epochs=2)
    model.fit(blobs)
    assert ESCAPE not in capsys.readouterr().out
    with terminal_as("stdout") as terminal:
        model.fit(blobs)
    assert ESCAPE in terminal.written


WORK = """
import numpy as np
from sk_rqvae import RQVAETransformer
from sk_rqvae._progress import no_progress
from sk_rqvae._sklearn import progress_bars

progress_bars._SHOWN_AFTER = 0.0
X = np.random.default_rng(0).normal(size=(600, 4))
RQVAETransformer(
    codebook_size=16,
    hidden_dims=(4,),
    decoder_hidden_dims=(4,),
    max_epochs=3,
    random_state=0,
    verbose=1,
).fit(X).transform(X)
"""


@pytest.mark.slow
def test_a_pipe_gets_the_table_and_nothing_else():
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True)
    header, rule, *rows = done.stdout.splitlines()
    assert header.split()[0] == "epoch"
    assert set(rule) == {"-", " "}
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "Fitted"]
    assert done.stderr == ""


def test_the_table_is_piped_while_bars_are_on_the_terminal(blobs, monkeypatch, capsys):
    monkeypatch.setattr(progress_bars, "_SHOWN_AFTER", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    model = small(max_epochs=3, verbose=1)
    with terminal_as("stderr") as terminal:
        model.fit(blobs).transform(blobs)
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 6
    assert ESCAPE not in table
    assert "set-up" in terminal.written
    assert "train_reconstruction" not in terminal.written
    assert terminal.written.count(HIDE) == terminal.written.count(SHOW) > 0

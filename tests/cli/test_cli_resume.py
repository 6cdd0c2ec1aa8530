from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from command_line import QUICK, failure, frame, run, write_frame
from conftest import assert_same_model
from scipy.sparse import coo_array
from skorch.callbacks import Callback

from sk_rqvae import RQVAETransformer
from sk_rqvae.cli import signals
from sk_rqvae.cli.work import training_checkpoint

OPTIONS = (*QUICK[1:], "--max-epochs=6")


@pytest.fixture
def items(blobs, tmp_path):
    np.save(tmp_path / "items.npy", blobs[:200])
    return tmp_path / "items.npy"


@pytest.fixture(autouse=True)
def a_checkpoint_every_epoch(monkeypatch):
    monkeypatch.setattr(training_checkpoint, "SECONDS_BETWEEN", 0.0)


@pytest.fixture
def interrupted(monkeypatch):
    """Run a fit and end it by a signal in the middle of an epoch."""

    def call(*arguments, in_epoch, number=signal.SIGTERM):
        on_batch_begin = Callback.on_batch_begin

        def interrupt(self, net, *args, **kwargs):
            if len(net.history) == in_epoch:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Callback, "on_batch_begin", interrupt)
        # The command then ignores all of them until its process ends.
        before = {each: signal.getsignal(each) for each in signals.HANDLED}
        # A shell starts programs in the background with signals ignored.
        signal.signal(number, signal.SIG_DFL)
        try:
            with pytest.raises(SystemExit) as done:
                run("fit", *arguments)
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
        monkeypatch.setattr(Callback, "on_batch_begin", on_batch_begin)
        assert done.value.code == 128 + number

    return call


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--early-stopping", "--n-iter-no-change=3"),
        ("--codebook-mode=gumbel_softmax", "--dropout=0.1"),
        ("--resident-mb=0.001",),
    ],
    ids=["defaults", "early stopping", "random training", "streamed"],
)
def test_a_resumed_fit_gives_the_model_of_a_fit_without_interruption(
    items, tmp_path, interrupted, options
):
    arguments = (*OPTIONS, *options, "--random-state=3", "--quiet")
    whole, model = tmp_path / "whole", tmp_path / "model"
    assert run("fit", items, "-o", whole, *arguments) == 0
    interrupted(items, "-o", model, *arguments, in_epoch=4)
    assert not model.exists()
    assert run("fit", items, "-o", model, "--resume", "--quiet") == 0
    resumed = RQVAETransformer.from_pretrained(model)
    expected = RQVAETransformer.from_pretrained(whole)
    assert_same_model(resumed, expected)
    assert resumed.get_params() == expected.get_params()
    assert resumed.n_iter_ == expected.n_iter_
    assert not (tmp_path / "model.checkpoint").exists()


def test_a_fit_without_a_seed_can_be_resumed_too(items, tmp_path, interrupted, capsys):
    folder = tmp_path / "model"
    interrupted(items, "-o", folder, *OPTIONS, in_epoch=3, number=signal.SIGINT)
    assert "--resume" in capsys.readouterr().err
    assert run("fit", items, "-o", folder, "--resume", "--quiet") == 0
    model = RQVAETransformer.from_pretrained(folder)
    assert model.n_iter_ == 6
    assert model.random_state is None


def test_the_line_that_says_how_to_continue_has_all_options_of_the_tables(
    blobs, tmp_path, interrupted, capsys
):
    names = list("abcdefghijkl")
    table = frame(blobs[:200], sku=[f"B{row}" for row in range(200)], note="x")
    items = write_frame(tmp_path / "the items.csv", table)
    weights = tmp_path / "weights.csv"
    weights.write_text("item,weight\nB1,2\nB2,1\nB3,1\nB4,1\n")
    settings = tmp_path / "run.toml"
    settings.write_text(
        f"[fit]\nitem_column = 'sku'\ncolumns = {names[::-1]}\nheader = true\n"
        f"sample_weight = {json.dumps(str(weights))}\n"
    )
    folder = tmp_path / "model"
    options = (*OPTIONS, "--codebook-size=2", "--quiet", "--config", settings)
    interrupted(items, "-o", folder, *options, in_epoch=3)
    said = capsys.readouterr().err
    command = said.partition("to continue: sk-rqvae ")[2].splitlines()[0]
    assert run(*shlex.split(command)) == 0
    model = RQVAETransformer.from_pretrained(folder)
    assert model.n_iter_ == 6
    assert model.feature_names_in_.tolist() == names[::-1]


def test_a_fit_that_ended_with_its_last_epoch_resumes_at_the_end(
    items, tmp_path, monkeypatch
):
    folder = tmp_path / "model"

    def fail(*args):
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(RQVAETransformer, "save_pretrained", fail)
        assert run("fit", items, "-o", folder, *OPTIONS, "-q", "--random-state=3") == 1
    assert run("fit", items, "-o", folder, "--resume", "--quiet") == 0
    whole = tmp_path / "whole"
    assert run("fit", items, "-o", whole, *OPTIONS, "-q", "--random-state=3") == 0
    assert_same_model(
        RQVAETransformer.from_pretrained(folder),
        RQVAETransformer.from_pretrained(whole),
    )


def test_a_checkpoint_of_other_rows_or_parameters_is_refused(
    items, tmp_path, interrupted, capsys
):
    folder = tmp_path / "model"
    arguments = (items, "-o", folder)
    interrupted(*arguments, *OPTIONS, in_epoch=3)
    said = failure(capsys, "fit", *arguments, *OPTIONS)
    assert "Pass --resume to continue it, or --force to start anew" in said
    said = failure(capsys, "fit", *arguments, "--resume", "--n-layers=2", status=2)
    assert "--n-layers must be as in the interrupted fit" in said
    np.save(items, np.load(items)[:-1])
    said = failure(capsys, "fit", *arguments, "--resume")
    assert "model.checkpoint is of a training on other rows" in said
    (tmp_path / "model.checkpoint").write_bytes(b"not a checkpoint")
    said = failure(capsys, "fit", *arguments, "--resume")
    assert "model.checkpoint is not a checkpoint, or damaged" in said
    torch.save({"version": RQVAETransformer()}, tmp_path / "model.checkpoint")
    said = failure(capsys, "fit", *arguments, "--resume")
    assert "holds more than tensors and plain values" in said
    assert "weights_only" not in said
    assert run("fit", *arguments, *OPTIONS, "--force", "--quiet") == 0
    assert not (tmp_path / "model.checkpoint").exists()


def test_other_last_rows_or_tables_are_those_of_another_training():
    rows, weights = np.zeros((3000, 2)), np.ones(3000)
    pairs = coo_array(([1.0], ([0], [1])), shape=(3000, 3000))
    changed = rows.copy()
    changed[-1] = 1
    inputs = [
        (rows, {}),
        (changed, {}),
        (rows, {"sample_weight": weights}),
        (rows, {"sample_weight": 2 * weights}),
        (rows, {"affinity": pairs}),
        (rows, {"affinity": (2 * pairs).tocoo()}),
    ]
    digests = [training_checkpoint.digest_of(*each) for each in inputs]
    assert len(set(digests)) == len(digests)
    again = training_checkpoint.digest_of(rows.copy(), {"affinity": pairs.copy()})
    assert again == digests[4]


def test_a_checkpoint_with_any_part_missing_or_changed_is_refused_by_name(
    items, tmp_path, interrupted, capsys
):
    arguments = (items, "-o", tmp_path / "model", "--resume")
    path = tmp_path / "model.checkpoint"
    interrupted(items, "-o", tmp_path / "model", *OPTIONS, in_epoch=3)
    whole = torch.load(path, weights_only=True)
    for name in whole:
        for changed in (
            {key: value for key, value in whole.items() if key != name},
            *(whole | {name: value} for value in (None, "x", [1], {"x": 1}, -1)),
        ):
            torch.save(changed, path)
            said = failure(capsys, "fit", *arguments)
            assert "model.checkpoint" in said
            assert "Error(" not in said
    torch.save(whole, path)
    assert run("fit", *arguments) == 0


def test_without_a_checkpoint_a_resumed_fit_starts_from_the_beginning(
    items, tmp_path, capsys
):
    folder = tmp_path / "model"
    assert run("fit", items, "-o", folder, *OPTIONS, "--resume") == 0
    said = capsys.readouterr().err
    assert "starts from the beginning, with the parameters of this command" in said
    assert RQVAETransformer.from_pretrained(folder).n_iter_ == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_fit_interrupted_before_its_first_checkpoint_says_that_there_is_none(
    items, tmp_path, interrupted, capsys, monkeypatch, number
):
    monkeypatch.setattr(training_checkpoint, "SECONDS_BETWEEN", 1e9)
    command = (items, "-o", tmp_path / "model", *OPTIONS, "--quiet")
    interrupted(*command, in_epoch=3, number=number)
    said = capsys.readouterr().err
    assert "there is no checkpoint yet" in said
    assert said.count("\n") == 1


def test_an_interrupted_fit_with_force_does_not_continue_an_earlier_one(
    items, tmp_path, interrupted, capsys, monkeypatch
):
    folder = tmp_path / "model"
    interrupted(items, "-o", folder, *OPTIONS, in_epoch=3)
    monkeypatch.setattr(training_checkpoint, "SECONDS_BETWEEN", 1e9)
    capsys.readouterr()
    interrupted(items, "-o", folder, *OPTIONS, "--n-layers=4", "--force", in_epoch=3)
    assert "to continue" not in capsys.readouterr().err
    assert not (tmp_path / "model.checkpoint").exists()


def test_the_line_that_says_how_to_continue_replaces_a_model_too(
    items, tmp_path, interrupted, capsys
):
    folder = tmp_path / "model"
    assert run("fit", items, "-o", folder, *OPTIONS) == 0
    capsys.readouterr()
    interrupted(items, "-o", folder, *OPTIONS, "--n-layers=4", "--force", in_epoch=3)
    said = capsys.readouterr().err
    command = said.partition("to continue: sk-rqvae ")[2].splitlines()[0]
    assert run(*shlex.split(command)) == 0
    assert RQVAETransformer.from_pretrained(folder).n_layers == 4


def test_a_fit_continues_if_saving_left_nothing_but_its_lock(
    items, tmp_path, interrupted
):
    folder = tmp_path / "model"
    interrupted(items, "-o", folder, *OPTIONS, in_epoch=3)
    folder.mkdir()
    (folder / ".config.json.lock").touch()
    assert run("fit", items, "-o", folder, "--resume", "--quiet") == 0


def test_the_checkpoint_of_the_current_folder_has_its_name(
    items, tmp_path, interrupted, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    interrupted(items, "-o", ".", *OPTIONS, in_epoch=3)
    assert (tmp_path / "here.checkpoint").exists()


def test_the_command_to_continue_can_be_pasted_whatever_the_names(
    blobs, tmp_path, interrupted, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.save("-the  items.npy", blobs[:200])
    interrupted(*OPTIONS, "-o", "the  model", "--", "-the  items.npy", in_epoch=3)
    said = capsys.readouterr().err
    command = said.partition("to continue: sk-rqvae ")[2].splitlines()[0]
    assert run(*shlex.split(command)) == 0
    assert RQVAETransformer.from_pretrained("the  model").n_iter_ == 6


SWALLOWS = """
import os, signal
os.kill(os.getpid(), signal.SIGTERM)
for _ in range(9):
    pass
raise ImportError
"""


@pytest.mark.slow
def test_no_import_swallows_a_signal(items, tmp_path):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "gmpy2.py").write_text(SWALLOWS)
    # mpmath, which torch imports, hides whatever is raised when it imports gmpy2.
    command = [sys.executable, "-m", "sk_rqvae", "fit", str(items), *QUICK]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "model")],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "fake")},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 128 + signal.SIGTERM


def test_names_of_columns_with_commas_need_the_settings_file_again(
    blobs, tmp_path, interrupted, capsys
):
    names = [f"column,{number}" for number in range(12)]
    table = frame(blobs[:200]).set_axis(names, axis=1)
    items = write_frame(tmp_path / "items.csv", table)
    settings = tmp_path / "run.toml"
    settings.write_text(f"[fit]\ncolumns = {names[:3]}\n")
    folder = tmp_path / "model"
    interrupted(items, "-o", folder, *OPTIONS, "--config", settings, in_epoch=3)
    said = capsys.readouterr().err
    command = said.partition("to continue: sk-rqvae ")[2].splitlines()[0]
    assert run(*shlex.split(command)) == 0
    model = RQVAETransformer.from_pretrained(folder)
    assert model.feature_names_in_.tolist() == names[:3]


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def test_a_checkpoint_with_any_byte_changed_or_cut_off_is_refused_or_the_same(
    items, tmp_path, interrupted
):
    path = tmp_path / "model.checkpoint"
    interrupted(items, "-o", tmp_path / "model", *OPTIONS, in_epoch=3)
    content = path.read_bytes()
    whole = saved(training_checkpoint.read_checkpoint(path))
    rng = np.random.default_rng(0)
    cut = [content[:length] for length in rng.integers(0, len(content), 50)]
    changed = []
    for position in rng.integers(0, len(content), 200):
        changed.append(bytearray(content))
        changed[-1][position] ^= 1 << rng.integers(8)
    n_refused = 0
    for damaged in cut + changed:
        path.write_bytes(damaged)
        try:
            state = training_checkpoint.read_checkpoint(path)
        except ValueError as error:
            n_refused += "model.checkpoint" in str(error)
        else:
            assert saved(state) == whole
    assert n_refused > 150


@pytest.mark.parametrize("others", [(), ("--early-stopping",)])
def test_a_checkpoint_from_before_there_were_names_of_codes_is_resumed(
    items, tmp_path, interrupted, others
):
    folder = tmp_path / "model"
    path = tmp_path / "model.checkpoint"
    interrupted(items, "-o", folder, *OPTIONS, *others, in_epoch=3)
    state = training_checkpoint.read_checkpoint(path)
    del state["tensors"]["code_names"]
    for stopping in state["stopping"]:
        stopping["dynamic_threshold_"] = -1e9  # no later epoch is better
        for name in ("code_names", "quantizer.idle_rows"):
            del stopping["best_model_weights_"][name]
    assert len(state["stopping"]) == len(others)
    torch.save(state, path)
    assert run("fit", items, "-o", folder, "--resume", "--quiet") == 0


def test_a_checkpoint_with_a_part_marked_as_a_folder_is_refused(
    items, tmp_path, interrupted
):
    path = tmp_path / "model.checkpoint"
    interrupted(items, "-o", tmp_path / "model", *OPTIONS, in_epoch=3)
    content = path.read_bytes()
    parts = [match.start() for match in re.finditer(b"PK\x01\x02", content)]
    assert len(parts) > 5
    for part in parts:
        damaged = bytearray(content)
        damaged[part + 38] |= 0x10  # in the attributes of the directory of the archive
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.checkpoint is not a checkpoint"):
            training_checkpoint.read_checkpoint(path)

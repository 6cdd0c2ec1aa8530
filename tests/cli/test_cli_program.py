from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from command_line import failure, frame, run, write_frame, write_rows
from conftest import small

from sk_rqvae import RQVAEModule, RQVAETransformer, SemanticIDIndex, __version__
from sk_rqvae._training.out_of_memory import TRAINING

COMMANDS = ["fit", "transform", "report", "explore", "demo", "completion"]


@pytest.fixture(scope="module")
def items(blobs, tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("items") / "items.npy", blobs[:80])


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fitted.save_pretrained(folder)
    return folder


# report


def test_report_prints_the_table_of_the_model(fitted, items, blobs, model, capsys):
    assert run("report", model, items) == 0
    assert capsys.readouterr() == (f"{fitted.report(blobs[:80])}\n", "")


def test_a_report_in_json_has_the_columns_of_the_table(
    fitted, items, blobs, model, capsys
):
    assert run("report", model, items, "--format", "json") == 0
    columns = json.loads(capsys.readouterr().out)
    expected = fitted.report(blobs[:80]).to_dict()
    assert columns == {name: column.tolist() for name, column in expected.items()}


# Help


def test_the_help_shows_the_commands_of_a_first_session(capsys):
    assert run("--help") == 0
    said = capsys.readouterr().out
    for command in ("demo", "fit items", "report model items", "transform model items"):
        assert f"  sk-rqvae {command}" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_fits_a_terminal_and_ends_with_examples(capsys, command):
    assert run(command, "--help") == 0
    said = capsys.readouterr().out
    assert f"  sk-rqvae {command}" in said.partition("Examples:")[2]
    assert max(map(len, said.splitlines())) <= 80
    assert "NONE[" not in said


def test_the_help_groups_the_parameters_of_fit(capsys):
    assert run("fit", "-h") == 0
    said = capsys.readouterr().out
    titles = [line for line in said.splitlines() if line.endswith(":")]
    for title in ("Model:", "Quantizer:", "Loss:", "Training:", "Search:"):
        assert title in titles


def test_the_help_imports_neither_torch_nor_numpy(fresh_python):
    script = """
import contextlib, io, sys
from sk_rqvae.cli import main
silent = io.StringIO()
with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
    for arguments in (["--help"], ["fit", "--help"], ["fit", "--what"]):
        main(arguments)
print([name for name in ("torch", "sklearn", "numpy") if name in sys.modules])
"""
    assert fresh_python(script) == "[]"


def test_the_version_is_that_of_the_package(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_a_mistyped_command_is_an_error_with_a_suggestion(capsys):
    assert "Did you mean 'transform'?" in failure(capsys, "transfrom", status=2)


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_the_completion_script_names_the_program(capsys, shell):
    assert run("completion", shell) == 0
    assert "_SK_RQVAE_COMPLETE" in capsys.readouterr().out


def test_options_and_their_values_are_completed(monkeypatch, capsys):
    monkeypatch.setenv("_SK_RQVAE_COMPLETE", "bash_complete")
    for typed, expected in [
        ("tr", "transform"),
        ("fit --codeb", "--codebook-size"),
        ("fit --codebook-mode ste,sink", "ste,sinkhorn"),
    ]:
        monkeypatch.setenv("COMP_WORDS", f"sk-rqvae {typed}")
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
        run()
        assert expected in capsys.readouterr().out


# Untrusted text


def test_control_sequences_in_a_header_do_not_reach_the_terminal(
    blobs, model, tmp_path, capsys
):
    table = frame(blobs[:3]).rename(columns={"a": "\x1b]0;owned\x07"})
    path = write_frame(tmp_path / "items.csv", table.astype({"b": str}).assign(b="x"))
    said = failure(capsys, "transform", model, path, "--item-column", "nothing")
    assert "\x1b" not in said
    assert r"\x1b]0;owned\x07" in said


# Memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_out_of_memory_is_one_line_that_names_options(
    items, tmp_path, capsys, monkeypatch, error
):
    def fail(self, X):
        raise error

    monkeypatch.setattr(RQVAETransformer, "fit", fail)
    said = failure(capsys, "fit", items, "-o", tmp_path / "model")
    names = ", ".join(TRAINING.names)
    assert f"Out of memory. Lower one of these parameters of fit: {names}." in said


def test_out_of_memory_in_encoding_names_what_encoding_depends_on(
    blobs, tmp_path, capsys, monkeypatch
):
    small(max_epochs=1).fit(blobs).save_pretrained(tmp_path / "model")
    np.save(tmp_path / "items.npy", blobs)

    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(RQVAEModule, "find", fail)
    options = ("-o", tmp_path / "ids.csv", "--quiet")
    command = ("transform", tmp_path / "model", tmp_path / "items.npy", *options)
    said = failure(capsys, *command)
    assert "n_beams=5" in said
    assert "batch_size" not in said


# Interruption


def test_an_interrupted_program_prints_nothing_and_leaves_no_file(
    items, model, tmp_path, monkeypatch, capsys
):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(RQVAETransformer, "transform", interrupt)
    assert run("transform", model, items, "-o", tmp_path / "ids.csv") == 130
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_terminated_program_leaves_no_file(
    items, model, tmp_path, monkeypatch, capsys
):
    def terminate(self, X):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was ignored")

    monkeypatch.setattr(RQVAETransformer, "transform", terminate)
    with every_signal_restored(), pytest.raises(SystemExit) as done:
        run("transform", model, items, "-o", tmp_path / "ids.csv")
    assert done.value.code == 143
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def every_signal_restored():
    """Handlers are as before after a block, in which a program may end."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    numbers += [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
    # A shell starts programs in the background with signals ignored.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_program_that_ends_as_usual_restores_the_handlers_of_signals(model, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    run("report", model, tmp_path / "missing.npy")
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_impatient_signals_do_not_disturb_the_clean_up(
    items, model, tmp_path, monkeypatch
):
    ended = []

    def terminate(self, X):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            ended.append(True)

    monkeypatch.setattr(RQVAETransformer, "transform", terminate)
    with every_signal_restored(), pytest.raises(SystemExit) as done:
        run("transform", model, items, "-o", tmp_path / "ids.csv")
    assert done.value.code == 130
    assert ended == [True]
    assert list(tmp_path.iterdir()) == []


def test_a_signal_during_imports_ends_the_program_at_once():
    script = """
import os, signal
from sk_rqvae.cli.signals import clean_up_on_signals, exit_on_signals
with exit_on_signals():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("an import that aborts, or goes on")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, b"", b"")


@pytest.mark.parametrize(
    ("work", "command"),
    [
        ("transform.transform", "transform MODEL ITEMS"),
        ("report.report", "report MODEL ITEMS"),
        ("explore.explore", "explore MODEL ITEMS -o OUT.html"),
        ("fit.fit", "fit ITEMS -o OUT"),
        ("demo.demo", "demo"),
        ("index_growth.build_index", "index build MODEL ITEMS -o OUT"),
        ("index_growth.add_to_index", "index add INDEX MODEL ITEMS"),
        ("index_queries.remove_items", "index remove INDEX 1"),
        ("index_queries.look_up", "index lookup INDEX 1"),
        ("index_queries.export_index", "index export INDEX"),
        ("index_queries.summarize", "index summary INDEX"),
    ],
)
def test_a_signal_during_the_work_lets_it_clean_up(
    items, model, catalogue, tmp_path, monkeypatch, work, command
):
    def end(*args, **kwargs):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(f"sk_rqvae.cli.work.{work}", end)
    paths = {"MODEL": model, "ITEMS": items, "INDEX": catalogue}
    words = [paths.get(word, word) for word in command.split()]
    words = [tmp_path / word if str(word).startswith("OUT") else word for word in words]
    monkeypatch.setattr(os, "_exit", pytest.fail)
    with every_signal_restored(), pytest.raises(SystemExit) as done:
        run(*words)
    assert done.value.code == 143


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_ends_a_program_except_under_nohup(
    items, model, tmp_path, monkeypatch
):
    transform = RQVAETransformer.transform

    def hang_up(self, X):
        signal.raise_signal(signal.SIGHUP)
        return transform(self, X)

    monkeypatch.setattr(RQVAETransformer, "transform", hang_up)
    command = ("transform", model, items, "-o", tmp_path / "ids.csv")
    with (
        every_signal_restored(),
        handled(signal.SIGHUP, signal.SIG_DFL),
        pytest.raises(SystemExit) as done,
    ):
        run(*command)
    assert done.value.code == 128 + signal.SIGHUP
    assert list(tmp_path.iterdir()) == []
    with handled(signal.SIGHUP, signal.SIG_IGN):
        assert run(*command) == 0


@contextmanager
def handled(number, handler):
    """Another handler of a signal in a block."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.slow
def test_a_pipe_that_is_closed_early_is_no_error(model, tmp_path):
    path = write_rows(tmp_path / "many.npy", np.zeros((9_000, 12), dtype=np.float32))
    script = "import sys; from sk_rqvae.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", script, "transform", model, path, "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout.readline().strip() == b"item_id,level_1,level_2,level_3"
        program.stdout.close()
        assert program.stderr.read() == b""


def run_in_shell(words):
    """Run the program with redirections."""
    return subprocess.run(
        ["sh", "-c", f"{sys.executable} -m sk_rqvae {words}"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "catalogue.index"
    SemanticIDIndex().fit([[0, 1], [2, 3]]).save(path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such shell")
def test_closed_standard_streams_are_no_defect(catalogue):
    done = run_in_shell(f"index export {catalogue} >&-")
    assert done.returncode == 1
    assert done.stderr == "sk-rqvae: error: Standard output is closed.\n"
    done = run_in_shell(f"index summary {catalogue} >&-")
    assert done.stderr == "sk-rqvae: error: Standard output is closed.\n"
    done = run_in_shell("completion bash >&-")
    assert done.stderr == "sk-rqvae: error: Standard output is closed.\n"
    done = run_in_shell(f"index lookup {catalogue} --by key - <&-")
    assert done.returncode == 1
    assert (
        done.stderr == "sk-rqvae: error: Standard input must have a line. Got none.\n"
    )
    table = catalogue.with_name("ids.csv")
    done = run_in_shell(f"index export {catalogue} -o {table} <&- >&- 2>&-")
    assert done.returncode == 0
    assert table.read_text() == "item_id,level_1,level_2,suffix\n0,0,1,0\n1,2,3,0\n"


def test_work_with_torch_needs_no_standard_streams(items, model, tmp_path, monkeypatch):
    ids = tmp_path / "ids.csv"
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    codes = [run("transform", model, items, "-o", ids), run("transform", model, items)]
    assert sys.stdout is None
    monkeypatch.undo()
    assert codes == [0, 1]
    assert ids.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_below_standard_output_is_an_error_that_names_it(catalogue):
    commands = [f"index export {catalogue}", f"index summary {catalogue}"]
    for command in [*commands, "--version", "--help", "completion bash"]:
        done = run_in_shell(f"{command} > /dev/full")
        assert done.returncode == 1
        error = "standard output: No space left on device"
        assert done.stderr == f"sk-rqvae: error: {error}\n"


# demo


def test_the_demo_writes_ids_beside_the_items(blobs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(RQVAETransformer, "fit", _quick_fit(RQVAETransformer.fit))
    path = write_rows(tmp_path / "items.npy", blobs[:80])
    options = ("--codebook-size", 8, "--n-layers", 2)
    assert run("demo", path, *options) == 0
    ids = np.load(tmp_path / "items-ids.npy")
    assert ids.shape == (80, 2)
    assert "80 IDs written to" in capsys.readouterr().out


def test_the_demo_replaces_ids_only_with_the_option_force(blobs, tmp_path, capsys):
    path = write_rows(tmp_path / "items.npy", blobs[:80])
    (tmp_path / "items-ids.npy").write_text("precious")
    said = failure(capsys, "demo", path)
    assert "items-ids.npy exists. Pass --force to replace it" in said
    assert (tmp_path / "items-ids.npy").read_text() == "precious"
    said = failure(capsys, "demo", path, "-o", path, "--force")
    assert "is an input of the command" in said


def test_the_demo_of_nouns_shows_which_share_a_prefix(capsys, monkeypatch):
    monkeypatch.setattr(RQVAETransformer, "fit", _quick_fit(RQVAETransformer.fit))
    monkeypatch.setattr(
        "sk_rqvae.cli.work.demo.load_wordnet_nouns", _few(load_few_nouns())
    )
    assert run("demo", "--codebook-size", 8, "--n-layers", 2) == 0
    assert "Nouns that share the first two codes" in capsys.readouterr().out
    assert run("demo", "--codebook-size", 8, "--n-layers", 1) == 0
    assert "Nouns that share a code" in capsys.readouterr().out


def load_few_nouns():
    from sk_rqvae.datasets import load_wordnet_nouns

    nouns = load_wordnet_nouns()
    nouns.data, nouns.text = nouns.data[:60], nouns.text[:60]
    return nouns


def _few(nouns):
    return lambda: nouns


def _quick_fit(fit):
    def quick_fit(self, X, y=None):
        quick = {"max_epochs": 1, "hidden_dims": (4,), "device": "cpu"}
        return fit(self.set_params(**quick), X)

    return quick_fit


@pytest.mark.parametrize("arguments", [(), ("index",)])
def test_without_a_command_the_help_is_printed_as_it_is(arguments, capsys):
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert run(*arguments, "--help") == 0
    assert said == capsys.readouterr().out


def test_the_demo_checks_its_options_as_fit_does(items, tmp_path, capsys):
    said = failure(capsys, "demo", "--n-layers=0", status=2)
    assert "n_layers must be at least 1" in said
    said = failure(capsys, "demo", tmp_path / "rows.csv", status=2)
    assert "rows.csv must end in .npy" in said

from __future__ import annotations

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("reranking", ["missing"]),
        ("behaviour", ["missing"]),
        ("place_tables", ["missing", "results"]),
        ("make_wordnet_nouns", ["--out", "new.npz", "--data-noun", "missing"]),
    ],
)
def test_a_file_that_does_not_exist_is_refused_in_one_line(
    script, arguments, monkeypatch, capsys
):
    main = import_module(script).main
    monkeypatch.setattr("sys.argv", [script, *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("must be a file that exists. Got missing")


def test_a_folder_that_does_not_exist_is_refused_in_one_line(monkeypatch, capsys):
    main = import_module("memory").main
    monkeypatch.setattr("sys.argv", ["memory", "--folder", "missing"])
    with pytest.raises(SystemExit):
        main()
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("must be a folder that exists. Got missing")

"""The benchmark of versions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import versions
from sk_rqvae.datasets import load_wordnet_nouns


def _has_history() -> bool:
    if shutil.which("git") is None:
        return False
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "HEAD"], cwd=versions.ROOT, capture_output=True
    )
    return found.returncode == 0


needs_history = pytest.mark.skipif(not _has_history(), reason="needs Git's history")


@needs_history
def test_a_commit_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match="no-such-commit"):
        versions.extract_package("no-such-commit", tmp_path)


def test_another_package_than_that_of_the_folder_is_refused(tmp_path: Path):
    rows = load_wordnet_nouns().data[:20]
    parameters = {"n_layers": 1, "codebook_size": 2, "max_epochs": 1}
    with pytest.raises(RuntimeError, match="The package must be that in"):
        versions.fit_version(tmp_path, rows[:15], rows[15:], parameters)


def test_a_parameter_whose_value_is_not_json_is_refused(capsys):
    with pytest.raises(SystemExit):
        versions.main(["HEAD", "--set", "n_beams=eight"])
    assert "Got 'n_beams=eight'" in capsys.readouterr().err


@needs_history
def test_a_line_compares_a_commit_with_the_sources_here(tmp_path, capsys):
    arguments = ["HEAD", "--set", "n_beams=1", "--data", "digits", "--rows", "60"]
    arguments += ["--layers", "2", "--codes", "4", "--quick"]
    versions.main([*arguments, "--records", str(tmp_path / "records.jsonl")])
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("| digits"))
    assert line.split("|")[2].strip() == "54"

"""The benchmark of versions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import versions
from sk_rqvae.datasets import load_wordnet_nouns


def _has_history() -> bool:
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "HEAD"], cwd=versions.ROOT, capture_output=True
    )
    return found.returncode == 0


needs_history = pytest.mark.skipif(not _has_history(), reason="needs Git's history")


@needs_history
def test_a_commit_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match="no-such-commit"):
        versions.extract_package("no-such-commit", tmp_path)


@needs_history
def test_the_package_of_a_commit_is_the_one_that_is_fitted(tmp_path):
    commit = versions.extract_package("HEAD", tmp_path)
    rows = load_wordnet_nouns().data[:60]
    parameters = {"n_layers": 2, "codebook_size": 4, "max_epochs": 2, "random_state": 0}
    result = versions.fit_version(tmp_path, rows[:50], rows[50:], parameters)
    assert len(commit) == 40
    assert 0 < result["fitted"] < 1
    assert result["fit_seconds"] > 0


def test_another_package_than_that_of_the_folder_is_refused(tmp_path: Path):
    rows = load_wordnet_nouns().data[:20]
    parameters = {"n_layers": 1, "codebook_size": 2, "max_epochs": 1}
    with pytest.raises(RuntimeError, match="The package must be that in"):
        versions.fit_version(tmp_path, rows[:15], rows[15:], parameters)

from __future__ import annotations

import numpy as np
import pytest

import quality
from _contract import Task
from _faiss import fit_local_search, fit_rotated_product
from _records import Records
from sk_rqvae.metrics import explained_variance


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(300, 4)) @ rng.normal(size=(4, 10))).astype(np.float32)


@pytest.mark.parametrize("fit", [fit_local_search, fit_rotated_product])
@pytest.mark.parametrize("n_rows", [300, 9])
def test_quantizers_of_faiss_explain_rows(fit, n_rows, rows):
    pytest.importorskip("faiss")
    quantizer = fit(rows[:n_rows], Task(n_layers=3, n_codes=8, seed=0))
    codes = quantizer.encode(rows)
    assert codes.shape == (300, 3)
    assert 0 <= codes.min() <= codes.max() < 8
    assert n_rows < 300 or explained_variance(rows, quantizer.decode(codes)) > 0.5


def arguments(path, *others):
    small = ["--quick", "--codes", "8", "--rows", "100", "--data", "nouns"]
    methods = ["--methods", "ours-initial", "kmeans-residual"]
    return [*small, *methods, "--records", str(path), *others]


def test_the_table_says_which_data_took_part_in_tuning(tmp_path, capsys):
    path = tmp_path / "records.jsonl"
    quality.main(arguments(path, "--seeds", "0", "1"))
    printed = capsys.readouterr().out
    assert "took part in tuning" in printed
    assert "| ours-initial " in printed


def test_first_codes_are_measured_by_k_means(tmp_path, capsys):
    quality.main(arguments(tmp_path / "records.jsonl"))
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("| method")).split("|")
    row = next(line for line in lines if line.startswith("| kmeans-residual"))
    position = [cell.strip() for cell in header].index("first code / k-means")
    # It begins with k-means, of fewer iterations.
    assert 0.9 < float(row.split("|")[position]) < 1.01


def test_results_without_a_table_are_kept_for_one(tmp_path, capsys):
    path = tmp_path / "records.jsonl"
    quality.main(arguments(path, "--no-table"))
    assert capsys.readouterr().out == ""
    assert len(list(Records(path))) == 2


def test_a_second_call_fits_nothing_again(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    quality.main(arguments(path))
    n_results = len(list(Records(path)))
    monkeypatch.setattr(quality, "measure", None)
    quality.main(arguments(path))
    assert len(list(Records(path))) == n_results == 3


def test_results_of_other_sources_are_not_made_here(tmp_path):
    path = tmp_path / "records.jsonl"
    with pytest.raises(SystemExit, match="the sources differ"):
        quality.main(arguments(path, "--code", "another"))

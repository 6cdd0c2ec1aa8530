from __future__ import annotations

import sys

import pytest

import scale
from _records import Records

SMALL = scale.Case(rows=100, columns=8, levels=2, codes=8)


def run_of(method):
    return scale.Run(method, SMALL, device="cpu", n_threads=1, quick=True)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("method", ["ours", "faiss"])
def test_a_case_has_seconds_and_memory(method):
    if method == "faiss":
        pytest.importorskip("faiss")
    figures = scale.measure(run_of(method))
    assert figures.keys() == set(scale.COLUMNS)
    assert all(figure >= 0 for figure in figures.values())


def test_a_case_that_takes_too_long_is_ended():
    assert "longer than" in scale._in_process(run_of("ours"), 0)["skipped"]


def test_larger_cases_than_one_that_was_skipped_are_skipped(tmp_path, monkeypatch):
    tried = []

    def measured(run, max_seconds):
        tried.append(run.case.rows)
        return {"skipped": "longer than 1 minutes"} if run.case.rows > 10 else {}

    monkeypatch.setattr(scale, "_in_process", measured)
    axis = scale.Axis((10, 20, 30))
    options = scale._parse(["--quick"])
    records = Records(tmp_path / "records.jsonl")
    results = scale._along("ours", "rows", axis, records, options)
    assert tried == [10, 20]
    assert ["skipped" in result for result in results] == [False, True, True]


def test_the_exponent_is_that_of_the_largest_sizes():
    figures = [dict.fromkeys(scale.COLUMNS, value) for value in (9.0, 1.0, 100.0)]
    figures.append({"skipped": "longer than 1 minutes"})
    printed = scale.table("rows", (1, 10, 100, 1000), {"ours": figures})
    *_, skipped, exponents = printed.splitlines()
    assert skipped.count("skipped") == len(scale.COLUMNS)
    assert exponents.split()[3] == "2.00"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_process_returns_what_it_measured():
    assert scale._in_process(run_of("ours"), 120).keys() == set(scale.COLUMNS)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_quick_run_prints_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scale, "_in_process", lambda run, seconds: scale.measure(run))
    path = tmp_path / "records.jsonl"
    scale.main(["--quick", "--vary", "levels", "--records", str(path)])
    assert "| exponent" in capsys.readouterr().out
    assert len(list(Records(path))) >= 2

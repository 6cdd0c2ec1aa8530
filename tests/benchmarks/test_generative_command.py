from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pytest

import generative
from generative_recommender import experiment, fingerprints

IDS = ("random", "kmeans-separated", "ours")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def call(cache, capsys, *options):
    here = ["--quick", "--embedder", "tfidf", "--jobs", "0", "--id-jobs", "0"]
    arguments = [*here, "--cache", str(cache), "--ids", *IDS, *options]
    assert generative.main(arguments) == 0
    return capsys.readouterr()


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
def test_a_quick_run_prints_tables_and_is_not_run_again(cache, capsys):
    first = call(cache, capsys)
    assert "runs/made_transformer_ours_test_1" in first.err
    assert "**Made-up, generating IDs**" in first.out
    for title in ("popularity", "SASRec, a vector an item", "ours, text"):
        assert re.search(rf"{title} +\|", first.out)
    again = call(cache, capsys, "--table")
    assert "runs from" not in again.err
    assert again.out == first.out


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
def test_a_summary_has_the_figures_of_the_table(cache, capsys):
    full = call(cache, capsys).out
    short = call(cache, capsys, "--summary")
    assert "runs from" not in short.err
    row_of_ours = r"\| ours, text +\| +(\S+ ± \S+) \| +(\S+) \|"
    cells = re.search(row_of_ours, short.out).groups()
    (row,) = re.findall(r"\| ours, text  .*", full)
    assert all(cell in row for cell in cells)


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
def test_records_of_other_code_are_not_printed_unless_asked_for(
    cache, capsys, monkeypatch
):
    call(cache, capsys)
    monkeypatch.setattr(experiment, "judges_fingerprint", lambda: "changed")
    now = call(cache, capsys, "--table")
    assert "calls have not been run" in now.err
    assert "**Made-up, generating IDs**" not in now.out
    old = call(cache, capsys, "--table", "--as-recorded")
    assert "**Made-up, generating IDs**" in old.out
    assert "may be of older code" in old.out


def test_beauty_runs_on_the_files_of_the_amazon_fetcher(tmp_path, capsys):
    rng = np.random.default_rng(0)
    items = [{"asin": f"B{n:02}", "title": f"Soap scent{n % 7}"} for n in range(40)]
    reviews = [
        {"reviewerID": f"A{user}", "asin": f"B{item:02}", "unixReviewTime": 86400 * day}
        for user in range(30)
        for day, item in enumerate(rng.choice(40, 8, replace=False))
    ]
    folder = tmp_path / "wheels" / "amazon_items"
    folder.mkdir(parents=True)
    for name, records, write in (
        ("meta_Beauty", items, repr),
        ("reviews_Beauty_5", reviews, json.dumps),
    ):
        lines = "".join(write(record) + "\n" for record in records)
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(lines.encode()))
    options = ["--data", "beauty", "--ids", "random", "--seeds", "0"]
    printed = call(tmp_path, capsys, *options)
    assert "**Amazon Beauty, generating IDs**" in printed.out
    assert re.search(r"30 users with \d+ interactions", printed.out)


def test_a_change_of_the_quantizer_changes_the_key_of_its_codes_alone(monkeypatch):
    hashed = fingerprints.codes_fingerprint.__wrapped__
    ours, others = hashed(True, False), hashed(False, False)
    quantizer = fingerprints.LIBRARY / "_model" / "module.py"
    bare = fingerprints._bare

    def changed(source):
        new = source == quantizer.read_text(encoding="utf-8")
        return bare(source) + "changed" * new

    monkeypatch.setattr(fingerprints, "_bare", changed)
    assert hashed(True, False) != ours
    assert hashed(False, False) == others


def test_a_new_version_of_the_library_changes_all_keys(monkeypatch):
    hashed = fingerprints.judges_fingerprint.__wrapped__
    before = hashed()
    monkeypatch.setattr(fingerprints.sk_rqvae, "__version__", "9.9")
    assert hashed() != before

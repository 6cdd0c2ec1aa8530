from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import generative
from generative_recommender import experiment, fingerprints

IDS = ("random", "kmeans-separated", "ours")
# What the library's models and indexes import besides what decides their results.
DECIDES_NOTHING = (
    "__init__.py",
    "_persistence",
    "_process_lock.py",
    "_progress.py",
    "_sklearn",
    "exceptions.py",
)


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
def test_recall_by_id_is_never_less_than_recall_by_item(cache, capsys):
    full = call(cache, capsys).out
    printed = call(cache, capsys, "--by-id")
    assert "runs from" not in printed.err
    rows = re.findall(r"\| (\S.*\S) +\| +(\S+ ± \S+) \| +(\S+) ±.*", printed.out)
    assert len(rows) == len(IDS)
    for title, by_item, by_id in rows:
        assert re.search(rf"\| {title} +\| +{by_item} \|", full)
        assert float(by_id) >= float(by_item.split()[0])
    assert any(float(by_id) > float(by_item.split()[0]) for _, by_item, by_id in rows)


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


def imported_with(module):
    """The files of the library that a new process imports with a module."""
    script = f"""
import sys
import {module}
for name, found in sys.modules.items():
    if name.partition(".")[0] == "sk_rqvae":
        print(found.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=fingerprints.BENCHMARKS,
        capture_output=True,
        text=True,
        check=True,
    )
    return map(Path, done.stdout.splitlines())


def changed(monkeypatch, name):
    """Let a file of the library read as if its code were another."""
    source = (fingerprints.LIBRARY / name).read_text(encoding="utf-8")
    bare = fingerprints._bare
    monkeypatch.setattr(
        fingerprints, "_bare", lambda text: bare(text) + "changed" * (text == source)
    )


@pytest.mark.parametrize(
    "name", ["_model/module.py", "_torch_settings.py", "_checks/affinity.py"]
)
def test_a_change_of_the_quantizer_changes_the_key_of_its_codes_alone(
    monkeypatch, name
):
    hashed = fingerprints.codes_fingerprint.__wrapped__
    ours, others = hashed(True, False), hashed(False, False)
    changed(monkeypatch, name)
    assert hashed(True, False) != ours
    assert hashed(False, False) == others


@pytest.mark.parametrize(
    "name", ["metrics/_generated_ids.py", "index/decoding/trie.py", "_checks/codes.py"]
)
def test_a_change_of_scores_or_of_the_trie_changes_the_key_of_runs(monkeypatch, name):
    hashed = fingerprints.judges_fingerprint.__wrapped__
    before = hashed()
    changed(monkeypatch, name)
    assert hashed() != before


@pytest.mark.parametrize(
    ("module", "fingerprint", "arguments", "decides_nothing_here"),
    [
        ("identifiers", "codes_fingerprint", (True, True), "metrics"),
        ("judges", "judges_fingerprint", (), "datasets"),
    ],
)
def test_keys_cover_the_files_of_the_library_that_decide_results(
    monkeypatch, module, fingerprint, arguments, decides_nothing_here
):
    hashed = set()
    monkeypatch.setattr(fingerprints, "hash_of_code", hashed.update)
    getattr(fingerprints, fingerprint).__wrapped__(*arguments)
    decisive = {
        path
        for path in imported_with(f"generative_recommender.{module}")
        if path.relative_to(fingerprints.LIBRARY).parts[0]
        not in (*DECIDES_NOTHING, decides_nothing_here)
    }
    assert decisive
    assert decisive <= hashed


def test_a_new_version_of_the_library_changes_all_keys(monkeypatch):
    hashed = fingerprints.judges_fingerprint.__wrapped__
    before = hashed()
    monkeypatch.setattr(fingerprints.sk_rqvae, "__version__", "9.9")
    assert hashed() != before

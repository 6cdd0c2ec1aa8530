from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import small
from rich.console import Console
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_rqvae import SemanticIDReport
from sk_rqvae.metrics import (
    codebook_perplexity,
    codebook_usage,
    collision_rate,
    explained_variance,
)


@pytest.fixture(scope="module")
def report(fitted, blobs):
    return fitted.report(blobs)


def test_a_report_holds_what_the_metrics_say(fitted, blobs, report):
    codes = fitted.transform(blobs)
    np.testing.assert_array_equal(report.usage, codebook_usage(codes, 16))
    np.testing.assert_array_equal(report.perplexity, codebook_perplexity(codes, 16))
    np.testing.assert_allclose(
        report.explained_variance,
        [
            explained_variance(blobs, fitted.inverse_transform(codes[:, :depth]))
            for depth in (1, 2, 3)
        ],
    )
    assert report.n_items == 600
    assert report.n_unique == round(600 * (1 - collision_rate(codes)))
    assert report.n_distinct.tolist() == [
        len(np.unique(codes[:, :depth], axis=0)) for depth in (1, 2, 3)
    ]


def test_whole_ids_explain_what_the_score_says(fitted, blobs, report):
    assert report.explained_variance[-1] == fitted.score(blobs)


def test_levels_can_differ_in_size(blobs):
    report = small(n_layers=2, codebook_size=(16, 5), max_epochs=1).fit(blobs)
    assert report.report(blobs).codebook_size.tolist() == [16, 5]


def test_rows_that_are_all_equal_are_explained_or_not():
    rows = np.zeros((20, 12))
    with pytest.warns(UserWarning, match="different rows"):
        constant = small(n_layers=2, codebook_size=2, max_epochs=1).fit(rows)
    assert set(constant.report(rows).explained_variance) <= {0.0, 1.0}


def test_blocks_of_rows_add_up_to_the_whole(fitted, blobs, monkeypatch):
    whole = fitted.report(blobs).explained_variance
    monkeypatch.setattr("sk_rqvae._inference.explained_variance._ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(fitted.report(blobs).explained_variance, whole)


def test_the_text_has_a_line_a_level_and_counts_ids(report):
    heading, *levels, count = str(report).splitlines()
    assert heading.split("  ")[0] == "codes of the ID"
    assert [line.split()[1] for line in levels] == ["1", "2", "3"]
    assert f"{report.explained_variance[1]:.3f}" in levels[1]
    assert count == f"{report.n_unique} different IDs for 600 items."
    assert len({len(line) for line in (heading, *levels)}) == 1
    assert repr(report) == str(report)


def test_text_html_and_rich_say_the_same(report):
    words = str(report).split()
    html = report._repr_html_()
    console = Console(width=120)
    with console.capture() as capture:
        console.print(report)
    for word in words:
        assert word in html
        assert word in capture.get()
    assert html.count("<tr>") == 4
    assert html.count("<td") == 15


def test_the_frame_has_a_row_a_level(report):
    frame = report.to_frame()
    assert frame.index.tolist() == [1, 2, 3]
    assert frame["usage"].tolist() == report.usage.tolist()
    assert frame["n_distinct"].tolist() == report.n_distinct.tolist()


def test_a_frame_without_pandas_says_what_to_install(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        report.to_frame()


def test_the_quantizer_of_a_pipeline_reports_on_what_reaches_it(blobs):
    pipe = make_pipeline(StandardScaler(), small(max_epochs=1)).fit(blobs)
    report = pipe[-1].report(pipe[:-1].transform(blobs))
    assert isinstance(report, SemanticIDReport)
    assert report.explained_variance[-1] == pipe.score(blobs)


def test_only_a_fitted_transformer_reports(blobs):
    with pytest.raises(NotFittedError):
        small().report(blobs)


def test_a_report_refuses_rows_of_another_width(fitted, blobs):
    with pytest.raises(ValueError, match="12 features"):
        fitted.report(blobs[:, :3])

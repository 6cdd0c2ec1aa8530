from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import small
from rich.console import Console
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_rqvae import RQVAETransformer, SemanticIDReport
from sk_rqvae.metrics import (
    affinity_lift,
    codebook_perplexity,
    codebook_usage,
    collision_rate,
    explained_variance,
)


@pytest.fixture(scope="module")
def report(fitted, blobs):
    return fitted.report(blobs)


def test_a_report_has_the_values_of_the_metrics(fitted, blobs, report):
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


def test_the_last_explained_variance_is_the_score(fitted, blobs, report):
    assert report.explained_variance[-1] == fitted.score(blobs)


def test_a_report_of_affinity_has_its_lift_and_the_same_other_columns(
    fitted, blobs, report
):
    affinity = np.arange(600)[:, np.newaxis] // 100 == np.arange(600) // 100
    with_lift = fitted.report(blobs, affinity=csr_array(affinity.astype(float)))
    lift = affinity_lift(fitted.transform(blobs), affinity)
    np.testing.assert_array_equal(with_lift.affinity_lift, lift)
    assert report.affinity_lift is None
    lines, plain = (str(table).splitlines() for table in (with_lift, report))
    assert lines[0] == f"{plain[0]}  affinity lift"
    assert lines[1].split() == [*plain[1].split(), f"{lift[0]:.2f}"]
    assert with_lift.to_frame()["affinity_lift"].tolist() == lift.tolist()
    assert f"{lift[0]:.2f}</td>" in with_lift._repr_html_()


def test_affinity_of_another_size_is_refused(fitted, blobs):
    with pytest.raises(ValueError, match="affinity and codes must have the same"):
        fitted.report(blobs, affinity=np.ones((5, 5)))


def test_levels_can_differ_in_size(blobs):
    report = small(n_layers=2, codebook_size=(16, 5), max_epochs=1).fit(blobs)
    assert report.report(blobs).codebook_size.tolist() == [16, 5]


def test_identical_rows_are_explained_completely_or_not_at_all():
    rows = np.zeros((20, 12))
    with pytest.warns(UserWarning, match="different rows"):
        constant = small(n_layers=2, codebook_size=2, max_epochs=1).fit(rows)
    assert set(constant.report(rows).explained_variance) <= {0.0, 1.0}


def test_the_block_size_does_not_change_the_explained_variance(
    fitted, blobs, monkeypatch
):
    expected = fitted.report(blobs).explained_variance
    monkeypatch.setattr("sk_rqvae._inference.explained_variance._ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(fitted.report(blobs).explained_variance, expected)


def test_the_text_has_a_line_per_level_and_counts_ids(report):
    heading, *levels, count = str(report).splitlines()
    assert heading.split("  ")[0] == "codes of the ID"
    assert [line.split()[1] for line in levels] == ["1", "2", "3"]
    assert f"{report.explained_variance[1]:.3f}" in levels[1]
    assert count == f"{report.n_unique} different IDs for 600 items."
    assert len({len(line) for line in (heading, *levels)}) == 1
    assert repr(report) == str(report)


def test_text_html_and_rich_show_the_same_values(report):
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


def test_the_frame_has_a_row_per_level(report):
    frame = report.to_frame()
    assert frame.index.tolist() == [1, 2, 3]
    assert frame["usage"].tolist() == report.usage.tolist()
    assert frame["n_distinct"].tolist() == report.n_distinct.tolist()


def test_without_pandas_the_error_names_the_package_to_install(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        report.to_frame()


def test_the_quantizer_of_a_pipeline_reports_on_its_own_input(blobs):
    pipe = make_pipeline(StandardScaler(), small(max_epochs=1)).fit(blobs)
    report = pipe[-1].report(pipe[:-1].transform(blobs))
    assert isinstance(report, SemanticIDReport)
    assert report.explained_variance[-1] == pipe.score(blobs)


def test_an_unfitted_transformer_cannot_report(blobs):
    with pytest.raises(NotFittedError):
        small().report(blobs)


def test_a_report_refuses_rows_of_another_width(fitted, blobs):
    with pytest.raises(ValueError, match="12 features"):
        fitted.report(blobs[:, :3])


def test_affinity_is_checked_before_rows_are_encoded(fitted, blobs, monkeypatch):
    def encoded(*arguments):
        raise AssertionError("rows are encoded")

    monkeypatch.setattr(type(fitted), "_assign", encoded)
    with pytest.raises(ValueError, match="affinity"):
        fitted.report(blobs, affinity=csr_array(np.eye(3)))


def test_equal_prefixes_are_decoded_once(fitted, blobs, monkeypatch):
    expected = fitted.report(blobs)
    decoded = []
    reconstruct = RQVAETransformer._reconstruct

    def noted(model, codes):
        decoded.append(len(codes))
        return reconstruct(model, codes)

    monkeypatch.setattr(RQVAETransformer, "_reconstruct", noted)
    found = fitted.report(blobs)
    assert decoded == found.n_distinct.tolist()
    np.testing.assert_array_equal(found.explained_variance, expected.explained_variance)

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import small
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

from sk_rqvae import QuantizeForwardMode, RQVAETransformer

MODES = [mode.value for mode in QuantizeForwardMode]


def tiny(**changes):
    """Parameters away from their defaults, for scikit-learn's checks on small data."""
    return small(
        **{"n_layers": 2, "codebook_size": 4, "hidden_dims": (8,), "max_epochs": 1}
        | changes
    )


VARIANTS = [
    tiny(
        codebook_mode=["ste", "rotation_trick"],
        codebook_size=(4, 3),
        codebook_normalize=True,
        embed_dim=2,
    ),
    tiny(
        codebook_sim_vq=True,
        codebook_kmeans_init=False,
        linear_path=False,
        n_beams=1,
        hidden_dims=(),
    ),
]


MORE_CHECKS = [
    check_dataframe_column_names_consistency,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
]


def known_to_fail(estimator):
    """Checks that hold in distribution only, as rows are drawn at random."""
    return {
        "check_sample_weight_equivalence_on_dense_data": (
            "Weights decide how often rows are drawn, so that a fit with weights and "
            "one with repeated rows agree only on average."
        )
    }


def name_of(check):
    return check.__name__


@parametrize_with_checks(
    [tiny(codebook_mode=mode) for mode in MODES], expected_failed_checks=known_to_fail
)
def test_every_mode_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(VARIANTS, expected_failed_checks=known_to_fail)
def test_every_variant_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", MORE_CHECKS, ids=name_of)
def test_it_passes_further_checks_of_scikit_learn(check):
    check("RQVAETransformer", tiny())


@pytest.mark.slow
@pytest.mark.parametrize("check", MORE_CHECKS, ids=name_of)
def test_the_other_modes_pass_further_checks_of_scikit_learn(check):
    """Each of them at a level of one estimator, as a check takes seconds."""
    others = [mode for mode in MODES if mode != tiny().codebook_mode]
    check("RQVAETransformer", tiny(codebook_mode=others, n_layers=len(others)))


def test_every_parameter_is_keyword_only_and_documented():
    parameters = inspect.signature(RQVAETransformer).parameters
    text = inspect.getdoc(RQVAETransformer)
    for name, parameter in parameters.items():
        assert parameter.kind is parameter.KEYWORD_ONLY, name
        assert f"\n{name} : " in text, name


def test_every_fitted_attribute_is_documented(fitted):
    text = inspect.getdoc(RQVAETransformer)
    for name in vars(fitted):
        if name.endswith("_") and not name.startswith("_"):
            assert f"\n{name} : " in text, name


@pytest.mark.parametrize("mode", MODES)
def test_a_clone_is_an_unfitted_copy_with_the_same_parameters(blobs, mode):
    estimator = small(codebook_mode=mode, codebook_size=(8, 4, 2), max_epochs=1)
    copy = clone(estimator.fit(blobs))
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "net_")
    with pytest.raises(NotFittedError):
        copy.transform(blobs)


def test_the_next_fit_uses_parameters_that_were_set(blobs):
    estimator = small(max_epochs=1).fit(blobs)
    estimator.set_params(n_layers=2, codebook_size=5).fit(blobs)
    assert estimator.transform(blobs).shape == (len(blobs), 2)
    assert [len(codebook) for codebook in estimator.codebooks_] == [5, 5]


def test_set_params_after_fit_does_not_change_what_transform_does(blobs):
    estimator = small(max_epochs=1).fit(blobs)
    codes = estimator.transform(blobs)
    back = estimator.inverse_transform(codes)
    estimator.set_params(
        n_layers=1, codebook_size=2, n_cat_features=50, n_beams=1, rerank=False
    )
    np.testing.assert_array_equal(estimator.transform(blobs), codes)
    np.testing.assert_array_equal(estimator.inverse_transform(codes), back)


def test_an_unknown_parameter_is_refused():
    with pytest.raises(ValueError, match="no_such_parameter"):
        small().set_params(no_such_parameter=1)


def test_fit_transform_gives_the_codes_of_fit_then_transform(blobs):
    codes = small(max_epochs=1).fit_transform(blobs)
    np.testing.assert_array_equal(
        codes, small(max_epochs=1).fit(blobs).transform(blobs)
    )


def test_fitting_does_not_change_parameters_or_data(blobs):
    rows = blobs.copy()
    estimator = small(max_epochs=1, codebook_mode=["ste", "sinkhorn", "ste"])
    before = clone(estimator).get_params()
    estimator.fit(rows).transform(rows)
    assert estimator.get_params() == before
    np.testing.assert_array_equal(rows, blobs)


def test_it_works_between_other_steps_of_a_pipeline(blobs):
    target = (blobs[:, 0] > 0).astype(int)
    pipeline = make_pipeline(
        StandardScaler(),
        small(),
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(),
    )
    assert pipeline.fit(blobs, target).score(blobs, target) > 0.7


def test_a_pipeline_that_ends_with_it_inverts_to_the_units_of_its_input(blobs):
    rows = 100 + 10 * blobs
    pipeline = make_pipeline(StandardScaler(), small()).fit(rows)
    codes = pipeline.transform(rows)
    assert codes.dtype == np.int64
    back = pipeline.inverse_transform(codes)
    assert np.square(rows - back).sum() < 0.7 * np.square(rows - rows.mean(0)).sum()
    assert pipeline.score(rows) == pytest.approx(
        small().fit(pipeline[0].transform(rows)).score(pipeline[0].transform(rows)),
        abs=0.05,
    )


def test_a_grid_search_runs_over_the_modes_inside_a_pipeline(blobs):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), small(max_epochs=2)),
        {"rqvaetransformer__codebook_mode": MODES},
        cv=2,
        error_score="raise",
    ).fit(blobs)
    assert search.best_params_["rqvaetransformer__codebook_mode"] in MODES
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.transform(blobs).shape == (len(blobs), 3)


def test_cross_validation_returns_a_fitted_transformer_per_fold(blobs):
    folds = cross_validate(small(max_epochs=1), blobs, cv=3, return_estimator=True)
    assert len(folds["estimator"]) == 3
    for estimator in folds["estimator"]:
        assert estimator.transform(blobs).shape == (len(blobs), 3)


def test_feature_names_are_numbered_in_the_order_of_the_levels(fitted):
    assert fitted.get_feature_names_out().tolist() == [
        "rqvaetransformer0",
        "rqvaetransformer1",
        "rqvaetransformer2",
    ]


def test_pandas_output_keeps_the_index_and_the_integers(blobs):
    frame = pd.DataFrame(blobs, index=[f"item {n}" for n in range(len(blobs))])
    frame.columns = [f"e{column}" for column in frame]
    estimator = small(max_epochs=1).set_output(transform="pandas").fit(frame)
    codes = estimator.transform(frame)
    assert codes.index.equals(frame.index)
    assert (codes.dtypes == np.int64).all()
    assert estimator.feature_names_in_.tolist() == list(frame.columns)
    back = estimator.inverse_transform(codes)
    np.testing.assert_array_equal(back, estimator.inverse_transform(codes.to_numpy()))


def test_polars_data_frames_are_accepted_and_returned(blobs):
    frame = pl.DataFrame(blobs, schema=[f"e{column}" for column in range(12)])
    estimator = small(max_epochs=1).set_output(transform="polars").fit(frame)
    codes = estimator.transform(frame)
    assert isinstance(codes, pl.DataFrame)
    assert set(codes.dtypes) == {pl.Int64}
    assert estimator.feature_names_in_.tolist() == frame.columns
    plain = small(max_epochs=1).fit(blobs)
    np.testing.assert_array_equal(codes.to_numpy(), plain.transform(blobs))
    np.testing.assert_array_equal(
        estimator.inverse_transform(codes), plain.inverse_transform(codes.to_numpy())
    )


def test_the_html_and_text_forms_show_changed_parameters(fitted):
    assert "codebook_size=16" in repr(fitted)
    for estimator in (fitted, clone(fitted), make_pipeline(StandardScaler(), fitted)):
        assert "RQVAETransformer" in estimator_html_repr(estimator)


def test_its_tags_declare_another_dtype_and_determinism(fitted):
    tags = fitted.__sklearn_tags__()
    assert tags.transformer_tags.preserves_dtype == []
    assert not tags.non_deterministic
    assert not tags.target_tags.required

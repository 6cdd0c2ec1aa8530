from __future__ import annotations

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import small
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import sk_rqvae
from sk_rqvae import BlockScaler
from sk_rqvae.preprocessing import _block_scaler as block_scaler_module

BLOCKS = {"text": 3, "behaviour": 2}


@pytest.fixture
def views():
    """Rows of two views on different scales; some rows lack one view."""
    random = np.random.default_rng(0)
    X = random.normal(size=(40, 5)) * [1, 2, 3, 100, 200] + [0, 5, 0, 1000, 0]
    X[:8, 3:] = np.nan
    X[8:11, :3] = np.nan
    return X


def variance(rows):
    return rows.var(axis=0).sum()


@parametrize_with_checks(
    [BlockScaler(), BlockScaler(fill="mean"), BlockScaler(add_indicator=True)]
)
def test_the_block_scaler_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.data(),
    st.integers(0, 2**32 - 1),
)
def test_every_block_has_its_share_of_the_variance(blocks, data, seed):
    positive = st.floats(0.01, 100)
    shares = data.draw(st.lists(positive, min_size=len(blocks), max_size=len(blocks)))
    n_features = sum(blocks)
    random = np.random.default_rng(seed)
    X = random.normal(size=(30, n_features)) * random.lognormal(size=n_features)
    scaled = BlockScaler(blocks, shares=shares).fit_transform(X)
    expected = n_features * np.array(shares) / sum(shares)
    edges = np.cumsum([0, *blocks])
    found = [
        variance(scaled[:, start:stop]) for start, stop in itertools.pairwise(edges)
    ]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)


def test_shares_refer_to_the_rows_that_have_the_block(views):
    scaled = BlockScaler(BLOCKS, shares={"behaviour": 1, "text": 4}).fit_transform(
        views
    )
    has_text, has_behaviour = ~np.isnan(views[:, 0]), ~np.isnan(views[:, 3])
    assert variance(scaled[has_text, :3]) == pytest.approx(4.0)
    assert variance(scaled[has_behaviour, 3:]) == pytest.approx(1.0)


def test_ratios_of_distances_within_a_block_do_not_change(views):
    rows = views[11:]
    scaled = BlockScaler(BLOCKS).fit_transform(rows)
    ratios = np.ptp(scaled[:, :3], axis=0) / np.ptp(rows[:, :3], axis=0)
    np.testing.assert_allclose(ratios, ratios[0])


def test_missing_blocks_can_become_zeros(views):
    plain = BlockScaler(BLOCKS, fill="mean").fit_transform(views)
    assert (plain[:8, 3:] == 0).all()
    assert (plain[8:11, :3] == 0).all()


def test_indicators_mark_missing_blocks(views):
    plain = BlockScaler(BLOCKS).fit_transform(views)
    marked = BlockScaler(BLOCKS, add_indicator=True).fit_transform(views)
    assert np.isfinite(plain).all()
    np.testing.assert_array_equal(marked[:, :5], plain)
    np.testing.assert_array_equal(marked[:, 5], np.isnan(views[:, 0]))
    np.testing.assert_array_equal(marked[:, 6], np.isnan(views[:, 3]))


def test_a_missing_block_does_not_change_the_other_blocks(views):
    scaler = BlockScaler(BLOCKS).fit(views)
    complete = views[11:]
    cold = complete.copy()
    cold[:, 3:] = np.nan
    np.testing.assert_array_equal(
        scaler.transform(cold)[:, :3], scaler.transform(complete)[:, :3]
    )


@pytest.mark.parametrize("add_indicator", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_inverse_gives_the_rows_with_means_in_place_of_missing_blocks(
    views, add_indicator, dtype
):
    views = views.astype(dtype)
    scaler = BlockScaler(BLOCKS, fill="mean", add_indicator=add_indicator).fit(views)
    back = scaler.inverse_transform(scaler.transform(views))
    expected = np.where(np.isnan(views), np.nanmean(views, axis=0), views)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, expected, rtol=1e-4, atol=1e-3)


def test_other_numbers_of_columns_cannot_be_transformed_back(views):
    scaler = BlockScaler(BLOCKS).fit(views)
    rows = scaler.transform(views)
    for wrong in (rows[:, :4], np.hstack([rows, rows[:, :1]])):
        with pytest.raises(ValueError, match="X must have 5 columns, as the output"):
            scaler.inverse_transform(wrong)


# Missing blocks that are predicted

THREE = {"text": 4, "picture": 3, "behaviour": 2}


@pytest.fixture
def related():
    """Rows of three views that are linear in the same three factors, without noise."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(60, 3))
    views = [factors @ random.normal(size=(3, size)) for size in THREE.values()]
    return np.hstack(views) * 7 + 3


@pytest.mark.parametrize(
    "lost", [slice(0, 4), slice(4, 7), slice(7, 9), slice(4, 9)], ids=str
)
def test_blocks_that_depend_on_the_others_are_found_again(related, lost):
    scaler = BlockScaler(THREE).fit(related[:50])
    new = related[50:].copy()
    new[:, lost] = np.nan
    expected = scaler.transform(related[50:])
    np.testing.assert_allclose(scaler.transform(new), expected, atol=0.01)


def test_rows_with_other_missing_blocks_are_filled_one_by_one(related):
    scaler = BlockScaler(THREE).fit(related[:40])
    new = related[40:].copy()
    new[::3, 7:] = np.nan
    new[1::3, :4] = np.nan
    new[1::2, 4:7] = np.nan
    together = scaler.transform(new)
    alone = np.vstack([scaler.transform(row[np.newaxis]) for row in new])
    np.testing.assert_allclose(together, alone, atol=1e-9)


def noisy_views(noise):
    random = np.random.default_rng(1)
    text = random.normal(size=(4000, 3))
    behaviour = text[:, :2] + noise * random.normal(size=(4000, 2))
    return np.hstack([text, behaviour])


def test_predictions_have_the_variance_of_the_block():
    X = noisy_views(2)
    new = X[2000:].copy()
    new[:, 3:] = np.nan
    scaler = BlockScaler(BLOCKS).fit(X[:2000])
    filled, complete = scaler.transform(new), scaler.transform(X[2000:])
    assert variance(filled[:, 3:]) == pytest.approx(2.5, rel=0.1)
    # Of the correlation that predicted and true blocks have: 1 / sqrt(1 + noise^2).
    products = (filled[:, 3:] * complete[:, 3:]).mean(axis=0).sum()
    assert products / 2.5 == pytest.approx(1 / np.sqrt(5), rel=0.1)


def test_unrelated_blocks_are_filled_with_the_mean():
    text = np.random.default_rng(2).normal(size=(25, 3))
    behaviour = np.random.default_rng(3).normal(size=(25, 2))
    # Each text occurs with a behaviour and with its opposite.
    X = np.vstack([np.hstack([text, behaviour]), np.hstack([text, -behaviour])])
    new = np.hstack([text, np.full((25, 2), np.nan)])
    filled = BlockScaler(BLOCKS).fit(X).transform(new)
    np.testing.assert_allclose(filled[:, 3:], 0, atol=1e-9)


def test_a_constant_block_predicts_and_is_predicted_as_the_mean():
    X = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 6.0]])
    scaler = BlockScaler([1, 1]).fit(X)
    filled = scaler.transform([[0.1, np.nan], [np.nan, 2.0]])
    assert filled[0, 1] == pytest.approx(0)
    assert filled[1, 0] == pytest.approx(0)


def test_integer_weights_count_as_repeated_rows_in_predictions():
    X = noisy_views(1)[:300]
    weights = np.random.default_rng(1).integers(0, 4, len(X))
    weighted = BlockScaler(BLOCKS).fit(X, sample_weight=weights)
    repeated = BlockScaler(BLOCKS).fit(np.repeat(X, weights, axis=0))
    new = np.hstack([X[:, :3], np.full((len(X), 2), np.nan)])
    np.testing.assert_allclose(
        weighted.transform(new), repeated.transform(new), atol=0.02
    )


def test_blocks_that_no_rows_had_together_cannot_be_predicted(views):
    views[11:, 3:] = np.nan
    scaler = BlockScaler(BLOCKS).fit(views)
    with pytest.raises(ValueError, match=r"no block 'behaviour' in row 0.*\['text'\]"):
        scaler.transform(views)


def with_weight_on_complete_rows(views, n_rows):
    """A fitted scaler: so many of the rows with both blocks have positive weight."""
    incomplete = np.isnan(views).any(axis=1)
    weights = incomplete.astype(float)
    weights[np.flatnonzero(~incomplete)[:n_rows]] = 1
    return BlockScaler(BLOCKS).fit(views, sample_weight=weights)


def test_two_rows_of_positive_weight_are_enough_to_predict_a_block(views):
    scaler = with_weight_on_complete_rows(views, 2)
    assert np.isfinite(scaler.transform(views)).all()


@pytest.mark.parametrize("n_rows", [0, 1])
def test_fewer_than_two_rows_of_positive_weight_cannot_predict_a_block(views, n_rows):
    scaler = with_weight_on_complete_rows(views, n_rows)
    with pytest.raises(ValueError, match="fewer than two rows of positive weight"):
        scaler.transform(views)


def test_six_blocks_can_be_predicted():
    X = np.random.default_rng(0).normal(size=(30, 6))
    scaler = BlockScaler([1] * 6).fit(X)
    X[0, 5] = np.nan
    assert np.isfinite(scaler.transform(X)).all()


def test_more_than_six_blocks_cannot_be_predicted():
    X = np.random.default_rng(0).normal(size=(20, 7))
    with pytest.raises(ValueError, match="fill must be 'mean' for more than 6 blocks"):
        BlockScaler([1] * 7).fit(X)
    assert BlockScaler([1] * 7, fill="mean").fit_transform(X).shape == (20, 7)


def test_new_items_get_the_ids_of_the_known_items_that_they_resemble():
    random = np.random.default_rng(0)
    kind = random.integers(4, size=200)
    text = np.eye(4)[kind] + 0.4 * random.normal(size=(200, 4))
    behaviour = 3 * random.normal(size=(4, 6))[kind] + random.normal(size=(200, 6))
    X = np.hstack([text, behaviour])
    X[150:, 4:] = np.nan
    agreements = {}
    for fill in ("prediction", "mean"):
        scaler = BlockScaler({"text": 4, "behaviour": 6}, fill=fill)
        quantizer = small(n_layers=2, codebook_size=16, max_epochs=1)
        code = make_pipeline(scaler, quantizer).fit(X[:150]).transform(X)[:, 0]
        same_kind = kind[150:, np.newaxis] == kind[:150]
        same_code = code[150:, np.newaxis] == code[:150]
        agreements[fill] = same_kind[same_code].mean()
    assert agreements["prediction"] > 0.8
    assert agreements["mean"] < 0.6


def test_one_block_of_equally_spread_columns_is_standard_scaling():
    X = np.random.default_rng(0).normal(size=(50, 3))
    X = StandardScaler().fit_transform(X) * 7 + 3
    np.testing.assert_allclose(
        BlockScaler().fit_transform(X), StandardScaler().fit_transform(X)
    )


def test_a_block_of_constant_columns_becomes_zeros():
    X = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]])
    scaler = BlockScaler([1, 1]).fit(X)
    assert scaler.scale_[0] == 1.0
    assert (scaler.transform(X)[:, 0] == 0).all()


def test_integer_weights_count_as_repeated_rows(views):
    weights = np.random.default_rng(1).integers(0, 4, len(views))
    weighted = BlockScaler(BLOCKS).fit(views, sample_weight=weights)
    repeated = BlockScaler(BLOCKS).fit(np.repeat(views, weights, axis=0))
    np.testing.assert_allclose(weighted.mean_, repeated.mean_)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_)


def test_rows_of_weight_zero_are_as_if_absent(views):
    weights = (np.arange(len(views)) % 3 > 0).astype(float)
    rows = views[weights > 0]
    without = BlockScaler(BLOCKS).fit(rows)
    # Even values that would overflow do not count.
    views[weights == 0] *= 1e305
    scaler = BlockScaler(BLOCKS).fit(views, sample_weight=weights)
    np.testing.assert_allclose(scaler.transform(rows), without.transform(rows))


def test_sample_weights_are_routed_through_a_pipeline(views):
    weights = np.random.default_rng(1).uniform(0.1, 4, len(views))
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = BlockScaler(BLOCKS).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler).fit(views, sample_weight=weights)
    expected = BlockScaler(BLOCKS).fit(views, sample_weight=weights)
    np.testing.assert_array_equal(pipeline[0].scale_, expected.scale_)


def test_output_columns_keep_their_names(views):
    frame = pd.DataFrame(views, columns=list("abcde"))
    scaler = BlockScaler(BLOCKS, add_indicator=True).set_output(transform="pandas")
    names = ["a", "b", "c", "d", "e", "missing_text", "missing_behaviour"]
    assert list(scaler.fit_transform(frame)) == names
    assert scaler.get_feature_names_out().tolist() == names
    with pytest.raises(ValueError, match="not equal to feature_names_in_"):
        scaler.get_feature_names_out(list("vwxyz"))


def test_a_copy_has_the_same_output(views):
    scaler = BlockScaler(BLOCKS, shares=[1, 2]).fit(views)
    for copy in (pickle.loads(pickle.dumps(scaler)), clone(scaler).fit(views)):
        np.testing.assert_array_equal(copy.transform(views), scaler.transform(views))


def test_items_with_missing_views_get_ids_and_reconstructions(views):
    quantizer = small(n_layers=2, codebook_size=4, max_epochs=1, n_cat_features=2)
    scaler = BlockScaler(BLOCKS, add_indicator=True)
    pipeline = make_pipeline(scaler, quantizer).fit(views)
    codes = pipeline.transform(views)
    assert codes.shape == (40, 2)
    assert np.isfinite(pipeline.inverse_transform(codes)).all()


@pytest.mark.parametrize(
    ("blocks", "allows"), [(None, False), ([5], False), ([3, 2], True), (BLOCKS, True)]
)
def test_only_a_scaler_of_several_blocks_takes_missing_values(blocks, allows):
    tags = get_tags(BlockScaler(blocks))
    assert tags.input_tags.allow_nan is allows
    assert "float32" in tags.transformer_tags.preserves_dtype


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_an_unfitted_scaler_says_so(views, method):
    with pytest.raises(NotFittedError):
        getattr(BlockScaler(BLOCKS), method)(np.nan_to_num(views))


def test_it_is_public_at_the_top_and_in_preprocessing():
    assert sk_rqvae.BlockScaler is sk_rqvae.preprocessing.BlockScaler


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"blocks": [3, 3]}, ValueError, "blocks must add up to the 5 columns of X"),
        ({"blocks": [5, 0]}, ValueError, r"blocks\['block1'\] must be at least 1"),
        ({"blocks": {"a": 2.5, "b": 2.5}}, TypeError, r"blocks\['a'\] must be an int"),
        ({"blocks": {1: 5}}, TypeError, "blocks must have str as keys"),
        ({"blocks": 5}, TypeError, "blocks must be a dict, a sequence"),
        ({"blocks": []}, ValueError, "blocks must add up"),
        ({"shares": [1]}, ValueError, "shares must have one entry per block, 2. Got 1"),
        ({"shares": [1, 0]}, ValueError, r"shares\['behaviour'\] must be in \(0"),
        ({"shares": [1, np.inf]}, ValueError, r"shares\['behaviour'\] must be in"),
        ({"shares": {"text": 1}}, ValueError, "names of the blocks"),
        ({"shares": "ab"}, TypeError, "shares must be a dict"),
        ({"fill": "median"}, ValueError, "fill must be one of"),
        ({"fill": 0}, ValueError, "fill must be one of"),
    ],
)
def test_the_error_names_the_invalid_parameter(views, parameters, error, message):
    with pytest.raises(error, match=message):
        BlockScaler(**({"blocks": BLOCKS} | parameters)).fit(views)


def test_a_partly_missing_block_is_an_error_that_names_block_and_row(views):
    scaler = BlockScaler(BLOCKS).fit(views)
    views[20, 1] = np.nan
    message = "NaN in 1 of 3 columns of block 'text' in row 20"
    with pytest.raises(ValueError, match=message):
        scaler.fit(views)
    with pytest.raises(ValueError, match=message):
        scaler.transform(views)


def test_a_row_without_any_block_is_an_error(views):
    views[30] = np.nan
    with pytest.raises(ValueError, match="NaN in all columns of row 30"):
        BlockScaler(BLOCKS).fit(views)


def test_a_block_that_no_row_has_is_an_error(views):
    views[:, 3:] = np.nan
    with pytest.raises(ValueError, match="block 'behaviour' in at least one row"):
        BlockScaler(BLOCKS).fit(views[:8])


def test_a_block_that_only_rows_of_weight_zero_have_is_an_error(views):
    weights = np.isnan(views[:, 3]).astype(float)
    with pytest.raises(ValueError, match="block 'behaviour' in at least one row of po"):
        BlockScaler(BLOCKS, fill="mean").fit(views, sample_weight=weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            np.ones(3),
            r"sample_weight must have shape \(40,\), one weight per row of X. Got",
        ),
        (-np.ones(40), "sample_weight must not be negative"),
        (np.full(40, np.nan), "sample_weight contains NaN"),
        (np.zeros(40), "sample_weight must have a positive entry"),
    ],
)
def test_invalid_sample_weights_are_an_error(views, weights, message):
    with pytest.raises(ValueError, match=message):
        BlockScaler(BLOCKS).fit(views, sample_weight=weights)


def test_values_too_far_apart_are_an_error():
    with pytest.raises(ValueError, match="Those of block 'block0' overflow"):
        BlockScaler().fit([[1.7e308], [-1.7e308]])


def test_only_ratios_of_weights_and_shares_count_however_large(views):
    expected = BlockScaler(BLOCKS, shares=[1, 3]).fit(views)
    scaler = BlockScaler(BLOCKS, shares=[5e307, 1.5e308])
    scaler.fit(views, sample_weight=np.full(len(views), 1e307))
    np.testing.assert_allclose(scaler.scale_, expected.scale_)
    np.testing.assert_allclose(scaler.mean_, expected.mean_)


@pytest.mark.parametrize("unit", [1e-200, 1e-300])
def test_tiny_values_are_not_taken_for_constants(unit):
    rows = np.array([[1.0, 0.0], [2.0, 4.0], [3.0, 2.0]])
    tiny = BlockScaler().fit(unit * rows)
    np.testing.assert_allclose(tiny.scale_, unit * BlockScaler().fit(rows).scale_)


class Stop(BaseException):
    """As a Ctrl-C."""


def test_a_fit_that_fails_or_is_interrupted_changes_nothing(monkeypatch):
    X = np.random.default_rng(0).normal(size=(30, 3))
    scaler = BlockScaler({"text": 2, "behaviour": 1}).fit(X)
    before = vars(scaler).copy()
    with pytest.raises(ValueError, match="blocks"):
        scaler.fit(np.hstack([X, X]))
    assert vars(scaler) == before

    def stop(*arguments):
        raise Stop

    monkeypatch.setattr(block_scaler_module, "fit_block_regressions", stop)
    with pytest.raises(Stop):
        scaler.fit(10 * X)
    assert vars(scaler) == before


def test_masked_values_are_refused_with_what_to_do_instead():
    rows = np.ma.masked_equal([[1.0, -999], [2, 3], [3, 4]], -999)
    with pytest.raises(TypeError, match=r"for example X\.filled\(np\.nan\)"):
        BlockScaler().fit(rows)

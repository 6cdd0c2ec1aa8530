from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skorch.callbacks import Callback

from sk_rqvae import QuantizeForwardMode
from sk_rqvae.metrics import explained_variance, reconstruction_error

MODES = [mode.value for mode in QuantizeForwardMode]
VARIANTS = {
    **{mode: {"codebook_mode": mode} for mode in MODES},
    "greedy": {"n_beams": 1},
    "beams, not reranked": {"rerank": False},
    "normalised": {"codebook_normalize": True},
    "SimVQ": {"codebook_sim_vq": True},
    "narrow": {"embed_dim": 3},
    "wide": {"embed_dim": 20},
    "papers' autoencoder": {"linear_path": False, "activation": "gelu"},
    "no hidden layer": {"hidden_dims": ()},
    "sizes": {"codebook_size": (16, 8, 3)},
    "one level": {"n_layers": 1},
    "binary": {"n_cat_features": 2},
}
settings.register_profile(
    "fitted",
    deadline=None,
    max_examples=25,
    # Fixtures return fitted estimators that tests must not change.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FITTED = settings.get_profile("fitted")


def with_binary_columns(rows):
    rows = rows.copy()
    rows[:, -2:] = rows[:, -2:] > 0
    return rows


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request, blobs):
    rows = with_binary_columns(blobs) if "n_cat_features" in request.param else blobs
    return small(max_epochs=2, **request.param).fit(rows), rows


def any_rows(width=12):
    floats = st.floats(-1e6, 1e6, width=32)
    shape = st.tuples(st.integers(1, 9), st.just(width))
    return hnp.arrays(np.float32, shape, elements=floats)


def sizes_of(estimator):
    return np.array([len(codebook) for codebook in estimator.codebooks_])


def test_codes_are_integers_within_their_codebooks(variant):
    estimator, rows = variant
    codes = estimator.transform(rows)
    assert codes.dtype == np.int64
    assert codes.shape == (len(rows), estimator.n_layers)
    assert (codes >= 0).all()
    assert (codes < sizes_of(estimator)).all()


@settings(FITTED)
@given(rows=any_rows())
def test_codes_of_any_finite_rows_are_in_range(fitted, rows):
    codes = fitted.transform(rows)
    assert codes.shape == (len(rows), 3)
    assert ((codes >= 0) & (codes < 16)).all()


@pytest.mark.parametrize("size", [1e30, 1e300, np.finfo(np.float64).max])
def test_rows_beyond_the_range_of_float32_have_codes_too(fitted, size):
    rows = np.random.default_rng(0).choice([-size, size, 0.0], (20, 12))
    codes = fitted.transform(rows)
    assert ((codes >= 0) & (codes < 16)).all()
    assert np.isfinite(fitted.inverse_transform(codes)).all()


def own_reconstruction(estimator, rows):
    """Reconstruction by the module in evaluation mode, in the units of the rows."""
    module = estimator.net_.module_
    assert not module.training
    with torch.no_grad():
        x = module.standardize(torch.from_numpy(rows).double())
        return module.restore(module.reconstruct(module.assign(x))).numpy()


def test_inverse_transform_gives_the_reconstruction_of_the_module(variant):
    estimator, rows = variant
    back = estimator.inverse_transform(estimator.transform(rows))
    assert back.dtype == np.float64
    assert back.shape == rows.shape
    np.testing.assert_allclose(
        back, own_reconstruction(estimator, rows), rtol=1e-4, atol=1e-5
    )


def test_results_do_not_depend_on_the_order_of_rows(variant):
    estimator, rows = variant
    order = np.random.default_rng(0).permutation(len(rows))
    codes = estimator.transform(rows)
    np.testing.assert_array_equal(estimator.transform(rows[order]), codes[order])
    np.testing.assert_array_equal(
        estimator.inverse_transform(codes[order]),
        estimator.inverse_transform(codes)[order],
    )


def test_rows_one_by_one_give_the_results_of_all_at_once(variant):
    estimator, rows = variant
    codes = estimator.transform(rows)
    alone = np.concatenate([estimator.transform(row[None]) for row in rows[:40]])
    np.testing.assert_array_equal(alone, codes[:40])
    back = [estimator.inverse_transform(each[None]) for each in codes[:40]]
    np.testing.assert_array_equal(
        np.concatenate(back), estimator.inverse_transform(codes)[:40]
    )


@settings(FITTED)
@given(data=st.data())
def test_any_chunks_in_any_order_give_the_same_bits(fitted, blobs, data):
    codes = fitted.transform(blobs)
    back = fitted.inverse_transform(codes)
    order = np.array(
        data.draw(st.lists(st.integers(0, len(blobs) - 1), min_size=1, max_size=300))
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order)), max_size=4)))
    for part in np.split(order, cuts):
        if len(part):
            again = fitted.transform(blobs[part])
            np.testing.assert_array_equal(again, codes[part])
            np.testing.assert_array_equal(fitted.inverse_transform(again), back[part])


@pytest.mark.slow
def test_many_rows_have_the_same_codes_in_other_chunks_and_another_order(blobs):
    model = small(hidden_dims=(16,), n_beams=3, max_epochs=2).fit(blobs)
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(200_000, 12)).astype(np.float32)
    rows = blobs[rng.integers(len(blobs), size=len(spread))] + 0.3 * spread
    codes = model.transform(rows)
    order = rng.permutation(len(rows))
    cuts = np.sort(rng.choice(len(rows), size=100, replace=False))
    for part in np.split(order, cuts):
        np.testing.assert_array_equal(model.transform(rows[part]), codes[part])
    back = model.inverse_transform(codes)
    for part in np.split(order, cuts)[:10]:
        np.testing.assert_array_equal(model.inverse_transform(codes[part]), back[part])
    alone = np.concatenate([model.transform(row[None]) for row in rows[:300]])
    np.testing.assert_array_equal(alone, codes[:300])


def test_the_same_numbers_in_another_dtype_or_layout_have_the_same_codes(fitted, blobs):
    codes = fitted.transform(blobs)
    for rows in (
        blobs.astype(np.float64),
        blobs.astype(">f4"),
        np.asfortranarray(blobs),
        np.repeat(blobs, 2, axis=1)[:, ::2],
        pd.DataFrame(blobs),
    ):
        np.testing.assert_array_equal(fitted.transform(rows), codes)
    np.testing.assert_array_equal(fitted.transform(blobs[::-1]), codes[::-1])


def test_threads_that_share_an_estimator_get_the_results_of_one_thread(fitted, blobs):
    codes = fitted.transform(blobs)
    back = fitted.inverse_transform(codes)

    def transform_and_invert(_):
        return fitted.transform(blobs), fitted.inverse_transform(codes)

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(transform_and_invert, range(16)):
            np.testing.assert_array_equal(found[0], codes)
            np.testing.assert_array_equal(found[1], back)


class TransformDuringFit(Callback):
    """Transform with the estimator that is being fitted, in every epoch."""

    def __init__(self, rows):
        self.rows = rows
        self.answers = []

    def on_epoch_end(self, net, **kwargs):
        self.answers.append(self.estimator.transform(self.rows))


@pytest.mark.parametrize("warm_start", [False, True])
def test_during_a_fit_the_previous_model_transforms(blobs, warm_start):
    estimator = small(max_epochs=2, warm_start=warm_start).fit(blobs)
    codes = estimator.transform(blobs)
    meanwhile = TransformDuringFit(blobs)
    meanwhile.estimator = estimator
    estimator.set_params(callbacks=[meanwhile], random_state=1, lr=0.01).fit(blobs)
    assert len(meanwhile.answers) == 2
    for answer in meanwhile.answers:
        np.testing.assert_array_equal(answer, codes)
    assert not np.array_equal(estimator.transform(blobs), codes)


def test_transforming_changes_neither_the_model_nor_global_random_state(variant):
    estimator, rows = variant
    weights = {
        name: value.clone()
        for name, value in estimator.net_.module_.state_dict().items()
    }
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    estimator.score(rows)
    estimator.inverse_transform(estimator.transform(rows))
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    for name, value in estimator.net_.module_.state_dict().items():
        assert torch.equal(value, weights[name]), name


@pytest.fixture(scope="module")
def plain(blobs):
    """A transformer fitted on float64, which a change of units needs."""
    return small().fit(blobs.astype(np.float64))


@pytest.mark.parametrize(("scale", "shift"), [(1e-20, 0), (1e15, 0), (1, 1e6), (-3, 7)])
def test_the_units_of_the_data_change_only_rounding(blobs, plain, scale, shift):
    rows = blobs.astype(np.float64)
    moved = scale * rows + shift
    other = small().fit(moved)
    if scale > 0:
        agreement = (plain.transform(rows) == other.transform(moved)).mean()
        assert agreement > 0.98
        assert other.score(moved) == pytest.approx(plain.score(rows), abs=0.01)
    back = (other.inverse_transform(other.transform(moved)) - shift) / scale
    assert reconstruction_error(rows, back) == pytest.approx(
        reconstruction_error(rows, plain.inverse_transform(plain.transform(rows))),
        rel=0.2,
    )


@settings(deadline=None, max_examples=5)
@given(exponent=st.integers(-60, 60))
def test_scaling_by_a_power_of_two_changes_no_bit_of_the_codes(exponent):
    rows = np.random.default_rng(0).normal(size=(200, 6))
    scale = 2.0**exponent
    plain, other = (
        small(max_epochs=1).fit(rows),
        small(max_epochs=1).fit(scale * rows),
    )
    codes = plain.transform(rows)
    np.testing.assert_array_equal(codes, other.transform(scale * rows))
    np.testing.assert_array_equal(
        scale * plain.inverse_transform(codes), other.inverse_transform(codes)
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_beams", [1, 5])
def test_longer_prefixes_reconstruct_the_training_rows_better(blobs, mode, n_beams):
    estimator = small(codebook_mode=mode, n_beams=n_beams).fit(blobs)
    codes = estimator.transform(blobs)
    errors = [
        reconstruction_error(blobs, estimator.inverse_transform(codes[:, :depth]))
        for depth in (1, 2, 3)
    ]
    variance = np.square(blobs - blobs.mean(0)).mean()
    assert variance > errors[0] > errors[1] > errors[2]


def test_rows_with_the_same_prefix_have_the_same_reconstruction_from_it(fitted, blobs):
    codes = fitted.transform(blobs)
    for depth in (1, 2):
        back = fitted.inverse_transform(codes[:, :depth])
        assert back.shape == blobs.shape
        _, first, which = np.unique(
            codes[:, :depth], axis=0, return_index=True, return_inverse=True
        )
        np.testing.assert_array_equal(back, back[first][which.ravel()])


def test_inverse_transform_accepts_codes_of_any_numeric_dtype(fitted, blobs):
    codes = fitted.transform(blobs[:30])
    back = fitted.inverse_transform(codes)
    for form in (np.int8, np.uint64, np.float32, object, list):
        other = codes.tolist() if form is list else codes.astype(form)
        np.testing.assert_array_equal(fitted.inverse_transform(other), back)


def test_inverse_transform_of_no_codes_gives_no_rows(fitted):
    assert fitted.inverse_transform(np.empty((0, 3), dtype=int)).shape == (0, 12)


def test_the_sum_of_codebook_vectors_is_the_latent_of_the_codes(variant):
    estimator, rows = variant
    codes = estimator.transform(rows)
    vectors = sum(
        gain * codebook[column]
        for gain, codebook, column in zip(
            estimator.codebook_gains_, estimator.codebooks_, codes.T, strict=True
        )
    )
    with torch.no_grad():
        latents = estimator.net_.module_.quantizer.sum_of(torch.from_numpy(codes))
    np.testing.assert_allclose(vectors, latents.numpy(), rtol=1e-5, atol=1e-6)


def test_codebooks_have_the_documented_shapes_and_are_copies(variant):
    estimator, _ = variant
    module = estimator.net_.module_
    width = estimator.embed_dim or estimator.net_.module__embed_dim
    assert width <= (estimator.embed_dim or estimator.n_features_in_)
    for codebook, size in zip(
        estimator.codebooks_, module.quantizer.sizes, strict=True
    ):
        assert isinstance(codebook, np.ndarray)
        assert codebook.shape == (size, width)
        assert codebook.flags.writeable
    if estimator.codebook_normalize:
        lengths = np.linalg.norm(np.concatenate(estimator.codebooks_), axis=1)
        np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    else:
        np.testing.assert_array_equal(estimator.codebook_gains_, 1)


def test_binary_columns_come_back_as_probabilities(blobs):
    rows = with_binary_columns(blobs)
    estimator = small(n_cat_features=2, max_epochs=10).fit(rows)
    back = estimator.inverse_transform(estimator.transform(rows))[:, -2:]
    assert ((back >= 0) & (back <= 1)).all()
    assert ((back > 0.5) == rows[:, -2:]).mean() > 0.8


def test_every_column_may_be_binary():
    rows = np.random.default_rng(0).integers(0, 2, (300, 6))
    estimator = small(n_cat_features=6).fit(rows)
    back = estimator.inverse_transform(estimator.transform(rows))
    assert ((back >= 0) & (back <= 1)).all()
    assert ((back > 0.5) == rows).mean() > 0.8


def test_the_score_is_the_explained_variance_of_the_reconstruction(variant):
    estimator, rows = variant
    back = estimator.inverse_transform(estimator.transform(rows))
    unexplained = np.square(rows - back).sum()
    total = np.square(rows - rows.mean(0, dtype=np.float64)).sum()
    assert estimator.score(rows) == pytest.approx(1 - unexplained / total, rel=1e-5)
    assert estimator.score(rows) == pytest.approx(
        explained_variance(rows, back), rel=1e-5
    )
    assert estimator.score(rows, y=np.zeros(len(rows))) == estimator.score(rows)


def test_the_score_of_many_rows_is_their_explained_variance(fitted, blobs):
    rows = np.tile(blobs, (30, 1)) + np.random.default_rng(0).normal(
        scale=0.1, size=(18_000, 12)
    )
    back = fitted.inverse_transform(fitted.transform(rows))
    expected = 1 - np.square(rows - back).sum() / np.square(rows - rows.mean(0)).sum()
    assert fitted.score(rows) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("unit", [1e155, 1e300])
def test_the_score_of_rows_far_beyond_the_fitted_ones_is_a_number(unit):
    rows = np.random.default_rng(0).normal(size=(20, 12))
    # Hardly anything of such rows is explained.
    assert small().fit(rows).score(unit * rows) == pytest.approx(0, abs=0.1)


def test_the_score_of_constant_rows_is_one_if_exact_and_zero_otherwise(fitted):
    assert fitted.score(np.full((5, 12), 3.0)) == 0.0
    constant = np.full((5, 2), 3.0)
    assert small(codebook_size=2, max_epochs=1).fit(constant).score(constant) == 1.0

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import small
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler


def quick(**changes):
    return small(max_epochs=1, **changes)


@pytest.fixture(scope="module")
def few(blobs):
    """Enough rows for 16 codes, and few, as most tests of this file fit."""
    return blobs[:200]


# Bad rows


def changed(rows, value):
    rows = rows.copy()
    rows[5, 3] = value
    return rows


BAD_ROWS = {
    "NaN": (lambda rows: changed(rows, np.nan), "NaN"),
    "infinity": (lambda rows: changed(rows, np.inf), r"inf in row 5, column 3"),
    "1-D": (lambda rows: rows[:, 0], "1D array"),
    "3-D": (lambda rows: rows[None], "dim 3"),
    "scalar": (lambda rows: 3.0, "scalar"),
    "no rows": (lambda rows: rows[:0], "0 sample"),
    "no columns": (lambda rows: rows[:, :0], "0 feature"),
    "strings": (lambda rows: rows.astype(str), "strings|convert"),
    "words": (lambda rows: np.full(rows.shape, "word", dtype=object), "could not"),
    "complex": (lambda rows: rows + 1j, "Complex"),
    "missing": (lambda rows: changed(rows.astype(object), None), "NaN|missing"),
    "sparse": (lambda rows: sparse.csr_matrix(rows), "(?i)sparse"),
    "None": (lambda rows: None, "None|scalar"),
}


@pytest.mark.parametrize(("spoil", "says"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
@pytest.mark.parametrize("call", ["fit", "partial_fit", "transform", "score"])
def test_bad_rows_are_refused_and_the_estimator_is_unchanged(
    few, fitted, spoil, says, call
):
    fresh = call in ("fit", "partial_fit")
    estimator = quick() if fresh else fitted
    with pytest.raises((ValueError, TypeError), match=says):
        getattr(estimator, call)(spoil(few))
    assert hasattr(estimator, "net_") is not fresh
    assert hasattr(estimator, "n_features_in_") is not fresh


@pytest.mark.parametrize("call", ["transform", "score", "partial_fit"])
@pytest.mark.parametrize("width", [11, 13])
def test_rows_of_another_width_are_refused(few, call, width):
    estimator = quick().fit(few)
    rows = np.zeros((20, width))
    with pytest.raises(ValueError, match=f"{width} features.*12"):
        getattr(estimator, call)(rows)


@pytest.mark.parametrize("call", ["transform", "score", "partial_fit"])
def test_other_column_names_are_refused(few, call):
    frame = pd.DataFrame(few).add_prefix("e")
    estimator = quick().fit(frame)
    for wrong in (frame.add_prefix("x"), frame[frame.columns[::-1]]):
        with pytest.raises(ValueError, match="feature names"):
            getattr(estimator, call)(wrong)


@pytest.mark.parametrize("call", ["transform", "inverse_transform", "score"])
def test_an_unfitted_transformer_says_so(few, call):
    with pytest.raises(NotFittedError, match="RQVAETransformer"):
        getattr(small(), call)(few)
    with pytest.raises(NotFittedError):
        small().get_feature_names_out()


@pytest.mark.parametrize("value", [0.5, 2, -1])
@pytest.mark.parametrize("call", ["fit", "transform"])
def test_binary_columns_must_contain_only_zeros_and_ones(few, value, call):
    rows = few.copy()
    rows[:, -2:] = rows[:, -2:] > 0
    estimator = quick(n_cat_features=2)
    if call == "transform":
        estimator.fit(rows)
    rows[7, -1] = value
    with pytest.raises(ValueError, match=r"n_cat_features=2 .*row 7, column 11"):
        getattr(estimator, call)(rows)


# Bad codes


CODES = np.array([[1, 2, 3], [4, 5, 6]])


def with_code(value, dtype=float):
    codes = CODES.astype(dtype)
    codes[1, 2] = value
    return codes


BAD_CODES = {
    "negative": (with_code(-1, int), ValueError, "negative"),
    "too large": (with_code(16, int), ValueError, "below codebook_size"),
    "huge": (with_code(2**63, np.uint64), ValueError, "below codebook_size"),
    "fractional": (with_code(1.7), ValueError, "whole"),
    "NaN": (with_code(np.nan), ValueError, "finite"),
    "infinite": (with_code(np.inf), ValueError, "finite"),
    "too wide": (np.zeros((2, 4), int), ValueError, "at most n_layers=3"),
    "no column": (np.zeros((2, 0), int), ValueError, "at least one column"),
    "1-D": (np.zeros(3, int), ValueError, "2-D"),
    "3-D": (np.zeros((1, 2, 3), int), ValueError, "2-D"),
    "scalar": (3, ValueError, "2-D"),
    "strings": (CODES.astype(str), TypeError, "whole numbers"),
    "words": (np.full((2, 3), "word", object), TypeError, "whole numbers"),
    "booleans": (np.zeros((2, 3), bool), TypeError, "whole numbers"),
    "ragged": ([[1, 2], [3]], ValueError, "inhomogeneous"),
}


@pytest.mark.parametrize(
    ("codes", "error", "says"), BAD_CODES.values(), ids=BAD_CODES.keys()
)
def test_bad_codes_are_refused(fitted, codes, error, says):
    with pytest.raises(error, match=says):
        fitted.inverse_transform(codes)


def test_a_code_is_checked_against_its_own_codebook(few):
    estimator = quick(codebook_size=(8, 4, 2)).fit(few)
    estimator.inverse_transform([[7, 3, 1]])
    for codes in ([[8]], [[0, 4]], [[0, 0, 2]]):
        with pytest.raises(ValueError, match=r"below codebook_size"):
            estimator.inverse_transform(codes)


def test_the_error_of_a_bad_code_names_its_row_and_column(fitted):
    with pytest.raises(ValueError, match=r"X .*row 1, column 2"):
        fitted.inverse_transform(with_code(-1, int))


# Unusual rows, some with a warning


def fits(rows, **changes):
    """Fit, transform and invert; check that all is finite and return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = quick(**changes).fit(rows)
        codes = estimator.transform(rows)
        back = estimator.inverse_transform(codes)
        score = estimator.score(rows)
    assert np.isfinite(back).all()
    assert np.isfinite(score)
    assert back.shape == np.shape(rows)
    for codebook in estimator.codebooks_:
        assert np.isfinite(codebook).all()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("n_rows", [1, 2, 3, 15])
@pytest.mark.parametrize(
    "mode", ["gumbel_softmax", "ste", "rotation_trick", "sinkhorn"]
)
def test_fewer_rows_than_codes_work_with_a_warning(few, n_rows, mode):
    (message,) = fits(few[:n_rows], codebook_mode=mode)
    assert f"{n_rows} different rows" in message
    assert "codebook_size" in message


def test_duplicate_rows_count_once(few):
    (message,) = fits(np.tile(few[:3], (100, 1)))
    assert "3 different rows" in message


def test_one_row_is_reconstructed(few):
    with pytest.warns(UserWarning, match="1 different rows"):
        estimator = quick().fit(few[:1])
    back = estimator.inverse_transform(estimator.transform(few[:1]))
    np.testing.assert_allclose(back, few[:1], atol=1e-5)


def test_enough_rows_give_no_warning(few):
    assert fits(few) == []


def test_the_warning_of_a_small_initialisation_sample_names_its_parameter(few):
    (message,) = fits(few, init_sample_size=5)
    assert "init_sample_size" in message


def test_constant_columns_work(few):
    rows = few.copy()
    rows[:, 2:5] = 7
    assert fits(rows) == []
    estimator = quick().fit(rows)
    back = estimator.inverse_transform(estimator.transform(rows))
    np.testing.assert_allclose(back[:, 2:5], 7, atol=0.1)


@pytest.mark.parametrize("value", [0.0, 1e-20, -3.0, 1e15])
def test_identical_rows_work_with_a_warning(value):
    (message,) = fits(np.full((50, 4), value))
    assert "1 different rows" in message


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float64, np.longdouble, np.int8, np.int64, np.uint64, bool]
)
def test_any_numeric_dtype_works(few, dtype):
    rows = (few > 0) if dtype is bool else (3 * np.abs(few)).astype(dtype)
    assert fits(rows) == []


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda rows: rows[::-1],
        lambda rows: rows[:, ::-1],
        lambda rows: np.repeat(rows, 3, axis=0)[::3],
        lambda rows: rows.tolist(),
        lambda rows: pd.DataFrame(rows),
        lambda rows: np.ma.asarray(rows),
    ],
    ids=[
        "Fortran order",
        "negative row stride",
        "negative column stride",
        "strided",
        "lists",
        "frame",
        "masked array",
    ],
)
def test_any_layout_works_and_gives_the_same_codes(few, layout):
    rows = layout(few)
    plain = np.ascontiguousarray(rows, dtype=np.float32)
    np.testing.assert_array_equal(
        quick().fit_transform(rows), quick().fit_transform(plain)
    )


def test_a_read_only_memory_map_works_and_stays_as_it_is(few, tmp_path):
    np.save(tmp_path / "rows.npy", few)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for resident_mb in ("auto", 0):
        assert fits(rows, resident_mb=resident_mb) == []
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), few)


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e15, 1e150, 1e300])
def test_rows_of_any_scale_work(few, scale):
    assert fits(scale * few.astype(np.float64)) == []


def test_rows_far_from_zero_work(few):
    assert fits(few.astype(np.float64) + 1e6) == []
    assert fits(few + np.float32(1e6)) == []


def test_one_column_works():
    assert fits(np.random.default_rng(0).normal(size=(300, 1))) == []


def test_more_columns_than_rows_work():
    assert fits(np.random.default_rng(0).normal(size=(40, 90)), embed_dim=60) == []


def test_the_largest_floats_can_be_fitted():
    rows = np.array([[1.7e308, 0.0], [-1.7e308, 1.0]] * 20)
    model = quick(codebook_size=2).fit(rows)
    restored = model.inverse_transform(model.transform(rows))
    np.testing.assert_allclose(restored[:, 0], rows[:, 0], rtol=1e-5)


def test_values_too_far_apart_for_float64_are_refused():
    rows = np.array([[1.7e308, 0.0]] * 39 + [[-1.7e308, 1.0]])
    with pytest.raises(ValueError, match="differences are finite"):
        quick().fit(rows)


@pytest.mark.parametrize("call", ["fit", "partial_fit", "transform", "score"])
def test_integers_too_large_for_float64_are_refused(fitted, few, call):
    rows = few.astype(object)
    rows[3, 0] = 10**400
    estimator = quick() if call in ("fit", "partial_fit") else fitted
    for X in (rows, rows.tolist()):
        with pytest.raises(ValueError, match=r"X must have values of float64\. Got: i"):
            getattr(estimator, call)(X)


@pytest.mark.parametrize(
    "X", [np.array(5.0), np.array(None), 5.0, "text", None, []], ids=repr
)
@pytest.mark.parametrize("call", ["fit", "partial_fit", "transform"])
def test_input_that_is_not_a_matrix_is_refused(fitted, X, call):
    estimator = quick() if call != "transform" else fitted
    with pytest.raises((TypeError, ValueError), match=r"\w"):
        getattr(estimator, call)(X)


@pytest.mark.parametrize("call", ["fit", "partial_fit", "transform", "score"])
@pytest.mark.parametrize(
    "rows",
    [
        np.ma.masked_greater(np.ones((30, 12)) * np.arange(12), 5),
        np.full((30, 12), np.datetime64("2020-01-01")),
        np.full((30, 12), np.timedelta64(1, "s")),
        pd.DataFrame({f"x{i}": pd.date_range("2020", periods=30) for i in range(12)}),
        [[np.datetime64("2020-01-01")] * 12] * 30,
    ],
    ids=["masked", "dates", "durations", "frame of dates", "lists of dates"],
)
def test_masked_values_and_dates_are_refused(fitted, rows, call):
    estimator = quick() if call in ("fit", "partial_fit") else fitted
    with pytest.raises(TypeError, match="X must"):
        getattr(estimator, call)(rows)


@pytest.mark.parametrize("call", ["fit", "partial_fit", "transform", "score"])
def test_a_missing_value_in_lists_is_named(fitted, call):
    estimator = quick() if call in ("fit", "partial_fit") else fitted
    rows = np.random.default_rng(0).normal(size=(30, 12)).tolist()
    rows[3][5] = None
    with pytest.raises(ValueError, match="Got NaN in row 3, column 5"):
        getattr(estimator, call)(rows)


def test_codes_in_a_frame_with_reordered_columns_are_refused(few, fitted):
    names = fitted.get_feature_names_out()
    codes = pd.DataFrame(fitted.transform(few), columns=names)
    fitted.inverse_transform(codes)
    fitted.inverse_transform(codes[names[:2]])
    with pytest.raises(ValueError, match="in this order"):
        fitted.inverse_transform(codes[names[[1, 0, 2]]])
    with pytest.raises(ValueError, match="in this order"):
        fitted.inverse_transform(codes[names[1:]])


@pytest.mark.parametrize("call", ["fit", "transform"])
@pytest.mark.parametrize(
    "of",
    [
        lambda rows: pd.DataFrame({"vector": list(rows)}),
        lambda rows: pd.DataFrame({"price": rows[:, 0], "vector": rows.tolist()}),
        lambda rows: pl.DataFrame({"vector": rows.tolist()}),
        lambda rows: pl.DataFrame({"price": rows[:, 0], "vector": rows}),
    ],
    ids=["frame", "frame with numbers", "polars lists", "polars arrays"],
)
def test_a_column_of_lists_is_refused_with_what_to_pass(fitted, few, of, call):
    table = of(few)
    with pytest.raises(TypeError, match=r"'vector'.*np\.stack\(X\['vector'\]\)"):
        getattr(fitted if call == "transform" else quick(), call)(table)


@pytest.mark.parametrize("call", ["fit", "transform"])
def test_a_column_of_lists_alone_is_refused_too(fitted, few, call):
    column = pd.Series(list(few), index=range(7, 7 + len(few)))
    with pytest.raises(TypeError, match=r"in a row.*np\.stack\(X\)"):
        getattr(fitted if call == "transform" else quick(), call)(column)


@pytest.mark.parametrize("library", [pd, pl])
def test_what_the_error_of_a_column_of_lists_advises_works(fitted, few, library):
    table = library.DataFrame({"vector": few.tolist()})
    codes = fitted.transform(np.stack(table["vector"]))
    np.testing.assert_array_equal(codes, fitted.transform(few))


@pytest.mark.parametrize("call", ["fit", "transform"])
def test_a_column_of_numbers_is_no_matrix(fitted, few, call):
    with pytest.raises(ValueError, match=r"2D array|2-dimensional|1D"):
        getattr(fitted if call == "transform" else quick(), call)(pd.Series(few[:, 0]))


# A column with all of the variance


def test_a_key_among_the_columns_is_warned_of(few):
    table = np.column_stack([few, np.arange(len(few))])
    with pytest.warns(UserWarning, match=r"Column 12 of X has 9\d\.\d% of"):
        quick().fit(table)


@pytest.mark.parametrize(
    "of",
    [
        lambda rows: rows,
        lambda rows: rows[:, :1],
        lambda rows: StandardScaler().fit_transform(
            np.column_stack([rows, np.arange(len(rows))])
        ),
    ],
    ids=["embeddings", "one column", "scaled"],
)
def test_columns_of_like_variance_are_not_warned_of(few, of):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick().fit(of(few))


def test_behaviour_does_not_count_as_a_column(few):
    affinity = sparse.csr_array(np.kron(np.eye(100), np.ones((2, 2))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(affinity_weight=1e4).fit(few, affinity=affinity)

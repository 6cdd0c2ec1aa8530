from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import assert_same_model, small
from hypothesis import given, settings
from hypothesis import strategies as st

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")


@pytest.fixture(autouse=True)
def in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def frame(blobs):
    columns = [f"e{column}" for column in range(blobs.shape[1])]
    return pd.DataFrame(blobs, columns=columns, index=np.arange(len(blobs)) + 1000)


@pytest.fixture(scope="module")
def fitted_on_frame(frame):
    """A small transformer fitted on a data frame; tests must not change it."""
    return small().fit(frame)


# Transforms


def test_the_transform_of_an_array_is_lazy_with_known_chunks_and_dtype(fitted, blobs):
    def not_yet(block):
        raise AssertionError("computed")

    rows = da.from_array(blobs, chunks=(250, 12)).map_blocks(not_yet, dtype="f4")
    codes = fitted.transform(rows)
    assert isinstance(codes, da.Array)
    assert codes.chunks == ((250, 250, 100), (3,))
    assert codes.dtype == np.int64
    with pytest.raises(AssertionError, match="computed"):
        codes.compute()


@settings(max_examples=5, deadline=None)
@given(n_rows=st.integers(40, 700), n_columns=st.integers(1, 12))
def test_the_codes_do_not_depend_on_the_chunks(fitted, blobs, n_rows, n_columns):
    rows = da.from_array(blobs, chunks=(n_rows, n_columns))
    codes = fitted.transform(rows)
    expected = fitted.transform(blobs)
    assert codes.shape == expected.shape
    np.testing.assert_array_equal(codes.compute(), expected)
    back = fitted.inverse_transform(codes)
    assert back.chunks == (rows.chunks[0], (12,))
    assert back.dtype == np.float64
    np.testing.assert_array_equal(back.compute(), fitted.inverse_transform(expected))


def test_threads_of_dask_give_the_same_codes(fitted, blobs):
    codes = fitted.transform(da.from_array(blobs, chunks=(50, 12)))
    np.testing.assert_array_equal(
        codes.compute(scheduler="threads", num_workers=8), fitted.transform(blobs)
    )


def test_prefixes_are_reconstructed_too(fitted, blobs):
    codes = fitted.transform(blobs)
    prefixes = da.from_array(codes, chunks=(200, 1))[:, :2]
    np.testing.assert_array_equal(
        fitted.inverse_transform(prefixes).compute(),
        fitted.inverse_transform(codes[:, :2]),
    )


def test_a_frame_becomes_a_frame_with_its_index(fitted_on_frame, frame):
    rows = dd.from_pandas(frame, npartitions=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes = fitted_on_frame.transform(rows)
        found = codes.compute()
    assert list(codes.columns) == list(fitted_on_frame.get_feature_names_out())
    assert (codes.dtypes == np.int64).all()
    assert codes.npartitions == 3
    pd.testing.assert_index_equal(found.index, frame.index)
    np.testing.assert_array_equal(found, fitted_on_frame.transform(frame))
    back = fitted_on_frame.inverse_transform(codes)
    assert list(back.columns) == list(frame.columns)
    np.testing.assert_array_equal(
        back.compute(), fitted_on_frame.inverse_transform(found.to_numpy())
    )


def test_columns_of_a_reconstructed_frame_are_numbered_if_they_have_no_names(
    fitted, blobs
):
    codes = pd.DataFrame(fitted.transform(blobs))
    back = fitted.inverse_transform(dd.from_pandas(codes, npartitions=2))
    assert list(back.columns) == [f"x{column}" for column in range(12)]


def test_chunks_of_unknown_length_or_without_rows_work(fitted, frame, blobs):
    rows = dd.from_pandas(frame, npartitions=3)
    chosen = rows.loc[1300:]
    expected = fitted.transform(blobs[300:])
    codes = fitted.transform(chosen.to_dask_array())
    assert np.isnan(codes.shape[0])
    assert codes.shape[1] == 3
    np.testing.assert_array_equal(codes.compute(), expected)


@pytest.mark.parametrize("call", ["fit", "transform"])
def test_an_unknown_number_of_columns_is_refused(fitted, blobs, call):
    rows = da.from_array(blobs, chunks=(300, 6))
    unknown = rows[:, da.ones(12, chunks=6) > 0]
    estimator = small(max_epochs=1) if call == "fit" else fitted
    with pytest.raises(ValueError, match="X must have a known number of columns"):
        getattr(estimator, call)(unknown)


def test_a_later_fit_does_not_change_a_lazy_result(blobs):
    estimator = small(max_epochs=1).fit(blobs)
    expected = estimator.transform(blobs)
    codes = estimator.transform(da.from_array(blobs, chunks=(300, 12)))
    estimator.set_params(random_state=1).fit(blobs).set_output(transform="pandas")
    np.testing.assert_array_equal(codes.compute(), expected)


def test_the_graph_contains_the_model_once(fitted, blobs):
    codes = fitted.transform(da.from_array(blobs, chunks=(10, 12)))
    graph = dict(codes.dask)
    assert len(graph) < 3 * 60 + 5
    weights = fitted.net_.module_
    holding = [key for key, task in graph.items() if _holds(task, weights)]
    assert len(holding) == 1


def _holds(task, module):
    value = getattr(task, "value", task)
    net = getattr(value, "net_", None)
    return net is not None and net.module_ is module


# Refusals


def test_columns_are_checked_before_anything_is_computed(fitted, fitted_on_frame):
    with pytest.raises(ValueError, match=r"5 features.*12"):
        fitted.transform(da.zeros((10, 5)))
    frame = dd.from_pandas(pd.DataFrame(np.zeros((4, 12))).add_prefix("z"), 2)
    with pytest.raises(ValueError, match="feature names"):
        fitted_on_frame.transform(frame)
    with pytest.raises(ValueError, match="at most n_layers=3"):
        fitted.inverse_transform(da.zeros((10, 4), dtype=int))


@pytest.mark.parametrize("call", ["transform", "inverse_transform", "fit"])
def test_other_dask_collections_are_refused(fitted, blobs, call):
    estimator = small() if call == "fit" else fitted
    with pytest.raises(
        TypeError, match=r"Dask array or a Dask DataFrame. Got .*Delayed"
    ):
        getattr(estimator, call)(dask.delayed(blobs))
    with pytest.raises(ValueError, match=r"2 dimensions. Got 1"):
        getattr(estimator, call)(da.zeros(5))


def test_bad_values_are_an_error_of_the_computation(fitted, blobs):
    rows = da.from_array(np.where(blobs > 1, np.nan, blobs), chunks=(200, 12))
    with pytest.raises(ValueError, match="NaN"):
        fitted.transform(rows).compute()
    with pytest.raises(ValueError, match="below codebook_size"):
        fitted.inverse_transform(da.full((5, 3), 16)).compute()


def test_the_error_of_a_bad_value_says_where_its_chunk_begins(fitted, blobs):
    gap = blobs.copy()
    gap[577, 3] = np.nan
    with pytest.raises(ValueError, match=r"row 277.*which begins at row 300"):
        fitted.transform(da.from_array(gap, chunks=(300, 5))).compute()
    codes = np.zeros((600, 3), dtype=int)
    codes[577, 2] = 16
    back = fitted.inverse_transform(da.from_array(codes, chunks=(400, 3)))
    with pytest.raises(ValueError, match=r"row 177.*which begins at row 400"):
        back.compute()


def test_the_error_of_a_bad_value_names_a_chunk_whose_beginning_is_unknown(
    fitted, frame
):
    gap = frame.copy()
    gap.iloc[577, 3] = np.nan
    rows = dd.from_pandas(gap, npartitions=2).to_dask_array()
    with pytest.raises(ValueError, match=r"row 277.* within X\.blocks\[1\]\.$"):
        fitted.transform(rows).compute()


def test_the_error_of_a_bad_value_says_where_the_index_of_its_partition_begins(
    fitted_on_frame, frame
):
    gap = frame.copy()
    gap.iloc[577, 3] = np.nan
    codes = fitted_on_frame.transform(dd.from_pandas(gap, npartitions=2))
    for computed, number in [(codes, 1), (codes.partitions[1:], 0)]:
        place = f"within partition {number} of those computed"
        with pytest.raises(ValueError, match=f"row 277.*{place}.*begins with 1300"):
            computed.compute()


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_output_containers_in_memory_are_refused(blobs, container):
    rows = da.from_array(blobs, chunks=(300, 12))
    estimator = small(max_epochs=1).fit(blobs)
    with (
        sklearn.config_context(transform_output=container),
        pytest.raises(ValueError, match=rf"set_output.*Got transform='{container}'"),
    ):
        estimator.transform(rows)
    estimator.set_output(transform=container)
    with pytest.raises(ValueError, match=rf"set_output.*Got transform='{container}'"):
        estimator.transform(rows)


@pytest.mark.parametrize("call", ["score", "report"])
def test_score_and_report_refuse_dask_collections(fitted, blobs, call):
    with pytest.raises(TypeError, match=r"Dask collection.*computed"):
        getattr(fitted, call)(da.from_array(blobs))


def test_an_unfitted_transformer_says_so(blobs):
    with pytest.raises(sklearn.exceptions.NotFittedError):
        small().transform(da.from_array(blobs))


# Training


@pytest.mark.parametrize("chunks", [(600, 12), (77, 5), (1, 12)])
def test_an_array_that_fits_in_memory_trains_the_model_of_its_rows(
    blobs, chunks, caplog
):
    lazy = small(max_epochs=1).fit(da.from_array(blobs, chunks=chunks))
    assert_same_model(lazy, small(max_epochs=1).fit(blobs))
    assert not caplog.records


def test_a_frame_trains_a_model_that_knows_its_columns(frame, fitted_on_frame):
    lazy = small().fit(dd.from_pandas(frame, npartitions=4))
    np.testing.assert_array_equal(lazy.feature_names_in_, frame.columns)
    assert_same_model(lazy, fitted_on_frame)


def test_fit_transform_is_lazy_too(blobs):
    codes = small(max_epochs=1).fit_transform(da.from_array(blobs, chunks=(200, 12)))
    assert isinstance(codes, da.Array)
    expected = small(max_epochs=1).fit(blobs).transform(blobs)
    np.testing.assert_array_equal(codes.compute(), expected)


def test_partial_fit_on_an_array_continues_training(blobs):
    rows = da.from_array(blobs, chunks=(200, 12))
    lazy = small().partial_fit(rows).partial_fit(rows)
    assert_same_model(lazy, small().partial_fit(blobs).partial_fit(blobs))


MB_OF_100_ROWS = 100 * 12 * 4 / 2**20


@pytest.fixture
def read():
    """The rows that have been computed."""
    return set()


@pytest.fixture
def watched(blobs, read):
    def note(block):
        read.update(map(bytes, block))
        return block

    return da.from_array(blobs, chunks=(10, 12)).map_blocks(note, dtype="f4", meta=1)


def test_blocks_of_an_array_beyond_the_memory_budget_are_sampled(watched, read, caplog):
    estimator = small(resident_mb=1.01 * MB_OF_100_ROWS, codebook_size=4)
    with caplog.at_level(logging.WARNING, logger="sk_rqvae"):
        estimator.fit(watched)
    (record,) = caplog.records
    message = record.getMessage()
    assert "100 of the 600 rows" in message or "99 of" in message
    assert "resident_mb" in message
    assert 90 <= len(read) <= 200


def test_the_sampled_blocks_depend_on_the_seed_alone(blobs):
    rows = da.from_array(blobs, chunks=(20, 12))
    options = {"resident_mb": MB_OF_100_ROWS, "codebook_size": 4, "max_epochs": 1}
    one, again, other = (
        small(random_state=seed, **options).fit(rows) for seed in (0, 0, 1)
    )
    assert_same_model(one, again)
    means = [each.net_.module_.input_mean.numpy() for each in (one, other)]
    assert not np.array_equal(*means)


def test_the_sample_of_one_long_chunk_covers_all_of_it(blobs):
    rows = da.from_array(np.sort(blobs, axis=0), chunks=(600, 12))
    options = {"resident_mb": 3 * MB_OF_100_ROWS, "codebook_size": 4, "max_epochs": 1}
    mean = small(**options).fit(rows).net_.module_.input_mean.numpy()
    np.testing.assert_allclose(mean, blobs.mean(0), atol=0.3)


def test_a_collection_of_unknown_length_can_be_fitted(frame, blobs):
    rows = dd.from_pandas(frame, npartitions=3)
    array = rows.loc[1300:].to_dask_array()
    lazy = small(max_epochs=1).fit(array)
    assert_same_model(lazy, small(max_epochs=1).fit(blobs[300:]))
    assert np.isnan(array.shape[0])


def test_a_missing_value_of_a_nullable_column_is_named():
    columns = {f"x{i}": pd.array([1, 2, None, 4] * 50, dtype="Int64") for i in range(3)}
    gaps = pd.DataFrame(columns)
    filled = dd.from_pandas(gaps.fillna(3), npartitions=2)
    missing = dd.from_pandas(gaps, npartitions=2)
    estimator = small(max_epochs=1, codebook_size=2).fit(filled)
    assert estimator.transform(filled).compute().shape == (200, 3)
    with pytest.raises(ValueError, match="NaN in row 2, column 0"):
        small(max_epochs=1).fit(missing)
    with pytest.raises(ValueError, match="NaN in row 2, column 0"):
        estimator.transform(missing).compute()


def test_a_memory_budget_of_zero_still_trains(blobs):
    with pytest.warns(UserWarning, match="different rows"):
        small(resident_mb=0, max_epochs=1).fit(da.from_array(blobs, chunks=(50, 12)))


def test_a_failed_fit_does_not_change_the_estimator(blobs):
    def lost(block):
        raise OSError("the block is lost")

    estimator = small(max_epochs=1).fit(blobs)
    net = estimator.net_
    with pytest.raises(OSError, match="lost"):
        estimator.fit(da.from_array(blobs).map_blocks(lost, dtype="f4", meta=blobs[:0]))
    assert estimator.net_ is net


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_masked_values_in_a_chunk_are_refused(blobs, call):
    masked = np.ma.masked_equal(blobs, blobs.max())
    with pytest.raises(TypeError, match="X must not have masked values"):
        getattr(small(), call)(da.from_array(masked, chunks=50))


def test_frames_of_codes_in_another_order_are_refused(fitted, blobs):
    names = fitted.get_feature_names_out()
    codes = pd.DataFrame(fitted.transform(blobs[:20]), columns=names)
    for columns in (names[::-1], names[1:]):
        frame = dd.from_pandas(codes[columns], npartitions=2)
        with pytest.raises(ValueError, match="X must have"):
            fitted.inverse_transform(frame)

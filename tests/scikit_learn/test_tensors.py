"""Tensors on the CPU, with and without scikit-learn's array API dispatch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import assert_same_model, small
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_array_api_input

from sk_rqvae import RQVAETransformer
from sk_rqvae._sklearn.array_namespace import array_or_device_tensor
from sk_rqvae.scorers import explained_variance_scorer, neg_collision_rate_scorer

CPU = torch.device("cpu")


class WithoutArrayAttributes(RQVAETransformer):
    """Hides the fitted attributes, which stay NumPy arrays, from a check."""

    def fit(self, X, y=None, **arguments):
        super().fit(X, y, **arguments)
        self.codebook_gains_ = list(self.codebook_gains_)
        return self


def test_a_tensor_gives_the_arrays_of_its_array_without_dispatch(fitted, blobs):
    rows = torch.from_numpy(blobs)
    codes = fitted.transform(blobs)
    np.testing.assert_array_equal(fitted.transform(rows), codes)
    assert isinstance(fitted.transform(rows), np.ndarray)
    assert fitted.score(rows) == fitted.score(blobs)
    back = fitted.inverse_transform(torch.from_numpy(codes))
    assert isinstance(back, np.ndarray)
    np.testing.assert_array_equal(back, fitted.inverse_transform(codes))


def test_a_tensor_gives_tensors_of_the_same_values_with_dispatch(
    fitted, blobs, dispatch
):
    rows = torch.from_numpy(blobs)
    codes = fitted.transform(rows)
    assert codes.dtype == torch.int64
    np.testing.assert_array_equal(codes, fitted.transform(blobs))
    back = fitted.inverse_transform(codes)
    assert back.dtype == torch.float64
    np.testing.assert_array_equal(back, fitted.inverse_transform(codes.numpy()))
    for found, expected in zip(
        fitted.candidates(rows, k=2), fitted.candidates(blobs, k=2), strict=True
    ):
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found, expected)


def test_arrays_and_data_frames_give_arrays_with_dispatch(fitted, blobs, dispatch):
    for rows in (blobs, pd.DataFrame(blobs), blobs.tolist()):
        codes = fitted.transform(rows)
        assert isinstance(codes, np.ndarray)
        assert isinstance(fitted.inverse_transform(codes), np.ndarray)


def test_a_tensor_gives_the_model_of_its_array(blobs, dispatch):
    weights = np.arange(len(blobs)) % 3
    from_array = small(max_epochs=1).fit(blobs, sample_weight=weights)
    from_tensor = small(max_epochs=1).fit(
        torch.from_numpy(blobs), sample_weight=torch.from_numpy(weights)
    )
    assert_same_model(from_tensor, from_array)
    assert isinstance(from_tensor.codebook_gains_, np.ndarray)


def test_fit_transform_in_a_pipeline_of_tensors_gives_tensors(blobs, dispatch):
    scaled = StandardScaler().fit_transform(torch.from_numpy(blobs))
    assert isinstance(small(max_epochs=1).fit_transform(scaled), torch.Tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_codes_follow_the_values_of_a_tensor_of_another_type(
    fitted, blobs, dispatch, dtype
):
    rows = torch.from_numpy(blobs).to(dtype)
    expected = fitted.transform(rows.double().numpy())
    np.testing.assert_array_equal(fitted.transform(rows), expected)


@pytest.mark.parametrize("dispatched", [False, True])
def test_results_are_no_part_of_the_graph_of_the_rows(
    fitted, blobs, dispatched, request
):
    if dispatched:
        request.getfixturevalue("dispatch")
    rows = torch.from_numpy(blobs.copy()).requires_grad_()
    codes = torch.as_tensor(fitted.transform(rows))
    small(max_epochs=1).fit(rows)
    assert not codes.requires_grad
    np.testing.assert_array_equal(codes, fitted.transform(blobs))


def test_users_can_compute_gradients_with_the_codes(fitted, blobs, dispatch):
    rows = torch.from_numpy(blobs)
    table = torch.nn.Embedding(16, 4)
    for codes in (fitted.transform(rows), fitted.candidates(rows, k=2)[0]):
        table(codes).sum().backward()
    assert table.weight.grad.abs().sum() > 0


def test_a_pipeline_of_tensors_is_scored_as_one_of_arrays(blobs, dispatch):
    pipeline = make_pipeline(StandardScaler(), small(max_epochs=1))
    scores = [
        scorer(clone(pipeline).fit(rows), rows)
        for scorer in (explained_variance_scorer, neg_collision_rate_scorer)
        for rows in (torch.from_numpy(blobs).double(), blobs.astype(np.float64))
    ]
    assert scores[0] == pytest.approx(scores[1])
    assert scores[2] == pytest.approx(scores[3])


def test_pandas_output_takes_tensors(blobs, dispatch):
    rows = torch.from_numpy(blobs)
    codes = small(max_epochs=1).set_output(transform="pandas").fit_transform(rows)
    assert list(codes.columns) == [f"rqvaetransformer{level}" for level in range(3)]
    assert (codes.dtypes == np.int64).all()


def test_an_array_of_a_tensor_shares_its_memory_unless_it_is_bfloat16():
    rows = torch.ones(3, 2)
    assert np.shares_memory(array_or_device_tensor(rows, CPU), rows.numpy())
    short = array_or_device_tensor(rows.bfloat16(), CPU)
    assert short.dtype == np.float32
    np.testing.assert_array_equal(short, rows)


def test_a_tensor_on_a_device_is_refused_with_both_ways_out(fitted):
    rows = torch.ones(3, 12, device="meta")
    with pytest.raises(
        TypeError, match=r"on meta\. Pass X\.cpu\(\), or .*array_api_dispatch=True"
    ):
        fitted.transform(rows)


@pytest.mark.parametrize("call", ["fit", "transform", "inverse_transform"])
def test_a_tensor_on_another_device_than_the_model_is_refused(call, blobs, dispatch):
    estimator = small(max_epochs=1).fit(blobs)
    with pytest.raises(
        ValueError, match=r'on cpu, where the model is.* on meta\. Pass X\.to\("cpu"\)'
    ):
        getattr(estimator, call)(torch.ones(3, 3, device="meta"))


class ArrayOfAnotherLibrary:
    def __array_namespace__(self):
        raise AssertionError


def test_arrays_of_other_libraries_are_refused_with_what_to_do(fitted, dispatch):
    with pytest.raises(TypeError, match=r"Pass torch\.from_dlpack\(X\)"):
        fitted.transform(ArrayOfAnotherLibrary())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_refused(fitted, blobs, dispatch, value):
    rows = torch.from_numpy(blobs).clone()
    rows[7, 2] = value
    with pytest.raises(ValueError, match="in row 7, column 2"):
        fitted.transform(rows)


@pytest.mark.parametrize(("dtype", "weighted"), [("float32", False), ("float64", True)])
def test_it_passes_the_check_of_scikit_learn_for_tensors(dtype, weighted, dispatch):
    parameters = small(n_layers=2, codebook_size=4, max_epochs=1).get_params()
    check_array_api_input(
        "RQVAETransformer",
        WithoutArrayAttributes(**parameters),
        "torch",
        "cpu",
        dtype,
        check_values=True,
        check_sample_weight=weighted,
    )


def test_a_tensor_that_is_a_negated_view_gives_the_codes_of_its_values(fitted, blobs):
    rows = torch.complex(torch.zeros(blobs.shape), torch.from_numpy(-blobs)).conj().imag
    assert rows.is_neg()
    np.testing.assert_array_equal(fitted.transform(rows), fitted.transform(blobs))

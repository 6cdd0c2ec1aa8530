"""Tensors on a device, where tensors on the CPU stand for them.

The package is made to believe that NumPy cannot share the memory of the CPU. Everything
else is as on a CUDA device.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import assert_same_model, small
from operation_log import OperationLog

from sk_rqvae._sklearn import array_namespace

N_COLUMNS, N_LAYERS = 12, 3
FEW = 50


@pytest.fixture(autouse=True)
def _cpu_is_a_device(monkeypatch, dispatch):
    """Keep tensors on the CPU tensors, as those on a CUDA device are."""
    monkeypatch.setattr(array_namespace, "is_in_host_memory", lambda X: False)


@pytest.fixture
def leaving(monkeypatch):
    """Shapes of tensors of rows or codes that were copied to the CPU.

    Other tensors are copied there too, such as codebooks, which have few rows, and
    distances, which have other columns.
    """
    shapes = []

    def recorded(name):
        method = getattr(torch.Tensor, name)

        def record(self, *args, **kwargs):
            if self.ndim == 2 and self.shape[1] in (N_COLUMNS, N_LAYERS):
                shapes.append(tuple(self.shape))
            return method(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, record)

    for name in ("cpu", "numpy", "tolist", "__array__"):
        recorded(name)
    return shapes


def many(shapes):
    return [shape for shape in shapes if shape[0] > FEW]


@pytest.fixture
def rows(blobs):
    return torch.from_numpy(blobs.copy())


@pytest.mark.parametrize(
    "options", [{}, {"n_beams": 1}, {"n_cat_features": 2}], ids=str
)
def test_codes_and_reconstructions_are_those_of_the_array(rows, options):
    rows[:, -2:] = (rows[:, -2:] > 0).float()
    estimator = small(max_epochs=1, **options).fit(rows.numpy())
    codes = estimator.transform(rows)
    assert codes.dtype == torch.int64
    np.testing.assert_array_equal(codes, estimator.transform(rows.numpy()))
    back = estimator.inverse_transform(codes)
    np.testing.assert_array_equal(back, estimator.inverse_transform(codes.numpy()))
    assert estimator.score(rows) == pytest.approx(estimator.score(rows.numpy()))
    for found, expected in zip(
        estimator.candidates(rows, 2),
        estimator.candidates(rows.numpy(), 2),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_rows", [1, 255, 256, 257, 600])
def test_codes_do_not_depend_on_the_number_of_rows_or_their_layout(
    fitted, rows, blobs, n_rows
):
    expected = fitted.transform(blobs)[:n_rows]
    for part in (rows[:n_rows], rows.T.contiguous().T[:n_rows]):
        np.testing.assert_array_equal(fitted.transform(part), expected)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8]
)
def test_codes_follow_the_values_of_a_tensor_of_any_type(fitted, rows, dtype):
    converted = (3 * rows.abs()).to(dtype)
    expected = fitted.transform(converted.double().numpy())
    np.testing.assert_array_equal(fitted.transform(converted), expected)


@pytest.mark.parametrize(
    ("options", "weighted"),
    [
        ({}, False),
        ({"resident_mb": 0}, True),
        ({"early_stopping": True}, True),
        ({"n_cat_features": 2}, True),
    ],
    ids=str,
)
def test_a_fit_differs_from_that_of_the_array_by_rounding_only(rows, options, weighted):
    rows[:, -2:] = (rows[:, -2:] > 0).float()
    weights = torch.arange(len(rows)) % 3 if weighted else None
    from_array, from_tensor = (
        small(max_epochs=1, **options).fit(each, sample_weight=weights)
        for each in (rows.numpy(), rows)
    )
    theirs = from_array.net_.module_.state_dict()
    for name, value in from_tensor.net_.module_.state_dict().items():
        torch.testing.assert_close(value, theirs[name], msg=name)


def test_training_continues_from_tensors(rows):
    estimators = [
        small(max_epochs=1, warm_start=True).fit(rows.numpy()) for _ in range(2)
    ]
    for estimator, each in zip(estimators, (rows, rows.numpy()), strict=True):
        estimator.partial_fit(each).fit(each)
    assert_same_model(*estimators)


@pytest.mark.parametrize("options", [{}, {"resident_mb": 0}], ids=str)
def test_neither_rows_nor_codes_leave_the_device(rows, leaving, options):
    estimator = small(max_epochs=1, **options).fit(rows)
    estimator.inverse_transform(estimator.transform(rows))
    estimator.candidates(rows)
    estimator.score(rows)
    assert many(leaving) == []


def test_the_record_of_what_leaves_sees_a_copy_of_rows(rows, leaving):
    np.asarray(rows)
    rows.cpu()
    assert len(many(leaving)) >= 2


def test_only_the_check_of_the_values_waits_for_the_device(rows):
    # On the CPU, experts take their rows one after the other.
    fitted = small(n_experts=0, max_epochs=1).fit(rows.numpy())
    log = OperationLog()
    with log:
        codes = fitted.transform(rows)
    assert len(log.waits) == 1
    log = OperationLog()
    with log:
        fitted.inverse_transform(codes)
    assert len(log.waits) == 1


def test_rows_are_not_changed_and_not_kept(fitted, rows, blobs):
    codes = fitted.transform(rows)
    small(max_epochs=1).fit(rows.double()).transform(rows)
    np.testing.assert_array_equal(rows, blobs)
    before = codes.clone()
    rows.zero_()
    assert torch.equal(codes, before)


def test_a_report_describes_rows_on_a_device(fitted, rows, blobs):
    found, expected = fitted.report(rows), fitted.report(blobs)
    np.testing.assert_array_equal(found.n_distinct, expected.n_distinct)
    np.testing.assert_allclose(found.explained_variance, expected.explained_variance)


def test_columns_names_and_shapes_are_checked(fitted, rows):
    with pytest.raises(ValueError, match="expecting 12 features"):
        fitted.transform(rows[:, :5])
    with pytest.raises(ValueError, match="Expected 2D"):
        fitted.transform(rows[0])
    with pytest.raises(ValueError, match="0 sample"):
        fitted.transform(rows[:0])
    with pytest.raises(ValueError, match="Complex data not supported"):
        fitted.transform(rows.cfloat())
    with pytest.raises(ValueError, match="n_cat_features=2"):
        small(n_cat_features=2).fit(rows)
    with pytest.raises(ValueError, match="at most n_layers=3"):
        fitted.inverse_transform(rows)


def test_values_too_far_apart_are_refused(rows):
    rows = rows.double()
    rows[0, 0] = torch.finfo(torch.float64).max
    rows[1, 0] = -torch.finfo(torch.float64).max
    with pytest.raises(ValueError, match="too far from its column's mean"):
        small().fit(rows)

"""Tensors on a CUDA device, with scikit-learn's array API dispatch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small
from operation_log import OperationLog
from scipy.sparse import eye_array
from sklearn import config_context
from torch.utils._python_dispatch import TorchDispatchMode

N_COLUMNS, N_LAYERS = 12, 3
MANY = 500

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def rows(blobs, dispatch):
    return torch.from_numpy(blobs).cuda()


class RowsOnTheCPU(TorchDispatchMode):
    """Record operations that made a tensor of many rows or codes on the CPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, (tuple, list)) else [out]:
            if (
                torch.is_tensor(made)
                and made.device.type == "cpu"
                and made.ndim == 2
                and len(made) > MANY
                and made.shape[1] in (N_COLUMNS, N_LAYERS)
            ):
                self.found.append(func.name())
        return out


def same(tensor, array):
    """Compare a tensor, which must be on CUDA, with an array bit for bit."""
    assert tensor.device.type == "cuda"
    np.testing.assert_array_equal(tensor.cpu().numpy(), array)


def test_codes_and_reconstructions_are_those_of_the_array(on_cuda, rows, blobs):
    codes = on_cuda.transform(rows)
    assert codes.dtype == torch.int64
    same(codes, on_cuda.transform(blobs))
    back = on_cuda.inverse_transform(codes)
    assert back.dtype == torch.float64
    same(back, on_cuda.inverse_transform(codes.cpu().numpy()))
    same(
        on_cuda.inverse_transform(codes[:, :1]),
        on_cuda.inverse_transform(codes[:, :1].cpu().numpy()),
    )
    for found, expected in zip(
        on_cuda.candidates(rows, k=2), on_cuda.candidates(blobs, k=2), strict=True
    ):
        same(found, expected)
    assert on_cuda.score(rows) == pytest.approx(on_cuda.score(blobs))
    np.testing.assert_allclose(
        on_cuda.report(rows).explained_variance,
        on_cuda.report(blobs).explained_variance,
    )


@pytest.mark.parametrize("n_rows", [1, 100, 599])
def test_codes_do_not_depend_on_the_number_of_rows_or_their_layout(
    on_cuda, rows, blobs, n_rows
):
    expected = on_cuda.transform(blobs)[:n_rows]
    same(on_cuda.transform(rows[:n_rows]), expected)
    same(on_cuda.transform(rows.T.contiguous().T[:n_rows]), expected)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32]
)
def test_codes_follow_the_values_of_a_tensor_of_any_type(on_cuda, rows, dtype):
    converted = (3 * rows).to(dtype)
    expected = on_cuda.transform(converted.double().cpu().numpy())
    same(on_cuda.transform(converted), expected)


@pytest.mark.parametrize(
    ("options", "weighted"),
    [
        ({}, False),
        ({"resident_mb": 0}, True),
        ({"early_stopping": True}, True),
        ({"n_cat_features": 2}, False),
    ],
    ids=str,
)
def test_a_fit_takes_rows_from_the_device(rows, options, weighted):
    rows = rows.clone()
    rows[:, -2:] = (rows[:, -2:] > 0).float()
    weights = torch.arange(len(rows), device="cuda") % 3 if weighted else None
    estimator = small(device="cuda", **options).fit(rows, sample_weight=weights)
    from_array = small(device="cuda", **options).fit(
        rows.cpu().numpy(), sample_weight=None if weights is None else weights.cpu()
    )
    assert estimator.score(rows) == pytest.approx(from_array.score(rows), abs=0.05)
    assert isinstance(estimator.codebooks_[0], np.ndarray)
    assert isinstance(estimator.codebook_gains_, np.ndarray)
    estimator.partial_fit(rows)
    same(estimator.transform(rows), estimator.transform(rows.cpu().numpy()))


def test_a_fit_with_affinity_takes_rows_from_the_device(rows):
    n_rows = len(rows)
    affinity = sum(eye_array(n_rows, k=offset) for offset in (-1, 1))
    estimator = small(device="cuda", max_epochs=1).fit(rows, affinity=affinity)
    assert estimator.transform(rows).device.type == "cuda"


@pytest.mark.parametrize("options", [{}, {"resident_mb": 0}], ids=str)
def test_neither_rows_nor_codes_leave_the_device(rows, options):
    record = RowsOnTheCPU()
    with record:
        estimator = small(device="cuda", max_epochs=1, **options).fit(rows)
        estimator.inverse_transform(estimator.transform(rows))
        estimator.candidates(rows)
        estimator.score(rows)
    assert record.found == []
    with record:
        rows.cpu()
    assert len(record.found) == 1


def test_a_tensor_adds_only_its_check_to_what_waits_for_the_device(
    on_cuda, rows, blobs
):
    logs = []
    for each in (rows, blobs):
        logs.append(OperationLog())
        with logs[-1]:
            on_cuda.transform(each)
    assert len(logs[0].waits) <= len(logs[1].waits) + 1


def test_a_tensor_on_the_cpu_gives_a_tensor_there(on_cuda, rows, blobs):
    codes = on_cuda.transform(rows.cpu())
    assert codes.device.type == "cpu"
    np.testing.assert_array_equal(codes.numpy(), on_cuda.transform(blobs))
    assert on_cuda.inverse_transform(codes).device.type == "cpu"
    assert isinstance(on_cuda.transform(blobs), np.ndarray)


def test_without_dispatch_a_tensor_on_cuda_is_refused(on_cuda, rows):
    with (
        config_context(array_api_dispatch=False),
        pytest.raises(
            TypeError, match=r"Pass X\.cpu\(\), or .*array_api_dispatch=True"
        ),
    ):
        on_cuda.transform(rows)


@pytest.mark.parametrize("call", ["fit", "transform"])
def test_a_model_on_the_cpu_refuses_a_tensor_on_cuda(rows, blobs, call):
    estimator = small(device="cpu", max_epochs=1).fit(blobs)
    with pytest.raises(ValueError, match=r'on cuda:0\. Pass X\.to\("cpu"\)'):
        getattr(estimator, call)(rows)


def test_wrong_values_are_named(on_cuda, rows):
    wrong = rows.clone()
    wrong[7, 2] = torch.nan
    with pytest.raises(ValueError, match="Got NaN in row 7, column 2"):
        on_cuda.transform(wrong)
    codes = on_cuda.transform(rows)
    codes[5, 1] = 16
    with pytest.raises(ValueError, match="in row 5, column 1"):
        on_cuda.inverse_transform(codes)


def test_users_can_compute_gradients_with_the_codes(on_cuda, rows):
    table = torch.nn.Embedding(16, 4).cuda()
    rows = rows.clone().requires_grad_()
    table(on_cuda.transform(rows)).sum().backward()
    assert table.weight.grad.abs().sum() > 0
    assert rows.grad is None

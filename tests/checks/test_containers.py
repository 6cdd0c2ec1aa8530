from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from sk_rqvae._checks.containers import dense_in_memory


def test_a_tensor_gives_the_codes_of_its_array(fitted, blobs):
    rows = torch.from_numpy(blobs)
    codes = fitted.transform(blobs)
    np.testing.assert_array_equal(fitted.transform(rows), codes)
    np.testing.assert_array_equal(fitted.transform(rows.float()), codes)
    assert fitted.score(rows) == fitted.score(blobs)
    np.testing.assert_array_equal(
        fitted.inverse_transform(torch.from_numpy(codes)),
        fitted.inverse_transform(codes),
    )


def test_a_tensor_shares_its_memory_unless_it_is_bfloat16():
    rows = torch.ones(3, 2)
    assert np.shares_memory(dense_in_memory(rows), rows.numpy())
    short = dense_in_memory(rows.bfloat16())
    assert short.dtype == np.float32
    np.testing.assert_array_equal(short, rows)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (torch.ones(3, 2, requires_grad=True), r"Pass X\.detach\(\)"),
        (torch.ones(3, 2, device="meta"), r"a tensor on meta\. Pass X\.cpu\(\)"),
        (torch.eye(3).to_sparse(), "TruncatedSVD"),
        (sparse.csr_matrix(np.eye(3)), "TruncatedSVD"),
        (sparse.coo_array(np.eye(3)), "TruncatedSVD"),
    ],
)
def test_other_containers_are_refused_with_what_to_do(rows, says):
    with pytest.raises(TypeError, match=says):
        dense_in_memory(rows)


@pytest.mark.parametrize("call", ["transform", "score", "fit", "partial_fit"])
def test_sparse_rows_are_refused_by_every_call(fitted, blobs, call):
    with pytest.raises(TypeError, match="Put TruncatedSVD before the transformer"):
        getattr(fitted, call)(sparse.csr_array(blobs))

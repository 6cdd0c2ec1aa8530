from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from sk_rqvae._checks.containers import refuse_sparse


@pytest.mark.parametrize(
    "rows",
    [
        torch.eye(3).to_sparse(),
        sparse.csr_matrix(np.eye(3)),
        sparse.coo_array(np.eye(3)),
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_sparse_rows_are_refused_with_what_to_do(rows):
    with pytest.raises(TypeError, match="TruncatedSVD"):
        refuse_sparse(rows)


@pytest.mark.parametrize("call", ["transform", "score", "fit", "partial_fit"])
def test_sparse_rows_are_refused_by_every_call(fitted, blobs, call):
    with pytest.raises(TypeError, match="Put TruncatedSVD before the transformer"):
        getattr(fitted, call)(sparse.csr_array(blobs))

"""Rows in containers that are not dense."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse import issparse


def refuse_sparse(X: Any) -> None:
    """Raise if rows are sparse.

    Raises
    ------
    TypeError
        Naming what to put before the transformer.
    """
    if issparse(X) or (isinstance(X, torch.Tensor) and X.layout != torch.strided):
        raise TypeError(
            "X must be dense. Got sparse rows. Put TruncatedSVD before the "
            "transformer: make_pipeline(TruncatedSVD(256), RQVAETransformer())."
        )

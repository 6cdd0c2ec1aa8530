"""A warning of one column that has nearly all of the variance."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

# What counts as such a column is a choice: nine tenths.
_DOMINANT_SHARE = 0.9


@torch.no_grad()
def warn_of_dominant_column(rows: Tensor) -> None:
    """Warn if codes will describe one column, such as a key, and hardly the others.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        Rows of `X`, standardised with one scale for all columns.
    """
    variances = rows.var(dim=0, correction=0)
    share, column = (variances / variances.sum()).max(dim=0)
    if rows.shape[1] > 1 and share > _DOMINANT_SHARE:
        warnings.warn(
            f"Column {int(column)} of X has {float(share):.1%} of the variance: codes "
            "will describe it and hardly the others. If it is a key, drop it. "
            "Otherwise scale the columns, for instance by StandardScaler.",
            UserWarning,
            stacklevel=2,
        )

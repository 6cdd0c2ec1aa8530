"""Principal axes on the device that training uses."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def principal_variances(x: Tensor) -> Tensor:
    """Variances of centred rows along their principal axes, rising, float64."""
    return torch.linalg.eigvalsh((x.T @ x).double() / len(x))


@torch.no_grad()
def principal_axes(x: Tensor, count: int) -> Tensor:
    """The first `count` principal axes of centred rows.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
    count : int
        At most `n_features`.

    Returns
    -------
    Tensor of shape (count, n_features)
        Orthonormal rows, by falling variance.
    """
    _, vectors = torch.linalg.eigh((x.T @ x).double())
    return vectors.flip(1)[:, :count].T.to(x.dtype).contiguous()

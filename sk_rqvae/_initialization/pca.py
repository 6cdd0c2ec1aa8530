"""Principal component analysis on the device that training uses."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def principal_components(x: Tensor) -> tuple[Tensor, Tensor]:
    """Principal axes of centred rows, and variances in descending order.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)

    Returns
    -------
    variances : Tensor of shape (n_features,), float64
    axes : Tensor of shape (n_features, n_features)
        Orthonormal rows.
    """
    variances, vectors = torch.linalg.eigh((x.T @ x).double() / len(x))
    return variances.flip(0).clamp_min(0), vectors.flip(1).T.to(x.dtype).contiguous()


def principal_axes(x: Tensor, count: int) -> Tensor:
    """The first `count` principal axes of centred rows, ``(count, n_features)``."""
    return principal_components(x)[1][:count]

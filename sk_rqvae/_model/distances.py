"""Squared distances to the vectors of a codebook."""

from __future__ import annotations

from torch import Tensor

from sk_rqvae._model.products import addmm


def squared_distances(points: Tensor, codebook: Tensor) -> Tensor:
    """Squared Euclidean distances by one matrix product.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
    codebook : Tensor of shape (codebook_size, dim)

    Returns
    -------
    Tensor of shape (n, codebook_size)
        Rounding can leave tiny negative values where a point lies on a code.
    """
    products = addmm(codebook.square().sum(1), points, codebook.T, alpha=-2)
    return products + points.square().sum(1, keepdim=True)

"""Test whether points are Gaussian, by how much k-means explains of them."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._initialization.kmeans import progressive_kmeans
from sk_rqvae._model.distances import squared_distances

# Points and Gaussian points are clustered alike, so these constants change the time and
# the noise of the ratio of their errors, not what it is on average. Not measured.
_POINTS_PER_CODE = 64
_HELD_OUT_SHARE = 0.25
_ITERATIONS = 3
_ROWS_AT_ONCE = 1024


@torch.no_grad()
def explained_beyond_gaussian(
    points: Tensor, n_codes: int, generator: torch.Generator
) -> float:
    """Compare k-means on points and on Gaussian points of the same variances.

    Both errors are measured on held-out points.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
        Centred, in random order, with uncorrelated columns as principal components
        have.
    n_codes : int
        Clusters; fewer if there are fewer points.
    generator : torch.Generator

    Returns
    -------
    float
        One minus the ratio of the squared errors. About 0 for Gaussian points, at most
        1 for clusters without spread, below 0 where points are harder to cluster than
        Gaussian ones. 0 for fewer than four points or no variance.
    """
    points = points[: _POINTS_PER_CODE * n_codes]
    n_held_out = int(_HELD_OUT_SHARE * len(points))
    if n_held_out == 0:
        return 0.0
    gaussian = torch.randn(
        points.shape, dtype=points.dtype, device=points.device, generator=generator
    )
    gaussian *= points.square().mean(0).sqrt()
    error, expected = (
        _held_out_error(rows[n_held_out:], rows[:n_held_out], n_codes, generator)
        for rows in (points, gaussian)
    )
    return 1 - error / expected if expected > 0 else 0.0


def _held_out_error(
    points: Tensor, held_out: Tensor, n_codes: int, generator: torch.Generator
) -> float:
    """Share of the squares of held-out points that k-means does not explain."""
    power = float(held_out.square().sum())
    if power == 0:
        return 0.0
    centres = progressive_kmeans(
        points.clone(),
        min(n_codes, len(points)),
        generator=generator,
        n_iterations=_ITERATIONS,
    )
    blocks = held_out.split(_ROWS_AT_ONCE)
    errors = (
        squared_distances(block, centres).amin(1).clamp_min(0) for block in blocks
    )
    return sum(float(each.sum()) for each in errors) / power

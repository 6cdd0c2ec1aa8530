"""Whether codes tell more of points than their variances let one expect."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._distances import squared_distances
from sk_rqvae._kmeans import progressive_kmeans

_POINTS_PER_CODE = 64
_SHARE_HELD_OUT = 0.25
_ITERATIONS = 3
_ROWS_AT_ONCE = 1024


@torch.no_grad()
def told_beyond_gaussian(points: Tensor, n_codes: int) -> float:
    """How much less k-means leaves of points than of Gaussian ones like them.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
        Centred, in random order, with independent columns as principal components are.
    n_codes : int
        Clusters, at most; no more than there are points to place them.

    Returns
    -------
    float
        Share of the squared error that Gaussian points of the same variances are left
        with which these are not, both measured on points held out. About 0 for Gaussian
        points, at most 1 for clusters without width, and below 0 where points are
        harder to tell apart. 0 if there are fewer than four points, or no variance.
    """
    points = points[: _POINTS_PER_CODE * n_codes]
    n_held_out = int(_SHARE_HELD_OUT * len(points))
    if n_held_out == 0:
        return 0.0
    gaussian = torch.randn_like(points) * points.square().mean(0).sqrt()
    left, expected = (
        _left_over(rows[n_held_out:], rows[:n_held_out], n_codes)
        for rows in (points, gaussian)
    )
    return 1 - left / expected if expected > 0 else 0.0


def _left_over(placing: Tensor, held_out: Tensor, n_codes: int) -> float:
    """Share of the squares of held-out points that their nearest centres leave."""
    power = float(held_out.square().sum())
    if power == 0:
        return 0.0
    centres = progressive_kmeans(
        placing.clone(), min(n_codes, len(placing)), n_iterations=_ITERATIONS
    )
    blocks = held_out.split(_ROWS_AT_ONCE)
    errors = (
        squared_distances(block, centres).amin(1).clamp_min(0) for block in blocks
    )
    return sum(float(each.sum()) for each in errors) / power

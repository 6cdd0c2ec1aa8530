"""k-means on the device that training uses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._principal import principal_axes
from sk_rqvae._progress import Advance, untold
from sk_rqvae._smallest import nearest

_ROWS_AT_ONCE = 4096
_STAGES = 10
_STAGES_OF_ALL_POINTS = 2
_POINTS_PER_CLUSTER = 32


@torch.no_grad()
def progressive_kmeans(
    points: Tensor,
    n_clusters: int,
    *,
    n_iterations: int = 10,
    advance: Advance = untold,
) -> Tensor:
    """Cluster in the first principal components, then in more and more of them.

    Started at once in many dimensions, k-means leaves many centres where they began,
    on single points. Started in few, it divides the bulk of the points first, for which
    some of them are enough.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
        In random order. Overwritten: a copy could be the largest thing in memory while
        a fit starts.
    n_clusters : int
        May exceed the number of points.
    n_iterations : int, default=10
        For each number of components.
    advance : Advance, default=untold
        Told of each iteration's share, 1 in all.

    Returns
    -------
    Tensor of shape (n_clusters, dim)

    References
    ----------
    Douze et al. (2024), "The faiss library", arXiv:2401.08281.
    """
    mean = points.mean(0)
    points -= mean
    axes = principal_axes(points, points.shape[1])
    for block in points.split(_ROWS_AT_ONCE):
        block.copy_(block @ axes.T)
    dims = stages(points.shape[1])
    few = points[: _POINTS_PER_CLUSTER * n_clusters]
    n_early = len(dims) - _STAGES_OF_ALL_POINTS
    share = 1 / (len(dims) * n_iterations)
    centres = random_rows(points[:, : dims[0]], n_clusters)
    for stage, dim in enumerate(dims):
        sample = few if stage < n_early else points
        centres = kmeans(
            sample[:, :dim],
            F.pad(centres, (0, dim - centres.shape[1])),
            n_iterations=n_iterations,
            advance=partial(advance, share),
        )
    return centres @ axes + mean


def stages(dim: int) -> list[int]:
    """Dimensions to cluster in, in turn: about a geometric series up to `dim`."""
    series = {
        max(1, round(dim ** (stage / _STAGES))) for stage in range(1, _STAGES + 1)
    }
    return sorted(series)


@torch.no_grad()
def kmeans(
    points: Tensor,
    start: Tensor,
    *,
    n_iterations: int,
    advance: Callable[[], None] = untold,
) -> Tensor:
    """Lloyd's algorithm; clusters that run empty split the largest.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
    start : Tensor of shape (n_clusters, dim)
        Centres to begin with.
    n_iterations : int
    advance : callable, default=untold
        Called after each.

    Returns
    -------
    Tensor of shape (n_clusters, dim)

    References
    ----------
    Lloyd (1982), "Least squares quantization in PCM".
    """
    points, centres = points.contiguous(), start
    for _ in range(n_iterations):
        centres = _means(points, nearest_centre(points, centres), centres)
        advance()
    return centres


@torch.no_grad()
def nearest_centre(points: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest centre of each point, in blocks of bounded memory."""
    lengths, columns = centres.square().sum(1), centres.T
    # Fresh memory for every block would cost a CPU more than the distances.
    room = points.new_empty(min(len(points), _ROWS_AT_ONCE), len(centres))
    found = [
        nearest(torch.addmm(lengths, block, columns, alpha=-2, out=room[: len(block)]))
        for block in points.split(_ROWS_AT_ONCE)
    ]
    return torch.cat(found)


def random_rows(points: Tensor, count: int) -> Tensor:
    """Draw `count` rows, all different places while there are enough."""
    n_points = len(points)
    order = torch.randperm(n_points, device=points.device)
    repeats = -(-count // n_points)
    return points[order.repeat(repeats)[:count]]


def _means(points: Tensor, nearest: Tensor, centres: Tensor) -> Tensor:
    counts = points.new_zeros(len(centres)).index_add_(
        0, nearest, points.new_ones(len(points))
    )
    sums = torch.zeros_like(centres).index_add_(0, nearest, points)
    means = sums / counts.clamp_min(1).unsqueeze(1)
    return _split_largest(means, counts)


def _split_largest(means: Tensor, counts: Tensor) -> Tensor:
    """Move empty centres beside full ones, the largest first.

    A pair of centres a hair apart divides its cluster at the next assignment.
    """
    rank = counts.argsort(descending=True, stable=True)
    empty = counts == 0
    donors = rank[(empty.cumsum(0) - 1).clamp_min(0)]
    nudge = 1e-3 * torch.randn_like(means) * means[donors].abs()
    return torch.where(empty.unsqueeze(1), means[donors] + nudge, means)

"""k-means on the device that training uses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._initialization.pca import principal_axes
from sk_rqvae._model.products import addmm
from sk_rqvae._model.row_minima import nearest
from sk_rqvae._progress import ProgressCallback, no_progress

# Stages and iterations are those of faiss's progressive k-means.
N_STAGES = 10
N_ITERATIONS = 10
# Bounds of time: points for each cluster in all stages but the last ones. Not measured
# on their own.
_N_FULL_STAGES = 2
_POINTS_PER_CLUSTER = 32
_ROWS_AT_ONCE = 4096
# Distance of the two halves of a cluster that is divided, relative to its centre: small
# beside the cluster, and far above rounding.
_NUDGE = 1e-3


@torch.no_grad()
def progressive_kmeans(
    points: Tensor,
    n_clusters: int,
    *,
    generator: torch.Generator,
    n_iterations: int = N_ITERATIONS,
    on_progress: ProgressCallback = no_progress,
) -> Tensor:
    """Cluster in the first principal components, then in more and more of them.

    In many dimensions, k-means leaves many of its initial centres on single points. In
    few dimensions it first divides the bulk of the points. A part of the points is
    enough for that, so only the last stages use all of them.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
        In random order. Overwritten, to save the memory of a copy.
    n_clusters : int
        May exceed the number of points.
    generator : torch.Generator
    n_iterations : int, default=10
        Lloyd iterations for each number of components.
    on_progress : ProgressCallback
        Called after each iteration with its share of 1.

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
    n_early = len(dims) - _N_FULL_STAGES
    share = 1 / (len(dims) * n_iterations)
    centres = random_rows(points[:, : dims[0]], n_clusters, generator)
    for stage, dim in enumerate(dims):
        sample = few if stage < n_early else points
        centres = kmeans(
            sample[:, :dim],
            F.pad(centres, (0, dim - centres.shape[1])),
            generator=generator,
            n_iterations=n_iterations,
            on_progress=partial(on_progress, share),
        )
    return centres @ axes + mean


def stages(dim: int) -> list[int]:
    """Numbers of components to cluster in: about a geometric series up to `dim`."""
    series = {
        max(1, round(dim ** (stage / N_STAGES))) for stage in range(1, N_STAGES + 1)
    }
    return sorted(series)


@torch.no_grad()
def kmeans(
    points: Tensor,
    initial_centres: Tensor,
    *,
    generator: torch.Generator,
    n_iterations: int = N_ITERATIONS,
    on_progress: Callable[[], None] = no_progress,
) -> Tensor:
    """Lloyd's algorithm. An empty cluster takes over half of a large one.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
    initial_centres : Tensor of shape (n_clusters, dim)
    generator : torch.Generator
    n_iterations : int
    on_progress : callable
        Called after each iteration.

    Returns
    -------
    Tensor of shape (n_clusters, dim)

    References
    ----------
    Lloyd (1982), "Least squares quantization in PCM".
    """
    points, centres = points.contiguous(), initial_centres
    for _ in range(n_iterations):
        centres = _means(points, nearest_centre(points, centres), centres, generator)
        on_progress()
    return centres


@torch.no_grad()
def nearest_centre(points: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest centre of each point, in blocks of bounded memory."""
    lengths, columns = centres.square().sum(1), centres.T
    # Fresh memory for every block would cost a CPU more than the distances.
    room = points.new_empty(min(len(points), _ROWS_AT_ONCE), len(centres))
    found = [
        nearest(addmm(lengths, block, columns, alpha=-2, out=room[: len(block)]))
        for block in points.split(_ROWS_AT_ONCE)
    ]
    return torch.cat(found)


def random_rows(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` rows without replacement, or evenly repeated if there are fewer."""
    n_points = len(points)
    order = torch.randperm(n_points, device=points.device, generator=generator)
    repeats = -(-count // n_points)
    return points[order.repeat(repeats)[:count]]


def _means(
    points: Tensor, nearest: Tensor, centres: Tensor, generator: torch.Generator
) -> Tensor:
    counts = points.new_zeros(len(centres)).index_add_(
        0, nearest, points.new_ones(len(points))
    )
    sums = torch.zeros_like(centres).index_add_(0, nearest, points)
    means = sums / counts.clamp_min(1).unsqueeze(1)
    return _split_largest(means, counts, generator)


def _split_largest(means: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Move each empty centre close to that of a large cluster, the largest first.

    The next assignment then divides the cluster between the two.
    """
    rank = counts.argsort(descending=True, stable=True)
    empty = counts == 0
    donors = rank[(empty.cumsum(0) - 1).clamp_min(0)]
    noise = torch.randn(
        means.shape, dtype=means.dtype, device=means.device, generator=generator
    )
    nudge = _NUDGE * noise * means[donors].abs()
    return torch.where(empty.unsqueeze(1), means[donors] + nudge, means)

"""Initialise the codebooks: residual k-means with beams, or random residuals."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._initialization.kmeans import (
    nearest_centre,
    progressive_kmeans,
    random_rows,
)
from sk_rqvae._model.beam_search import PreparedBeamSearch, sum_of_codes
from sk_rqvae._model.residual_quantizer import ResidualQuantizer
from sk_rqvae._progress import ProgressCallback, no_progress

# Bounds of time and memory: residuals for each code, as in faiss, and their values.
_POINTS_PER_CODE = 256
_MAX_VALUES = 2**26
_ROWS_AT_ONCE = 1024
_SMALLEST_POWER = 1e-30
# Expected squared distance of two rows of a cluster, over that of one from their mean.
_SAME_CLUSTER = 2.0


@torch.no_grad()
def initialize_codebooks(
    quantizer: ResidualQuantizer,
    latents: Tensor,
    *,
    kmeans_init: bool,
    generator: torch.Generator,
    on_progress: ProgressCallback = no_progress,
) -> Tensor:
    """Set one codebook after another, each from the residuals of those before it.

    The residuals come from a beam search over the earlier levels.

    Parameters
    ----------
    quantizer : ResidualQuantizer
        Changed in place.
    latents : Tensor of shape (n, dim)
    kmeans_init : bool
        Cluster the residuals; otherwise draw random ones, see `random_codes`.
    generator : torch.Generator
    on_progress : ProgressCallback
        Called while the levels are clustered; each level adds up to 1.

    Returns
    -------
    Tensor of shape ()
        Mean squared norm of the residuals that all levels leave.

    Notes
    -----
    A row contributes the residuals of all its plausible beams, not of the best one
    alone. In text embeddings most beams are plausible, and several points for each row
    average out the noise of the centres, which improves unseen rows. Where clusters
    are far apart, only the best beam is plausible.

    A beam is plausible if its squared error is at most twice the row's leave-one-out
    error, or twice the mean one if that is larger (see `_leave_one_out_errors`). With
    no more rows than codes, errors of fitted rows say nothing about rows left out, and
    every beam counts as plausible.

    References
    ----------
    Babenko and Lempitsky (2014), "Additive quantization for extreme vector compression"
    (beam search); the residual quantizer of faiss, arXiv:2401.08281, section 5.
    """
    codebooks: list[Tensor] = []
    codes = torch.empty(len(latents), 1, 0, dtype=torch.int64, device=latents.device)
    errors = torch.ones(len(latents), 1, device=latents.device)
    all_memorised = sum(quantizer.sizes) >= len(latents)
    for level in quantizer.levels:
        max_points = min(_POINTS_PER_CODE * level.size, _MAX_VALUES // latents.shape[1])
        if all_memorised:
            plausible = torch.ones_like(errors, dtype=torch.bool)
        else:
            plausible = errors <= _SAME_CLUSTER * _leave_one_out_errors(codes, errors)
        pairs = _random_pairs(plausible, max_points, generator)
        points = _residuals(latents, codebooks, codes, pairs)
        if kmeans_init:
            centres = progressive_kmeans(
                points, level.size, generator=generator, on_progress=on_progress
            )
            level.set_vectors(centres)
        else:
            level.set_vectors(random_codes(points, level.size, generator))
        del points  # frees memory for the search and for the next level's
        codebooks.append(level.vectors())
        codes, errors = _search_all(latents, codebooks, quantizer.n_beams)
    return errors[:, 0].mean().clamp_min(_SMALLEST_POWER)


@torch.no_grad()
def unexplained_share(residual_power: Tensor, latents: Tensor) -> Tensor:
    """Share of the variance of latents that their residuals have, ``()``.

    0 if all latents are equal, as those of equal rows are.
    """
    power = latents.var(0, correction=0).sum()
    share = residual_power / power.clamp_min(_SMALLEST_POWER)
    return torch.where(power > _SMALLEST_POWER, share, 0.0)


def random_codes(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw random points as codes, scaled by least squares.

    In many dimensions a random point is, at its own length, a worse approximation of
    another point than zero is. All are scaled by the one factor that approximates the
    other points best.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
        In random order.
    count : int
        May exceed the number of points.
    generator : torch.Generator

    Returns
    -------
    Tensor of shape (count, dim)
    """
    drawn, others = random_rows(points[:count], count, generator), points[count:]
    if not len(others):
        return drawn
    nearest = drawn[nearest_centre(others, drawn)]
    power = nearest.square().sum().clamp_min(_SMALLEST_POWER)
    return drawn * ((nearest * others).sum() / power)


def _search_all(
    latents: Tensor, codebooks: list[Tensor], n_beams: int
) -> tuple[Tensor, Tensor]:
    """Codes and errors of all beams, searched in blocks of bounded memory."""
    sizes = [len(codebook) for codebook in codebooks]
    prepared = PreparedBeamSearch(torch.cat(codebooks), sizes, n_beams)
    found = [prepared.search(block) for block in latents.split(_ROWS_AT_ONCE)]
    codes = torch.cat([beams.codes for beams in found])
    return codes, torch.cat([beams.errors for beams in found])


def _random_pairs(
    plausible: Tensor, max_pairs: int, generator: torch.Generator
) -> Tensor:
    """Draw plausible pairs of a row and one of its beams, as flat indices."""
    pairs = plausible.flatten().nonzero().squeeze(1)
    order = torch.randperm(len(pairs), device=pairs.device, generator=generator)
    return pairs[order[:max_pairs]]


def _residuals(
    latents: Tensor,
    codebooks: list[Tensor],
    codes: Tensor,
    pairs: Tensor,
) -> Tensor:
    """Residuals of pairs of a row and one of its beams."""
    residuals = latents[pairs.div(codes.shape[1], rounding_mode="floor")]
    if codebooks:
        chosen = codes.flatten(0, 1)[pairs]
        for block, part in zip(
            residuals.split(_ROWS_AT_ONCE), chosen.split(_ROWS_AT_ONCE), strict=True
        ):
            block -= sum_of_codes(codebooks, part)
    return residuals


def _leave_one_out_errors(codes: Tensor, errors: Tensor) -> Tensor:
    """Error that each row would have if left out, and at least that of a mean row.

    Parameters
    ----------
    codes : Tensor of shape (n, n_beams, depth)
    errors : Tensor of shape (n, n_beams)

    Returns
    -------
    Tensor of shape (n, 1)

    Notes
    -----
    Without one of the :math:`m` rows that it averages, a centre lies
    :math:`m / (m - 1)` times as far from that row. A row alone at its centre would
    move to its second beam.
    """
    if codes.shape[1] == 1:
        return errors
    last = codes[:, 0, -1]
    cluster_sizes = torch.bincount(last)[last].to(errors.dtype)
    without = errors[:, 0] * (cluster_sizes / (cluster_sizes - 1)).square()
    alone = cluster_sizes == 1
    left_out = torch.where(alone, errors[:, 1], without.minimum(errors[:, 1]))
    return left_out.clamp_min(left_out.mean()).unsqueeze(1)

"""Where training starts: from principal axes and a trained residual quantizer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sk_rqvae._kmeans import nearest_centre, progressive_kmeans, random_rows
from sk_rqvae._module import RQVAEModule
from sk_rqvae._principal import principal_axes
from sk_rqvae._progress import Advance, untold
from sk_rqvae._residual import ResidualQuantizer
from sk_rqvae._search import beam_search, sum_of_codes

_POINTS_PER_CODE = 256
_PLAUSIBLE_ERROR = 2.0
_MOST_VALUES = 2**26
_ROWS_AT_ONCE = 1024
_SMALLEST_POWER = 1e-30
_LR_TIMES_WIDTH = 590
_OPEN_SHARE = 0.5
_UNTOLD_SHARE = 0.6
_MOST_NOISE = 1.6


@torch.no_grad()
def start_paths(module: RQVAEModule, x: Tensor) -> Tensor:
    """Set the linear paths of an untrained module from data.

    Parameters
    ----------
    module : RQVAEModule
    x : Tensor of shape (n, n_features)
        Standardised rows, all or a sample.

    Returns
    -------
    Tensor of shape (n, embed_dim)
        Their latents.
    """
    module.eval()
    if module.encoder.linear is not None and module.decoder.linear is not None:
        axes = _inward(x, module.encoder.linear.out_features)
        module.encoder.linear.weight.copy_(axes)
        outward = axes.T
        if module.codebook_normalize:
            outward = outward * (x @ outward).norm(dim=1).mean()
        module.decoder.linear.weight.copy_(outward)
    latents = x.new_empty(len(x), module.encode(x[:1]).shape[1])
    # The hidden layer of all rows at once would be larger than the rows.
    for block, part in zip(
        x.split(_ROWS_AT_ONCE), latents.split(_ROWS_AT_ONCE), strict=True
    ):
        part.copy_(module.encode(block))
    return latents


@torch.no_grad()
def start_quantizer(
    module: RQVAEModule,
    latents: Tensor,
    *,
    kmeans_init: bool,
    noise: float,
    advance: Advance = untold,
) -> float:
    """Set codebooks and noise of an untrained module from latents of data.

    Noise is drawn like the residuals of the codebooks, where linear paths say what they
    look like in the input, and otherwise alike in every direction.

    Parameters
    ----------
    module : RQVAEModule
    latents : Tensor of shape (n, embed_dim)
    kmeans_init : bool
        Train the codebooks on the latents; otherwise they are random.
    noise : float
        Noise on the encoder's input in training, in residuals of the starting
        codebooks.
    advance : Advance, default=untold
        Told of the clustering of each level, as 1 in all.

    Returns
    -------
    float
        Share of the latents' variance that the codebooks leave unexplained.
    """
    residuals = start_codebooks(
        module.quantizer, latents, kmeans_init=kmeans_init, advance=advance
    )
    power = latents.square().sum(1).mean().clamp_min(_SMALLEST_POWER)
    unexplained = residuals.trace() / power
    scale = noise * _share_of_noise(unexplained)
    if module.decoder.linear is None:
        module.noise_scale.copy_(scale * unexplained.sqrt())
    else:
        shape = _root(residuals) if kmeans_init else _like_everywhere(residuals)
        module.noise_axes.copy_(shape @ module.decoder.linear.weight.T)
        module.noise_scale.copy_(scale)
    return float(unexplained)


@torch.no_grad()
def share_unexplained(module: RQVAEModule, x: Tensor) -> float:
    """Share of the variance of the latents of `x` that the codebooks leave."""
    module.eval()
    latents = module.encode(x)
    found = module.quantizer.search(latents)
    error = found.errors[:, 0].mean().clamp_min(0)
    return float(error / latents.square().sum(1).mean().clamp_min(_SMALLEST_POWER))


def share_of_lr(unexplained: float, embed_dim: int) -> float:
    """How much of the learning rate suits latents of this width and difficulty.

    A step of Adam moves each weight of a linear path by about the learning rate,
    whatever the data, and so a reconstruction by up to `embed_dim` times as much. Where
    the codebooks leave little, that would be more than training can gain.

    Parameters
    ----------
    unexplained : float
        Share of the variance that the starting codebooks leave.
    embed_dim : int
        Their width, or the width before directions were left out.

    Returns
    -------
    float
        From 0 to 1; 1 for 384 columns of text embeddings and 3 x 256 codes.
    """
    return min(1.0, _LR_TIMES_WIDTH * unexplained**0.75 / embed_dim)


def expected_growth(sizes: Sequence[int], n_rows: int) -> float:
    """How much larger residuals of unseen rows are than those of fitted ones.

    A centre that averages ``m`` of the fitted rows has moved towards each of them,
    which divides their squared residuals by about ``1 + 1 / m``, and is as far off for
    others, which multiplies theirs. Over all levels this compounds to
    ``exp(2 * total codes / rows)`` in squares, taken to be at most e, and to the root
    of that in residuals.
    """
    return math.exp(min(0.5, sum(sizes) / n_rows))


def _share_of_noise(unexplained: Tensor) -> Tensor:
    """How much of the noise suits residuals that are this share of the variance.

    Among many codes in few directions, noise as long as the residual of a row is enough
    to make another code the nearest; in many directions it hardly is. Where codes tell
    little, there is little to learn but the rows themselves.
    """
    narrow = (unexplained / _OPEN_SHARE).clamp_max(1).sqrt()
    untold = (unexplained / _UNTOLD_SHARE).clamp_min(1).square()
    return narrow * untold.clamp_max(_MOST_NOISE)


def _root(covariance: Tensor) -> Tensor:
    """A matrix that turns white noise in rows into noise of this covariance."""
    variances, axes = torch.linalg.eigh(covariance.double())
    root = variances.clamp_min(0).sqrt().unsqueeze(1) * axes.T
    return root.to(covariance.dtype)


def _like_everywhere(covariance: Tensor) -> Tensor:
    """Likewise, of the same power in all and alike in every direction.

    Random codebooks leave residuals that look like the rows themselves. Noise like that
    would hide from the encoder what codes are to tell apart first.
    """
    dim = len(covariance)
    identity = torch.eye(dim, device=covariance.device)
    return identity * (covariance.trace() / dim).sqrt()


def _inward(x: Tensor, embed_dim: int) -> Tensor:
    """The linear path into the latents: principal axes, the identity if all fit."""
    n_features = x.shape[1]
    if embed_dim < n_features:
        return principal_axes(x, embed_dim)
    return torch.eye(embed_dim, n_features, device=x.device)


def start_codebooks(
    quantizer: ResidualQuantizer,
    latents: Tensor,
    *,
    kmeans_init: bool,
    advance: Advance = untold,
) -> Tensor:
    """Set codebooks one by one, each on what a beam search over those before leaves.

    Parameters
    ----------
    quantizer : ResidualQuantizer
    latents : Tensor of shape (n, dim)
    kmeans_init : bool
        Cluster the residuals of all beams; otherwise draw random vectors.
    advance : Advance, default=untold
        Told of the clustering of each level, as 1 in all.

    Returns
    -------
    Tensor of shape (dim, dim)
        Mean outer product of what the sums of codes leave of latents with itself.

    Notes
    -----
    A level is trained on the residuals of all beams whose squared error is at most
    `_PLAUSIBLE_ERROR` times what the row's, or a mean one, would be had the row been
    left out of the clustering. In text embeddings these are most of the beams, and
    several points for each row average out the noise of the centres, which tells on
    unseen rows; among clusters far apart only the best is plausible. Where there are no
    more rows than codes, errors of rows tell nothing of those of rows left out, and all
    beams are.

    References
    ----------
    Babenko and Lempitsky (2014), "Additive quantization for extreme vector compression"
    (beam search); the residual quantizer of faiss, arXiv:2401.08281, section 5.
    """
    codebooks: list[Tensor] = []
    left: list[Tensor] = []
    codes = torch.empty(len(latents), 1, 0, dtype=torch.int64, device=latents.device)
    errors = torch.ones(len(latents), 1, device=latents.device)
    by_heart = sum(quantizer.sizes) >= len(latents)
    for level in quantizer.levels:
        most = min(_POINTS_PER_CODE * level.size, _MOST_VALUES // latents.shape[1])
        if by_heart:
            plausible = torch.ones_like(errors, dtype=torch.bool)
        else:
            plausible = errors <= _PLAUSIBLE_ERROR * _typical_errors(codes, errors)
        points = _residuals(latents, codebooks, codes, plausible, most)
        if kmeans_init:
            centres = progressive_kmeans(points, level.size, advance=advance)
            level.set_vectors(centres)
        else:
            level.set_vectors(random_codes(points, level.size))
        del points  # frees memory for the search and for the next level's
        codebooks.append(level.vectors())
        codes, errors = _search_all(latents, codebooks, quantizer.n_beams)
        # Rounding can leave a tiny negative where it is zero.
        errors.clamp_min_(0)
        left.append(errors[:, 0].mean().clamp_min(_SMALLEST_POWER))
    quantizer.prefix_shares.copy_((left[-1] / torch.stack(left)[:-1]).square())
    return _covariance_of_residuals(latents, codebooks, codes[:, 0])


def _covariance_of_residuals(
    latents: Tensor, codebooks: list[Tensor], codes: Tensor
) -> Tensor:
    dim = latents.shape[1]
    total = latents.new_zeros(dim, dim)
    blocks = latents.split(_ROWS_AT_ONCE), codes.split(_ROWS_AT_ONCE)
    for block, part in zip(*blocks, strict=True):
        residuals = block - sum_of_codes(codebooks, part)
        total.addmm_(residuals.T, residuals)
    return total / len(latents)


def _search_all(
    latents: Tensor, codebooks: list[Tensor], n_beams: int
) -> tuple[Tensor, Tensor]:
    """Codes and errors of all beams, searched in blocks of bounded memory."""
    found = [
        beam_search(block, codebooks, n_beams) for block in latents.split(_ROWS_AT_ONCE)
    ]
    codes = torch.cat([beams.codes for beams in found])
    return codes, torch.cat([beams.errors for beams in found])


def _residuals(
    latents: Tensor,
    codebooks: list[Tensor],
    codes: Tensor,
    plausible: Tensor,
    most: int,
) -> Tensor:
    """Residuals of up to `most` plausible pairs of a row and one of its beams."""
    pairs = plausible.flatten().nonzero().squeeze(1)
    pairs = pairs[torch.randperm(len(pairs), device=pairs.device)[:most]]
    residuals = latents[pairs.div(codes.shape[1], rounding_mode="floor")]
    if codebooks:
        chosen = codes.flatten(0, 1)[pairs]
        for block, part in zip(
            residuals.split(_ROWS_AT_ONCE), chosen.split(_ROWS_AT_ONCE), strict=True
        ):
            block -= sum_of_codes(codebooks, part)
    return residuals


def _typical_errors(codes: Tensor, errors: Tensor) -> Tensor:
    """What the error of each row, or of a mean one, would be had it been left out.

    Parameters
    ----------
    codes : Tensor of shape (n, n_beams, depth)
    errors : Tensor of shape (n, n_beams)

    Returns
    -------
    Tensor of shape (n, 1)

    Notes
    -----
    A centre that averages ``m`` rows lies ``m / (m - 1)`` times as far from any of them
    once that one is taken out. A row alone at its centre would go to its second beam.
    """
    if codes.shape[1] == 1:
        return errors
    last = codes[:, 0, -1]
    n_alike = torch.bincount(last)[last].to(errors.dtype)
    without = errors[:, 0] * (n_alike / (n_alike - 1)).square()
    alone = n_alike == 1
    left_out = torch.where(alone, errors[:, 1], without.minimum(errors[:, 1]))
    return left_out.clamp_min(left_out.mean()).unsqueeze(1)


def random_codes(points: Tensor, count: int) -> Tensor:
    """Draw points, all shortened alike, so that they help most as codes of the others.

    In many dimensions a point is, at its own length, a worse guess of the nearest other
    than zero is.

    Parameters
    ----------
    points : Tensor of shape (n, dim)
        In random order.
    count : int
        May exceed the number of points.

    Returns
    -------
    Tensor of shape (count, dim)
    """
    drawn, others = random_rows(points[:count], count), points[count:]
    if not len(others):
        return drawn
    nearest = drawn[nearest_centre(others, drawn)]
    power = nearest.square().sum().clamp_min(_SMALLEST_POWER)
    return drawn * ((nearest * others).sum() / power)

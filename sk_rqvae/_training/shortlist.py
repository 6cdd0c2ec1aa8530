"""Fit the narrow decoder that shortlists candidates, after training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sk_rqvae._defaults import SHORTLIST_MARGIN, SHORTLIST_UNITS
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._model.shortlist import (
    PreparedShortlist,
    ShortlistDecoder,
    hidden_layers,
    no_shortlist,
)

# Candidates near the best estimate are decoded exactly, and the margin is measured, so
# that a worse estimate costs time rather than quality. On 300 unseen nouns of a small
# fit, none of the other values named here changed the explained variance by 0.0001.
_MAX_AXES = 256  # bounds time and memory; 128
_POWER_ITERATIONS = 3
_RIDGE = 1e-3  # in mean squares of the features; 1e-5 to 0.1
_IDS_AT_ONCE = 1024
_IDS_RANKED = 2048
_SHARE_FITTED = 0.85  # of the rows; 0.5 and 0.95


@torch.no_grad()
def fitted_shortlist(module: RQVAEModule, x: Tensor) -> ShortlistDecoder:
    r"""Fit a narrow decoder to reconstructions of candidates of some rows.

    1. Search the candidates of the rows and decode them.
    2. Keep the hidden units of largest importance, which is the standard deviation of a
       unit times the norm of its weights in the output layer.
    3. Predict the leading axes of the reconstructions from these units and the latents
       by ridge regression.
    4. Measure the error of the estimated errors on rows that took no part in step 3.
       The margin is a multiple of it.

    Parameters
    ----------
    module : RQVAEModule
        Trained.
    x : Tensor of shape (n, n_features)
        Standardised rows.

    Returns
    -------
    ShortlistDecoder
        Empty where the model cannot use one (see `RQVAEModule.can_shortlist`), or would
        gain nothing because its decoder is narrow.
    """
    device = module.input_mean.device
    layers = hidden_layers(module.decoder) if module.can_shortlist() else None
    if layers is None or layers[0].out_features <= 2 * SHORTLIST_UNITS:
        return no_shortlist(device)
    first, activation, last = layers
    codes = module.prepare_search().search(module.encode(x)).codes
    n_rows = math.ceil(_SHARE_FITTED * len(x))
    sums = module.quantizer.sum_of(codes[:n_rows]).flatten(0, 1)
    some = sums[:: math.ceil(len(sums) / _IDS_RANKED)]
    importance = activation(first(some)).std(dim=0) * last.weight.norm(dim=0)
    units = importance.argsort(descending=True, stable=True)[:SHORTLIST_UNITS]
    units = units.sort().values
    axes = _leading_axes(module.decode(some), min(sums.shape[1], _MAX_AXES))
    weight, bias = first.weight[units], first.bias[units]
    n_features = len(units) + sums.shape[1] + 1
    gram = sums.new_zeros(n_features, n_features, dtype=torch.float64)
    products = sums.new_zeros(n_features, axes.shape[1], dtype=torch.float64)
    for part in sums.split(_IDS_AT_ONCE):
        hidden = activation(part @ weight.T + bias)
        features = torch.cat([hidden, part, part.new_ones(len(part), 1)], dim=1)
        gram += features.T @ features
        products += features.T @ (module.decode(part) @ axes)
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean())
    readout = torch.linalg.solve(gram, products).float()
    narrow = ShortlistDecoder(
        units, readout.flatten(), axes.flatten(), axes.new_ones(1)
    )
    spread = _spread_of_estimates(module, narrow, x[n_rows:], codes[n_rows:])
    return narrow._replace(margin=(SHORTLIST_MARGIN * spread).view(1))


def _spread_of_estimates(
    module: RQVAEModule, narrow: ShortlistDecoder, x: Tensor, codes: Tensor
) -> Tensor:
    """Standard deviation of the estimated errors' errors within a row."""
    prepared = PreparedShortlist(
        narrow,
        module.decoder,
        torch.cat(module.quantizer.codebooks()),
        module.quantizer.offsets,
    )
    decoded = torch.cat([module.decode(part) for part in _sums(module, codes)])
    exact = module.row_losses(x.unsqueeze(1), decoded.unflatten(0, codes.shape[:2]))
    difference = prepared.errors(x, codes) - exact
    return difference.std(dim=1).square().mean().sqrt()


def _sums(module: RQVAEModule, codes: Tensor) -> tuple[Tensor, ...]:
    return module.quantizer.sum_of(codes).flatten(0, 1).split(_IDS_AT_ONCE)


def _leading_axes(points: Tensor, n_axes: int) -> Tensor:
    """Orthonormal axes of largest second moment, by subspace iteration."""
    stride = max(1, len(points) // n_axes)
    axes = torch.linalg.qr(points[::stride][:n_axes].T).Q
    for _ in range(_POWER_ITERATIONS):
        axes = torch.linalg.qr(points.T @ (points @ axes)).Q
    return axes.contiguous()

"""Initialise the linear paths of encoder and decoder at principal components."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._initialization.pca import principal_axes
from sk_rqvae._model.module import RQVAEModule

_ROWS_AT_ONCE = 1024


@torch.no_grad()
def initialize_linear_paths(module: RQVAEModule, x: Tensor) -> Tensor:
    """Set the linear paths of an untrained module to principal axes of the data.

    Parameters
    ----------
    module : RQVAEModule
        Changed in place. Without linear paths nothing is changed.
    x : Tensor of shape (n, n_features)
        Standardised rows, all or a sample.

    Returns
    -------
    Tensor of shape (n, embed_dim)
        Latents of `x`.
    """
    module.eval()
    if module.encoder.linear is not None and module.decoder.linear is not None:
        axes = _encoder_axes(x, module.encoder.linear.out_features)
        module.encoder.linear.weight.copy_(axes)
        decoder_axes = axes.T
        if module.codebook_normalize:
            decoder_axes = decoder_axes * (x @ decoder_axes).norm(dim=1).mean()
        module.decoder.linear.weight.copy_(decoder_axes)
    latents = x.new_empty(len(x), module.encode(x[:1]).shape[1])
    # The hidden layer of all rows at once would be larger than the rows.
    for block, part in zip(
        x.split(_ROWS_AT_ONCE), latents.split(_ROWS_AT_ONCE), strict=True
    ):
        part.copy_(module.encode(block))
    return latents


def _encoder_axes(x: Tensor, embed_dim: int) -> Tensor:
    """Principal axes, or the identity if no component is dropped."""
    n_features = x.shape[1]
    if embed_dim < n_features:
        return principal_axes(x, embed_dim)
    return torch.eye(embed_dim, n_features, dtype=x.dtype, device=x.device)

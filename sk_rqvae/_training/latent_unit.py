"""The unit of the latent space: distances of reconstructions over those of latents."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._model.module import RQVAEModule

_ROWS_AT_ONCE = 256
_SMALLEST_POWER = 1e-30


@torch.no_grad()
def measured_latent_unit(module: RQVAEModule, x: Tensor) -> Tensor:
    r"""Squared distance of two reconstructions per squared distance of their latents.

    With :math:`z_i` the latents, :math:`q_i` the sums of their codes and :math:`D` the
    decoder, this is

    .. math:: \frac{\sum_i \lVert D(z_i) - D(q_i) \rVert^2}
        {\sum_i \lVert z_i - q_i \rVert^2} .

    It is about 1 if the latents are principal components.

    Parameters
    ----------
    module : RQVAEModule
        Trained.
    x : Tensor of shape (n, n_features)
        Standardised rows.

    Returns
    -------
    Tensor of shape ()
        1 if the latents have no quantisation error.
    """
    module.eval()
    decoded_error = x.new_zeros(())
    latent_error = x.new_zeros(())
    prepared = module.quantizer.prepare_search()
    for block in x.split(_ROWS_AT_ONCE):
        latents = module.encode(block)
        sums = module.quantizer.sum_of(prepared.best_codes(latents))
        latent_error += (latents - sums).square().sum()
        decoded_error += (module.decoder(latents) - module.decoder(sums)).square().sum()
    is_exact = latent_error <= _SMALLEST_POWER
    unit = decoded_error / latent_error.clamp_min(_SMALLEST_POWER)
    return torch.where(is_exact, 1.0, unit)

"""Dead codes: put them where the data are."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._residual import ResidualQuantizer

_ROWS_AT_ONCE = 1024


@torch.no_grad()
def restart_dead_codes(
    quantizer: ResidualQuantizer, counts: Tensor, latents: Tensor
) -> list[int]:
    """Replace codes that no row chose by residuals of random rows.

    Parameters
    ----------
    quantizer : ResidualQuantizer
    counts : Tensor of shape (sum of codebook sizes,)
        How often each code was chosen in the epoch, level after level.
    latents : Tensor of shape (n, dim)
        A sample to draw residuals from.

    Returns
    -------
    list of int
        Codes replaced at each level.

    References
    ----------
    Williams et al. (2020), "Hierarchical quantized autoencoders", arXiv:2002.08111.
    """
    dead = [level == 0 for level in counts.split(list(quantizer.sizes))]
    replaced = [int(level.sum()) for level in dead]
    if not any(replaced):
        return replaced
    blocks = latents.split(_ROWS_AT_ONCE)
    codes = torch.cat([quantizer.search(block).codes[:, 0] for block in blocks])
    residual = latents
    for depth, (level, where) in enumerate(zip(quantizer.levels, dead, strict=True)):
        vectors = level.vectors().clone()
        if replaced[depth]:
            rows = torch.randint(
                len(latents), (replaced[depth],), device=latents.device
            )
            level.replace(where, residual[rows])
        residual = residual - vectors[codes[:, depth]]
    return replaced

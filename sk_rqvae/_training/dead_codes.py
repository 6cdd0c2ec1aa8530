"""Dead codes: put them where the data are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sk_rqvae._defaults import IDLE_ROWS_PER_CODE, MIN_ROWS_PER_CODE
from sk_rqvae._model.residual_quantizer import ResidualQuantizer

_ROWS_AT_ONCE = 1024


@torch.no_grad()
def count_idle_rows(
    quantizer: ResidualQuantizer, counts: Tensor, n_rows: int
) -> Tensor:
    """Note which codes an epoch used, and say which have been idle for too long.

    Of few rows a code, some leave any code out in an epoch by chance. Were it replaced
    at once, codes would end on single rows, which they fit by heart, and be lost to
    rows that are not fitted.

    Parameters
    ----------
    quantizer : ResidualQuantizer
        Whose `idle_rows` are brought up to date.
    counts : Tensor of shape (sum of codebook sizes,)
        How often each code was chosen in the epoch, level after level.
    n_rows : int
        Rows of the epoch.

    Returns
    -------
    Tensor of shape (sum of codebook sizes,), bool
        Codes that none of the last 16 rows for each code of their codebook chose.
    """
    idle = torch.where(counts == 0, quantizer.idle_rows + n_rows, 0)
    quantizer.idle_rows.copy_(idle)
    by_level = zip(idle.split(list(quantizer.sizes)), quantizer.sizes, strict=True)
    return torch.cat([rows >= IDLE_ROWS_PER_CODE * size for rows, size in by_level])


def worth_replacing(dead: Tensor, sizes: Sequence[int], n_fitted: int) -> Tensor:
    """Those of the dead codes for which there are rows enough.

    Parameters
    ----------
    dead : Tensor of shape (sum of sizes,), bool
        Level after level.
    sizes : sequence of int
        Codes of each level.
    n_fitted : int
        Rows that training sees again and again.

    Returns
    -------
    Tensor of shape (sum of sizes,), bool
        So many, the first, that there are three of the rows for each code in use. More
        would learn single rows by heart.
    """
    most = n_fitted // MIN_ROWS_PER_CODE
    by_level = zip(dead.split(list(sizes)), sizes, strict=True)
    return torch.cat(
        [
            codes & (codes.cumsum(0) <= most - size + codes.sum())
            for codes, size in by_level
        ]
    )


@torch.no_grad()
def restart_dead_codes(
    quantizer: ResidualQuantizer,
    dead: Tensor,
    latents: Tensor,
    generator: torch.Generator | None,
) -> list[int]:
    """Replace dead codes by residuals of random rows.

    Parameters
    ----------
    quantizer : ResidualQuantizer
    dead : Tensor of shape (sum of codebook sizes,), bool
        Codes to replace, level after level. They count as used from now on.
    latents : Tensor of shape (n, dim)
        A sample to draw residuals from.
    generator : torch.Generator or None

    Returns
    -------
    list of int
        Codes replaced at each level.

    References
    ----------
    Williams et al. (2020), "Hierarchical quantized autoencoders", arXiv:2002.08111.
    """
    by_level = dead.split(list(quantizer.sizes))
    replaced = [int(level.sum()) for level in by_level]
    if not any(replaced):
        return replaced
    quantizer.idle_rows.masked_fill_(dead, 0)
    blocks = latents.split(_ROWS_AT_ONCE)
    codes = torch.cat([quantizer.search(block).codes[:, 0] for block in blocks])
    residual = latents
    for depth, (level, where) in enumerate(
        zip(quantizer.levels, by_level, strict=True)
    ):
        vectors = level.vectors().clone()
        if replaced[depth]:
            rows = torch.randint(
                len(latents),
                (replaced[depth],),
                device=latents.device,
                generator=generator,
            )
            level.replace(where, residual[rows])
        residual = residual - vectors[codes[:, depth]]
    return replaced

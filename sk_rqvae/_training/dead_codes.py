"""Dead codes: find them, and replace them by residuals of random rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sk_rqvae._model.residual_quantizer import ResidualQuantizer

# A code that is as likely as the others is unused in so many rows by chance with a
# probability of exp(-16).
_IDLE_ROWS_PER_CODE = 16
_ROWS_AT_ONCE = 1024


@torch.no_grad()
def dead_codes_after_epoch(
    quantizer: ResidualQuantizer, counts: Tensor, n_rows: int
) -> Tensor:
    """Find dead codes after an epoch, and update how long codes have been idle.

    With few rows per code, an epoch leaves some codes unused by chance. Replacing them
    at once would move codes to single rows, which is overfitting.

    Parameters
    ----------
    quantizer : ResidualQuantizer
        Its `idle_rows` are updated.
    counts : Tensor of shape (sum of codebook sizes,)
        How often the epoch chose each code, level after level.
    n_rows : int
        Rows of the epoch.

    Returns
    -------
    Tensor of shape (sum of codebook sizes,), bool
        Codes that have been unused for 16 rows per code of their level.
    """
    idle = torch.where(counts == 0, quantizer.idle_rows + n_rows, 0)
    quantizer.idle_rows.copy_(idle)
    by_level = zip(idle.split(list(quantizer.sizes)), quantizer.sizes, strict=True)
    return torch.cat([rows >= _IDLE_ROWS_PER_CODE * size for rows, size in by_level])


def worth_replacing(dead: Tensor, sizes: Sequence[int], n_fitted: int) -> Tensor:
    """Select the dead codes for which there are enough rows.

    Parameters
    ----------
    dead : Tensor of shape (sum of sizes,), bool
        Level after level.
    sizes : sequence of int
        Codes of each level.
    n_fitted : int
        Number of rows that are fitted.

    Returns
    -------
    Tensor of shape (sum of sizes,), bool
        The first dead codes of each level, until its codes in use number ``n_fitted /
        n_levels``. All levels together then have no more codes in use than there are
        rows. More would memorise rows.
    """
    most = n_fitted // len(sizes)
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
        Codes to replace, level after level. Their idle counts are reset.
    latents : Tensor of shape (n, dim)
        Latents whose residuals are drawn.
    generator : torch.Generator or None

    Returns
    -------
    list of int
        Number of codes replaced at each level.

    References
    ----------
    Williams et al. (2020), "Hierarchical quantized autoencoders", arXiv:2002.08111.
    """
    by_level = dead.split(list(quantizer.sizes))
    replaced = [int(level.sum()) for level in by_level]
    quantizer.idle_rows.masked_fill_(dead, 0)
    # Training searches greedily, so these are the residuals that it leaves.
    search = quantizer.prepare_search(1).search
    blocks = latents.split(_ROWS_AT_ONCE)
    codes = torch.cat([search(block).codes[:, 0] for block in blocks])
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

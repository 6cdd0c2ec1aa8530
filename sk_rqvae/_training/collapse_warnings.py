"""See and name a collapse of codebooks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from sk_rqvae.exceptions import CollapseWarning

_ROWS_A_CODE = 4
_FEWEST_ROWS_A_CODE = 2
_SMALLEST_USAGE = 0.5
_SMALLEST_PERPLEXITY = 0.1


def warn_of_collapse(
    usage: Sequence[float],
    perplexity: Sequence[float],
    sizes: Sequence[int],
    n_distinct: int,
) -> None:
    """Warn of every level whose codes are hardly used though there are rows enough.

    Parameters
    ----------
    usage, perplexity : sequence of float
        Of each level, over the last epoch.
    sizes : sequence of int
        Codes of each level.
    n_distinct : int
        Number of different rows.
    """
    for level, size in enumerate(sizes):
        enough = n_distinct >= _ROWS_A_CODE * size
        idle = usage[level] < _SMALLEST_USAGE
        lopsided = perplexity[level] < _SMALLEST_PERPLEXITY * size
        if size > 1 and enough and (idle or lopsided):
            warnings.warn(
                f"Layer {level} collapsed: {round(usage[level] * size)} of {size} "
                f"codes are used, with a perplexity of {perplexity[level]:.1f}. Try a "
                "lower lr, restart_dead_codes=True, codebook_kmeans_init=True, "
                'codebook_mode="ste", or a smaller codebook_size.',
                CollapseWarning,
                stacklevel=2,
            )


def warn_of_few_rows(n_distinct: int, sizes: Sequence[int], *, sampled: bool) -> None:
    """Warn where codebooks start from too few different rows for their codes.

    Parameters
    ----------
    n_distinct : int
        Number of different rows that codebooks start from.
    sizes : sequence of int
        Codes of each level.
    sampled : bool
        Whether these rows are a sample.
    """
    if n_distinct >= _FEWEST_ROWS_A_CODE * max(sizes):
        return
    if n_distinct >= max(sizes):
        remedy = "Raise init_sample_size" if sampled else "Lower codebook_size"
        warnings.warn(
            f"The {max(sizes)} codes of a codebook start from {n_distinct} different "
            f"rows, fewer than {_FEWEST_ROWS_A_CODE} for each code: IDs will fit these "
            f"rows and say little of others. {remedy}.",
            UserWarning,
            stacklevel=2,
        )
    elif sampled:
        warnings.warn(
            f"The {max(sizes)} codes of a codebook start from a sample of X with "
            f"{n_distinct} different rows. Raise init_sample_size.",
            UserWarning,
            stacklevel=2,
        )
    else:
        warnings.warn(
            f"X has {n_distinct} different rows, fewer than the {max(sizes)} codes of "
            "a codebook: some codes will stay unused. A smaller codebook_size gives "
            "shorter IDs that say as much.",
            UserWarning,
            stacklevel=2,
        )

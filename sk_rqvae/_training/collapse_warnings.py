"""Warnings of collapsed codebooks, and of too few rows for the codes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from sk_rqvae._model.modes import QuantizeForwardMode
from sk_rqvae.exceptions import CollapseWarning

# Different rows for each code that are evidence enough, and rows drawn to find them.
_ROWS_PER_CODE = 4
_ROWS_DRAWN_PER_CODE = 5
_FEW_ROWS_PER_CODE = 2
# What counts as a collapse is a choice: half of the codes unused, or a perplexity of
# less than a tenth of the codes.
_MIN_USAGE = 0.5
_MIN_PERPLEXITY_SHARE = 0.1


def warn_of_collapse(
    usage: Sequence[float],
    perplexity: Sequence[float],
    sizes: Sequence[int],
    n_distinct: Callable[[int], int],
    to_try: Sequence[Sequence[str]],
) -> None:
    """Warn of each level that uses few of its codes although there are enough rows.

    Parameters
    ----------
    usage, perplexity : sequence of float
        Of each level, in the epoch whose weights the model has.
    sizes : sequence of int
        Codes of each level.
    n_distinct : callable
        Maps a number of rows to that of different ones among so many random rows. It is
        called only for levels that use few of their codes.
    to_try : sequence of sequence of str
        The `remedies` of each level.
    """
    for level, size in enumerate(sizes):
        idle = usage[level] < _MIN_USAGE
        lopsided = perplexity[level] < _MIN_PERPLEXITY_SHARE * size
        if size == 1 or not (idle or lopsided):
            continue
        if n_distinct(_ROWS_DRAWN_PER_CODE * size) >= _ROWS_PER_CODE * size:
            warnings.warn(
                f"Level {level + 1} collapsed: {round(usage[level] * size)} of {size} "
                f"codes are used, with a perplexity of {perplexity[level]:.1f}. "
                f"{_advice(to_try[level], has_outliers=not idle)}",
                CollapseWarning,
                stacklevel=2,
            )


def remedies(estimator: Any, mode: QuantizeForwardMode) -> list[str]:
    """What to try against the collapse of a level: all that the fit did not have.

    Parameters
    ----------
    estimator : RQVAETransformer
    mode : QuantizeForwardMode
        Of the level.
    """
    is_untried = {
        "restart_dead_codes=True": not estimator.restart_dead_codes,
        "codebook_kmeans_init=True": not estimator.codebook_kmeans_init,
        'codebook_mode="ste"': mode is not QuantizeForwardMode.STE,
    }
    untried = [remedy for remedy, is_new in is_untried.items() if is_new]
    return ["a lower lr", *untried, "a smaller codebook_size"]


def _advice(to_try: Sequence[str], *, has_outliers: bool) -> str:
    """What to try, as one sentence or two."""
    *others, last = to_try
    listed = f"{', '.join(others)} or {last}"
    if not has_outliers:
        return f"Try {listed}."
    return (
        "A few rows may be far from all others: transform the columns of X first, for "
        "example by QuantileTransformer or sign(x) * log1p(|x|). Otherwise try "
        f"{listed}."
    )


def warn_of_few_rows(n_distinct: int, sizes: Sequence[int], *, sampled: bool) -> None:
    """Warn if codebooks are initialised from too few different rows.

    Parameters
    ----------
    n_distinct : int
        Number of different rows that initialise the codebooks.
    sizes : sequence of int
        Codes of each level.
    sampled : bool
        Whether these rows are a sample.
    """
    if n_distinct >= _FEW_ROWS_PER_CODE * max(sizes):
        return
    if n_distinct >= max(sizes):
        remedy = "Raise init_sample_size" if sampled else "Lower codebook_size"
        warnings.warn(
            f"The {max(sizes)} codes of a level are initialised from {n_distinct} "
            f"different rows, fewer than {_FEW_ROWS_PER_CODE} per code: IDs will "
            f"overfit these rows. {remedy}.",
            UserWarning,
            stacklevel=2,
        )
    elif sampled:
        warnings.warn(
            f"The {max(sizes)} codes of a level are initialised from a sample of X "
            f"with {n_distinct} different rows. Raise init_sample_size.",
            UserWarning,
            stacklevel=2,
        )
    else:
        warnings.warn(
            f"X has {n_distinct} different rows, fewer than the {max(sizes)} codes of "
            "a level: some codes will stay unused. Lower codebook_size.",
            UserWarning,
            stacklevel=2,
        )

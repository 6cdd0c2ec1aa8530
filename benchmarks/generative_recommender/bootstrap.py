"""How certain differences between kinds of IDs are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_DRAWS = 10_000
DRAWS_AT_ONCE = 250

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Difference:
    """A mean difference.

    Attributes
    ----------
    relative : float
        The difference, divided by the mean of the other.
    p_value : float
        Two-sided.
    """

    relative: float
    p_value: float


def paired_differences(
    pairs: Sequence[tuple[Scores, Scores]], *, n_draws: int = N_DRAWS
) -> list[Difference]:
    """Compare pairs of scores by a bootstrap over users and seeds.

    Parameters
    ----------
    pairs : sequence of pairs of ndarray of shape (n_seeds, n_users)
        Scores of the same seeds and users.
    n_draws : int
        A multiple of 250.

    Returns
    -------
    list of Difference
        The first of each pair less the second.

    Notes
    -----
    A draw takes as many seeds and as many users as there are, with replacement and
    independently of each other, and averages the differences over both (Owen, "The
    pigeonhole bootstrap", Annals of Applied Statistics 1, 2007). The p-value is twice
    the share of draws on the other side of zero, with one draw added so that it is
    never zero.
    """
    rng = np.random.default_rng(0)
    ahead = np.stack([np.subtract(one, two, dtype=np.float32) for one, two in pairs])
    n_pairs, n_seeds, n_users = ahead.shape
    by_seed = ahead.transpose(1, 0, 2).reshape(n_seeds, n_pairs * n_users)
    drawn = []
    for _ in range(n_draws // DRAWS_AT_ONCE):
        of_seeds, of_users = _counts(rng, n_seeds), _counts(rng, n_users)
        rows = (of_seeds @ by_seed).reshape(DRAWS_AT_ONCE, n_pairs, n_users)
        drawn.append(np.einsum("dpu,du->dp", rows, of_users))
    sums = np.concatenate(drawn)
    other_side = np.minimum((sums <= 0).sum(0), (sums >= 0).sum(0))
    p_values = np.minimum(1.0, 2 * (other_side + 1) / (len(sums) + 1))
    return [
        Difference(_relative(mean, np.mean(two)), float(p_value))
        for mean, (_, two), p_value in zip(
            ahead.mean(axis=(1, 2)), pairs, p_values, strict=True
        )
    ]


def _counts(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """How often each of n is drawn in n draws, of shape (DRAWS_AT_ONCE, n)."""
    drawn = rng.integers(n, size=(DRAWS_AT_ONCE, n))
    drawn += n * np.arange(DRAWS_AT_ONCE)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=DRAWS_AT_ONCE * n)
    return counts.reshape(DRAWS_AT_ONCE, n).astype(np.float32)


def _relative(difference: float, base: float) -> float:
    return float(difference / base) if base else float("inf")

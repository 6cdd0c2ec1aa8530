"""How certain a difference between two kinds of IDs is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_DRAWS = 10_000
DRAWS_AT_ONCE = 500


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


def paired_difference(
    ours: NDArray[np.floating],
    theirs: NDArray[np.floating],
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> Difference:
    """Compare scores by a bootstrap over users and seeds.

    Parameters
    ----------
    ours, theirs : ndarray of shape (n_seeds, n_users)
        Scores of the same seeds and users.
    n_draws : int
    seed : int

    Returns
    -------
    Difference

    Notes
    -----
    A draw takes as many seeds and as many users as there are, with replacement and
    independently of each other, and averages the differences over both (Owen, "The
    pigeonhole bootstrap", Annals of Applied Statistics 1, 2007). The p-value is twice
    the share of draws on the other side of zero, with one draw added to each side so
    that it is never zero.
    """
    rng = np.random.default_rng(seed)
    ahead = np.asarray(ours, dtype=np.float64) - theirs
    n_seeds, n_users = ahead.shape
    means = []
    for _ in range(-(-n_draws // DRAWS_AT_ONCE)):
        of_seeds = rng.multinomial(
            n_seeds, np.full(n_seeds, 1 / n_seeds), DRAWS_AT_ONCE
        )
        of_users = rng.multinomial(
            n_users, np.full(n_users, 1 / n_users), DRAWS_AT_ONCE
        )
        means.append(((of_seeds @ ahead) * of_users).sum(1))
    drawn = np.concatenate(means)
    side = min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1
    p_value = min(1.0, 2 * side / (len(drawn) + 1))
    base = float(np.mean(theirs))
    relative = float(ahead.mean()) / base if base else np.inf
    return Difference(relative, p_value)

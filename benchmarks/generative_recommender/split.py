"""Leave one out, and items that no training history has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generative_recommender.interactions import Items

COLD_SHARE = 0.05
COLD_SEED = 0
MIN_LENGTH = 3
MIN_BEFORE_COLD = 2


@dataclass(frozen=True)
class Query:
    """What is known of each user, and which item is to be found.

    Attributes
    ----------
    histories : list of ndarray
        Known items of each user, oldest first.
    targets : ndarray of shape (n_users,)
        The item to find. The items of `histories` are never recommended.
    """

    histories: list[Items]
    targets: Items

    def first(self, n_users: int) -> Query:
        """Take some users, at random but always the same."""
        if len(self.targets) <= n_users:
            return self
        rng = np.random.default_rng(COLD_SEED)
        users = rng.choice(len(self.targets), n_users, replace=False)
        return Query([self.histories[user] for user in users], self.targets[users])


@dataclass(frozen=True)
class Split:
    """Histories to train on, and three queries.

    Attributes
    ----------
    train : list of ndarray
        Items of each user less cold ones and the last two.
    valid : Query
        Finds the last but one from those before.
    test : Query
        Finds the last from all before.
    cold : Query
        Finds a cold item from the warm items before it.
    is_cold : ndarray of shape (n_items,), bool
        Items that are in no history of `train`, `valid` or `test`. They are the
        candidates of `cold`; the others are those of `valid` and `test`.
    """

    train: list[Items]
    valid: Query
    test: Query
    cold: Query
    is_cold: NDArray[np.bool_]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each item is in training histories, of shape (n_items,)."""
        return np.bincount(np.concatenate(self.train), minlength=len(self.is_cold))


def split_histories(histories: Sequence[Items], n_items: int) -> Split:
    """Make a twentieth of the items cold, then split the histories of warm items.

    Users with fewer than three warm items are left out.

    Raises
    ------
    ValueError
        If no user is left, or none has a cold item.
    """
    rng = np.random.default_rng(COLD_SEED)
    is_cold = np.zeros(n_items, dtype=bool)
    n_cold = max(1, round(COLD_SHARE * n_items))
    is_cold[rng.choice(n_items, n_cold, replace=False)] = True
    warm = [history[~is_cold[history]] for history in histories]
    warm = [history for history in warm if len(history) >= MIN_LENGTH]
    cold = [_before_cold(history, is_cold) for history in histories]
    found = [each for each in cold if each is not None]
    if not warm or not found:
        raise ValueError(
            f"histories must have users with {MIN_LENGTH} warm items and users with a "
            f"cold one. Got {len(warm)} and {len(found)} of {len(histories)} users."
        )
    train = [history[:-2] for history in warm]
    return Split(
        train,
        Query(train, np.array([history[-2] for history in warm])),
        Query([h[:-1] for h in warm], np.array([history[-1] for history in warm])),
        Query([before for before, _ in found], np.array([item for _, item in found])),
        is_cold,
    )


def _before_cold(
    history: Items, is_cold: NDArray[np.bool_]
) -> tuple[Items, np.int64] | None:
    """Find the last cold item of a history, and the warm items before it."""
    at = np.flatnonzero(is_cold[history])
    if not len(at):
        return None
    before = history[: at[-1]]
    before = before[~is_cold[before]]
    if len(before) < MIN_BEFORE_COLD:
        return None
    return before, history[at[-1]]

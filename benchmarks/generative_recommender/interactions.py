"""What users did with items that have texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.int64]


@dataclass(frozen=True)
class Interactions:
    """Items, and the items of each user.

    Attributes
    ----------
    texts : list of str
        One for each item.
    histories : list of ndarray
        Items of each user, oldest first, as positions in `texts`.
    """

    texts: list[str]
    histories: list[Items]


def histories_of(users: NDArray[np.int64], items: Items) -> list[Items]:
    """Group items by user; those of a user keep their order.

    Parameters
    ----------
    users, items : ndarray of shape (n_interactions,)
    """
    order = np.argsort(users, kind="stable")
    _, starts = np.unique(users[order], return_index=True)
    return np.split(items[order], starts[1:])


def core_of(users: NDArray[np.int64], items: Items, minimum: int) -> NDArray[np.bool_]:
    """Choose interactions so that each user and item has at least `minimum` of them.

    This is the k-core of the bipartite graph of users and items.

    Returns
    -------
    ndarray of shape (n_interactions,), bool
    """
    kept = np.ones(len(users), dtype=bool)
    while True:
        by_user = np.bincount(users[kept], minlength=users.max() + 1)
        by_item = np.bincount(items[kept], minlength=items.max() + 1)
        enough = (by_user[users] >= minimum) & (by_item[items] >= minimum)
        if (kept == (kept & enough)).all():
            return kept
        kept &= enough


def renumbered(texts: Sequence[str], histories: Sequence[Items]) -> Interactions:
    """Drop the items that no user has, and number the others from 0."""
    used = np.unique(np.concatenate(histories))
    number = np.full(len(texts), -1)
    number[used] = np.arange(len(used))
    return Interactions(
        [texts[item] for item in used], [number[history] for history in histories]
    )

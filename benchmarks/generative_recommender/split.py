"""Leave-one-out: the last item of each user tests, the one before it validates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Query:
    """What is known of each user, and what is to be found.

    Attributes
    ----------
    histories : list of ndarray
        Items of each user, the oldest first.
    targets : ndarray of shape (n_users,)
        The item that comes next.
    """

    histories: list[NDArray[np.int64]]
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Histories to train on, and two queries.

    Attributes
    ----------
    train : list of ndarray
        All of each user's items but the last two.
    valid : Query
        Finds the last but one from those before.
    test : Query
        Finds the last from all before, the validation item too.
    """

    train: list[NDArray[np.int64]]
    valid: Query
    test: Query


def leave_one_out(histories: Sequence[NDArray[np.int64]]) -> Split:
    """Split the histories of users.

    Raises
    ------
    ValueError
        If a history has fewer than three items.
    """
    shortest = min(map(len, histories))
    if shortest < 3:
        raise ValueError(
            f"histories must have at least 3 items each. Got one of {shortest}."
        )
    train = [history[:-2] for history in histories]
    return Split(
        train,
        Query(train, np.array([history[-2] for history in histories])),
        Query(
            [history[:-1] for history in histories],
            np.array([history[-1] for history in histories]),
        ),
    )

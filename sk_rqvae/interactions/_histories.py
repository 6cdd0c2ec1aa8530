"""Read histories of users in all accepted forms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, issparse

from sk_rqvae._checks.integers import joined_integers
from sk_rqvae._checks.missing import check_unmasked, first_missing

_FORMS = (
    "a sequence of sequences of item indices, a tuple of two arrays (user, item), or a "
    "sparse matrix of shape (n_users, n_items)"
)


class Interactions(NamedTuple):
    """Interactions sorted by user; those of a user keep their order.

    Attributes
    ----------
    user : ndarray of shape (n_interactions,), dtype int64
        Number of the user, from 0.
    item : ndarray of shape (n_interactions,)
        Index of the item, as int32 or int64.
    n_users : int
    """

    user: NDArray[np.int64]
    item: NDArray[Any]
    n_users: int


def check_histories(histories: Any, n_items: int, *, ordered: bool) -> Interactions:
    """Convert histories of any form to interactions.

    Parameters
    ----------
    histories : sequence of sequences, tuple of two arrays, or sparse matrix
    n_items : int
    ordered : bool
        Whether the order of interactions matters, which a sparse matrix does not have.

    Returns
    -------
    Interactions
    """
    if issparse(histories):
        if ordered:
            raise ValueError(
                "window needs the order of interactions, which a sparse matrix does "
                "not have. Pass sequences or a tuple (user, item), or window=None."
            )
        return _from_matrix(histories, n_items)
    if isinstance(histories, tuple) and len(histories) == 2:
        return _from_pair(*histories, n_items)
    return _from_sequences(histories, n_items)


def _from_matrix(histories: Any, n_items: int) -> Interactions:
    if histories.shape[1] != n_items:
        raise ValueError(
            f"histories must have n_items={n_items} columns. Got shape "
            f"{histories.shape}."
        )
    entries = coo_array(histories)
    entries.sum_duplicates()
    if entries.data.dtype.kind == "f" and np.isnan(entries.data).any():
        raise ValueError("histories must not hold NaN.")
    used = entries.data != 0
    user, item = entries.row[used], entries.col[used]
    order = np.argsort(user, kind="stable")
    return Interactions(user[order].astype(np.int64), item[order], histories.shape[0])


def _from_pair(user: Any, item: Any, n_items: int) -> Interactions:
    for values in (user, item):
        check_unmasked(values, "histories", instead="those of the valid items")
    users, items = np.asarray(user), np.asarray(item)
    if users.ndim != 1 or users.shape != items.shape:
        raise ValueError(
            "histories as a tuple (user, item) must have two 1-D arrays of the same "
            f"length. Got shapes {users.shape} and {items.shape}. Pass a list for two "
            "histories."
        )
    missing = first_missing(user)
    if missing is not None:
        raise ValueError(
            "histories must have a user for each interaction. Got "
            f"{users[missing]} at position {missing}."
        )
    try:
        distinct, number = np.unique(users, return_inverse=True)
    except TypeError as error:
        raise TypeError(
            f"histories must have users of one kind, which can be sorted. Got: {error}."
        ) from error
    items = _checked_items(items, n_items)
    order = np.argsort(number, kind="stable")
    return Interactions(number[order].astype(np.int64), items[order], len(distinct))


def _from_sequences(histories: Any, n_items: int) -> Interactions:
    if not isinstance(histories, Iterable) or isinstance(histories, str | bytes):
        raise TypeError(f"histories must be {_FORMS}. Got {type(histories).__name__}.")
    rows = []
    for history in histories:
        check_unmasked(history, "histories", instead="history.compressed()")
        rows.append(np.asarray(history))
    for number, row in enumerate(rows):
        if row.ndim != 1:
            raise ValueError(
                f"histories must be {_FORMS}. Got an entry of shape {row.shape} at "
                f"position {number}."
            )
        # An empty list has the dtype of floats.
        if row.size and row.dtype.kind not in "iu":
            raise TypeError(
                f"histories must hold item indices, which are integers. Got dtype "
                f"{row.dtype} at position {number}."
            )
    lengths = np.array([row.size for row in rows], dtype=np.int64)
    user = np.repeat(np.arange(len(rows)), lengths)
    items = joined_integers([row for row in rows if row.size])
    return Interactions(user, _checked_items(items, n_items), len(rows))


def _checked_items(items: NDArray[Any], n_items: int) -> NDArray[Any]:
    if items.size == 0:
        return items.astype(np.int64)
    if items.dtype.kind not in "iu":
        raise TypeError(
            "histories must hold item indices, which are integers. Got dtype "
            f"{items.dtype}."
        )
    low, high = int(items.min()), int(items.max())
    if low < 0 or high >= n_items:
        raise ValueError(
            f"histories must hold item indices in [0, {n_items - 1}], as "
            f"n_items={n_items}. Got {low if low < 0 else high}."
        )
    return items.astype(np.int32 if n_items <= 2**31 else np.int64)

"""Move items whose codes are taken to the best candidate of their model with room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.policies.reassign import (
    Distances,
    NearestInTurn,
    Room,
    check_room,
    ranks_of_equals,
)

Candidates = Callable[[IntArray], IntArray]

# A bound of memory: 32 candidates of four codes for each are 4 MiB.
_ROWS_AHEAD = 4096


def reassign_by_candidates(
    codes: IntArray,
    store: IDStore,
    room: Room,
    candidates: Candidates,
    distances: Distances,
) -> IntArray:
    """Give items codes one after the other, each its best candidate that has room.

    An item none of whose candidates has room gets what `reassign` would give it.

    Parameters
    ----------
    codes : ndarray of shape (n, n_layers)
        What the model gave the items.
    store : IDStore
        IDs that are taken, with keys for all codes of the model.
    room : Room
    candidates : callable
        ``candidates(rows)`` gives ``(m, k, n_layers)`` codes for ``(m,)`` rows of
        `codes`, best first.
    distances : callable
        As in `reassign`.

    Returns
    -------
    ndarray of shape (n, n_layers)
    """
    check_room(len(codes), store, room)
    ids = codes.copy()
    nearest = NearestInTurn(codes, ids, store, room, distances)
    keys = store.prefix_keys(codes).tolist()
    before = store.counts(codes)
    expected = np.flatnonzero(ranks_of_equals(codes) + before >= room.capacity)
    ahead = _Ahead(expected, candidates)
    placed: Counter[object] = Counter()
    counts = before.tolist()
    for row, key in enumerate(keys):
        if counts[row] + placed[key] < room.capacity:
            placed[key] += 1
            continue
        options = ahead.of(row)
        options_keys = store.prefix_keys(options).tolist()
        free = (
            at
            for at, (key_, count) in enumerate(
                zip(options_keys, store.counts(options).tolist(), strict=True)
            )
            if count + placed[key_] < room.capacity
        )
        at = next(free, None)
        if at is None:
            nearest.assign(row)
        else:
            ids[row] = options[at]
        placed[store.prefix_keys(ids[row : row + 1]).tolist()[0]] += 1
    return ids


class _Ahead:
    """Candidates of rows in ascending order, searched for many rows at once.

    Parameters
    ----------
    rows : ndarray of shape (m,)
        Rows that are expected to need them, ascending.
    candidates : callable
    """

    def __init__(self, rows: IntArray, candidates: Candidates) -> None:
        self._rows = rows
        self._candidates = candidates
        self._start = 0
        self._block: IntArray = np.empty((0, 0, 0), dtype=np.int64)

    def of(self, row: int) -> IntArray:
        """The candidates of a row, ``(k, n_layers)``."""
        at = int(np.searchsorted(self._rows, row))
        if at == len(self._rows) or self._rows[at] != row:
            # An earlier item was moved to the codes of this one.
            return self._candidates(np.array([row]))[0]
        if at >= self._start + len(self._block):
            self._start = at
            self._block = self._candidates(self._rows[at : at + _ROWS_AHEAD])
        return self._block[at - self._start]

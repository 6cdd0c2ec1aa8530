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
    ahead = dict(zip(expected.tolist(), _options(expected, candidates), strict=True))
    placed: Counter[object] = Counter()
    counts = before.tolist()
    for row, key in enumerate(keys):
        if counts[row] + placed[key] < room.capacity:
            placed[key] += 1
            continue
        options = ahead.get(row)
        if options is None:
            # An earlier item was moved to the codes of this one.
            options = candidates(np.array([row]))[0]
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


def _options(rows: IntArray, candidates: Candidates) -> IntArray:
    return candidates(rows) if len(rows) else np.empty((0, 0, 0), dtype=np.int64)

"""Where items stand among all items of a trie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.runs import ranges
from sk_rqvae.index.engine.texts import text_keys


class ItemPositions:
    """Finds items in an array, again and again.

    Strings are sorted by their hashes when they are first asked for, 16 bytes each.

    Parameters
    ----------
    items : ndarray of shape (n_items,)
        int64, or strings in an object array.
    """

    def __init__(self, items: NDArray[Any]) -> None:
        self.items = items
        self._sorted: tuple[IntArray, IntArray] | None = None

    def __reduce__(self) -> tuple[type[ItemPositions], tuple[NDArray[Any]]]:
        return type(self), (self.items,)

    def mask(self, wanted: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of all items are among some items."""
        found = np.zeros(len(self.items), dtype=bool)
        if (wanted.dtype == object) != (self.items.dtype == object):
            return found
        if self.items.dtype != object:
            return np.isin(self.items, wanted)
        if self._sorted is None:
            keys = text_keys(self.items.tolist())
            order = np.argsort(keys)
            self._sorted = keys[order], order
        keys, order = self._sorted
        sought = text_keys(wanted.tolist())
        starts = keys.searchsorted(sought, "left")
        counts = keys.searchsorted(sought, "right") - starts
        at = order[ranges(starts, counts)]
        # Another string can have the same hash.
        same = self.items[at] == np.repeat(wanted, counts)
        found[at[same.astype(bool)]] = True
        return found

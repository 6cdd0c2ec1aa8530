"""Find repeated keys, with eight bytes of memory per key."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class SeenKeys:
    """Hashes of keys, to find those that may be repeated.

    They are kept in sorted arrays, each at least twice as long as the next, so that a
    key is moved a logarithmic number of times.
    """

    def __init__(self) -> None:
        self._sorted: list[NDArray[np.int64]] = []

    def add(self, keys: NDArray[Any]) -> NDArray[np.int64]:
        """Remember keys.

        Parameters
        ----------
        keys : ndarray of shape (n,)
            Integers, or strings in an object array.

        Returns
        -------
        ndarray of int64
            Positions of the keys whose hash came before, in order. Each key that is
            repeated is among them; another one by chance is very unlikely.
        """
        hashes = _hashes(keys)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        repeated = np.zeros(len(keys), dtype=bool)
        repeated[order[1:]] = ordered[1:] == ordered[:-1]
        for earlier in self._sorted:
            positions = np.searchsorted(earlier, hashes)
            positions[positions == len(earlier)] = 0
            repeated |= earlier[positions] == hashes
        self._merge(ordered)
        return np.flatnonzero(repeated)

    def _merge(self, new: NDArray[np.int64]) -> None:
        while self._sorted and len(self._sorted[-1]) < 2 * len(new):
            new = np.sort(np.concatenate([self._sorted.pop(), new]), kind="stable")
        if len(new):
            self._sorted.append(new)


def _hashes(keys: NDArray[Any]) -> NDArray[np.int64]:
    if keys.dtype == object:
        return np.fromiter(map(hash, keys.tolist()), dtype=np.int64, count=len(keys))
    return keys.astype(np.uint64).view(np.int64)

"""Arrays to which rows are only ever appended."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROOM = 8
_UNSIGNED = tuple((2 ** (8 * size), np.dtype(f"<u{size}")) for size in (1, 2, 4))


def small_unsigned(array: NDArray[Any]) -> NDArray[Any]:
    """Cast non-negative integers to the smallest type that holds them."""
    dtype = dtype_below(int(array.max(initial=0)) + 1)
    return array.astype(dtype, copy=False)


def dtype_below(bound: int) -> np.dtype[Any]:
    """Return the smallest type that holds the integers from 0 to `bound` - 1."""
    for limit, dtype in _UNSIGNED:
        if bound <= limit:
            return dtype
    return np.dtype("<i8")


class _Buffer:
    __slots__ = ("array", "lock", "used")

    def __init__(self, array: NDArray[Any], used: int) -> None:
        self.array = array
        self.used = used
        self.lock = Lock()

    def claim(self, start: int, stop: int) -> bool:
        """Reserve rows for one writer, if nobody else has them."""
        # A lock that somebody holds is a buffer that somebody extends. Waiting for it
        # could last forever in a forked process, and copying the rows is always right.
        if not self.lock.acquire(blocking=False):
            return False
        free = self.used == start and stop <= len(self.array)
        if free:
            self.used = stop
        self.lock.release()
        return free


class GrowingArray:
    """An array whose appended version shares its memory.

    The buffer has room for an eighth more, so appending a row copies O(1) rows on
    average. An instance never changes: what is appended lies past its end. If other
    rows already lie there, the rows are copied to a new buffer instead.

    Parameters
    ----------
    values : ndarray of shape (n, ...)
        Kept, not copied.
    """

    __slots__ = ("_buffer", "values")

    def __init__(self, values: NDArray[Any], *, _buffer: _Buffer | None = None) -> None:
        self.values = values.view()
        self.values.flags.writeable = False
        self._buffer = _buffer or _Buffer(values, len(values))

    def __len__(self) -> int:
        return len(self.values)

    def __reduce__(self) -> tuple[Any, ...]:
        return GrowingArray, (self.values.copy(),)

    def appended(self, rows: NDArray[Any]) -> GrowingArray:
        """Put `rows`, of the same trailing shape, after the last.

        They are copied: whoever made them may change them. The type of the array widens
        if it cannot hold them.
        """
        if len(rows) == 0:
            return self
        if len(self) == 0:
            return GrowingArray(rows.copy())
        start, stop = len(self), len(self) + len(rows)
        buffer = self._buffer
        dtype = np.promote_types(self.values.dtype, rows.dtype)
        if dtype != self.values.dtype or not buffer.claim(start, stop):
            buffer = _Buffer(self._with_room_for(stop, dtype), stop)
        buffer.array[start:stop] = rows
        return GrowingArray(buffer.array[:stop], _buffer=buffer)

    def _with_room_for(self, length: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        capacity = max(length, len(self) + len(self) // _ROOM)
        array = np.empty((capacity, *self.values.shape[1:]), dtype=dtype)
        array[: len(self)] = self.values
        return array

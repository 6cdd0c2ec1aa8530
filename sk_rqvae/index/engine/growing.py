"""Arrays to which rows are only ever appended."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROOM = 8


class _Buffer:
    __slots__ = ("array", "used")

    def __init__(self, array: NDArray[Any], used: int) -> None:
        self.array = array
        self.used = used


class GrowingArray:
    """An array whose appended version shares its memory.

    The buffer has room for an eighth more, so appending a row copies O(1) rows on
    average. An instance never changes: what is appended lies past its end, and where
    something else already lies there, the rows are copied instead.

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
        """Put `rows`, of the same dtype and trailing shape, after the last.

        They are kept, not copied, where they are the first.
        """
        if len(rows) == 0:
            return self
        if len(self) == 0:
            return GrowingArray(rows)
        start, stop = len(self), len(self) + len(rows)
        buffer = self._buffer
        if buffer.used != start or stop > len(buffer.array):
            buffer = _Buffer(self._with_room_for(stop), start)
        buffer.array[start:stop] = rows
        buffer.used = stop
        return GrowingArray(buffer.array[:stop], _buffer=buffer)

    def _with_room_for(self, length: int) -> NDArray[Any]:
        capacity = max(length, len(self) + len(self) // _ROOM)
        array = np.empty((capacity, *self.values.shape[1:]), dtype=self.values.dtype)
        array[: len(self)] = self.values
        return array

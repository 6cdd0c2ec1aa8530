"""IDs as sortable keys: what binary search needs instead of tuples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.growing import dtype_below

Keys = NDArray[Any]

_LARGEST_KEY = np.iinfo(np.int64).max


class KeySpace(Protocol):
    """Keys in the order of the codes, one per row.

    Attributes
    ----------
    radices : tuple of int
        Exclusive upper bounds of the codes, one per level.
    dtype : numpy dtype
        That of the keys.
    """

    radices: tuple[int, ...]
    dtype: np.dtype[Any]

    def encode(self, codes: IntArray) -> Keys:
        """Return the keys of ``(n, n_layers)`` codes, each below its radix."""

    def bounds(self, prefixes: IntArray) -> tuple[Keys, Keys]:
        """Return the smallest and largest key below each ``(n, depth)`` prefix."""

    def span(self, keys: Keys, prefix: Sequence[int]) -> tuple[int, int]:
        """Find where in sorted keys those that begin with `prefix` start and stop."""

    def children(self, prefix: Sequence[int]) -> Keys:
        """Return the smallest key below each code that could follow `prefix`."""

    def digits(self, keys: Keys, level: int) -> IntArray:
        """Return the codes at one level of keys that are equal before it."""

    def each_digit(self, keys: Keys, level: int) -> IntArray:
        """Return the codes at one level of any keys."""


class IntegerKeys:
    """Mixed-radix numbers whose digits are the codes.

    They are uint32 where all of them fit, else int64.
    """

    def __init__(self, radices: tuple[int, ...]) -> None:
        self.radices = radices
        n_keys = math.prod(radices)
        self.dtype = np.promote_types(np.uint32, dtype_below(n_keys))
        self._spans = [math.prod(radices[depth:]) for depth in range(len(radices) + 1)]

    def encode(self, codes: IntArray) -> Keys:
        """Return the keys of ``(n, n_layers)`` codes."""
        return self.bounds(codes)[0]

    def bounds(self, prefixes: IntArray) -> tuple[Keys, Keys]:
        """Return the smallest and largest key below each ``(n, depth)`` prefix."""
        depth = prefixes.shape[1]
        keys = np.zeros(len(prefixes), dtype=np.int64)
        for level in range(depth):
            keys *= self.radices[level]
            keys += prefixes[:, level]
        span = self._spans[depth]
        keys *= span
        high = keys + (span - 1)
        return keys.astype(self.dtype), high.astype(self.dtype)

    def span(self, keys: Keys, prefix: Sequence[int]) -> tuple[int, int]:
        """Find where in sorted keys those that begin with `prefix` start and stop."""
        low = 0
        for code, radix in zip(prefix, self.radices, strict=False):
            if code >= radix:
                return 0, 0
            low = low * radix + code
        span = self._spans[len(prefix)]
        # NumPy would copy all keys to int64 to compare them with a Python integer.
        first, last = np.array([low * span, (low + 1) * span - 1], dtype=self.dtype)
        return int(keys.searchsorted(first)), int(keys.searchsorted(last, "right"))

    def children(self, prefix: Sequence[int]) -> Keys:
        """Return the smallest key below each code that could follow `prefix`."""
        first = sum(
            code * span for code, span in zip(prefix, self._spans[1:], strict=False)
        )
        level = len(prefix)
        keys = first + np.arange(self.radices[level]) * self._spans[level + 1]
        return keys.astype(self.dtype)

    def digits(self, keys: Keys, level: int) -> IntArray:
        """Return the codes at one level of keys that are equal before it."""
        numbers: IntArray = keys.astype(np.int64) // self._spans[level + 1]
        radix = self.radices[level]
        # All have the same digits before the level, so one division is enough.
        numbers -= int(numbers[0]) // radix * radix
        return numbers

    def each_digit(self, keys: Keys, level: int) -> IntArray:
        """Return the codes at one level of any keys."""
        numbers: IntArray = keys.astype(np.int64) // self._spans[level + 1]
        return numbers % self.radices[level]


class ByteKeys:
    """Big-endian byte strings, for IDs whose number does not fit in int64."""

    def __init__(self, radices: tuple[int, ...]) -> None:
        self.radices = radices
        self._widths = [max(1, (int(r - 1).bit_length() + 7) // 8) for r in radices]
        self._starts = [sum(self._widths[:level]) for level in range(len(radices))]
        self.dtype = np.dtype(f"S{sum(self._widths)}")

    def encode(self, codes: IntArray) -> Keys:
        """Return the keys of ``(n, n_layers)`` codes."""
        return self._packed(codes, 0)

    def bounds(self, prefixes: IntArray) -> tuple[Keys, Keys]:
        """Return the smallest and largest key below each ``(n, depth)`` prefix."""
        return self._packed(prefixes, 0), self._packed(prefixes, 255)

    def span(self, keys: Keys, prefix: Sequence[int]) -> tuple[int, int]:
        """Find where in sorted keys those that begin with `prefix` start and stop."""
        if any(c >= radix for c, radix in zip(prefix, self.radices, strict=False)):
            return 0, 0
        low, high = self.bounds(np.array([prefix], dtype=np.int64))
        start = keys.searchsorted(low, "left")[0]
        return int(start), int(keys.searchsorted(high, "right")[0])

    def children(self, prefix: Sequence[int]) -> Keys:
        """Return the smallest key below each code that could follow `prefix`."""
        level = len(prefix)
        codes = np.empty((self.radices[level], level + 1), dtype=np.int64)
        codes[:, :level] = prefix
        codes[:, level] = np.arange(self.radices[level])
        return self._packed(codes, 0)

    def digits(self, keys: Keys, level: int) -> IntArray:
        """Return the codes at one level of keys that are equal before it."""
        start, width = self._starts[level], self._widths[level]
        code_bytes = np.zeros((len(keys), 8), dtype=np.uint8)
        key_bytes = (
            np.ascontiguousarray(keys)
            .view(np.uint8)
            .reshape(len(keys), self.dtype.itemsize)
        )
        code_bytes[:, 8 - width :] = key_bytes[:, start : start + width]
        return code_bytes.view(">i8")[:, 0].astype(np.int64)

    def each_digit(self, keys: Keys, level: int) -> IntArray:
        """Return the codes at one level of any keys."""
        return self.digits(keys, level)

    def _packed(self, prefixes: IntArray, filler: int) -> Keys:
        packed = np.full((len(prefixes), self.dtype.itemsize), filler, dtype=np.uint8)
        for level in range(prefixes.shape[1]):
            start, width = self._starts[level], self._widths[level]
            column = np.ascontiguousarray(prefixes[:, level], dtype=">i8")
            code_bytes = column.view(np.uint8).reshape(len(prefixes), 8)
            packed[:, start : start + width] = code_bytes[:, 8 - width :]
        return packed.view(self.dtype)[:, 0]


def key_space(radices: Sequence[int]) -> KeySpace:
    """Integer keys where every ID has a number below 2**63, else byte keys."""
    radices = tuple(radices)
    if math.prod(radices) <= _LARGEST_KEY:
        return IntegerKeys(radices)
    return ByteKeys(radices)

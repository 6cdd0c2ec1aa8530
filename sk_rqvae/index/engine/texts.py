"""Strings as bytes: packed for files, and hashed to integers that sort them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray

_AT_ONCE = 65536


class PackedTexts:
    """Strings as their UTF-8 bytes, decoded when they are asked for.

    Parameters
    ----------
    text : ndarray of shape (n_bytes,), uint8
        All strings, one after the other.
    ends : ndarray of shape (n,)
        Where each one ends.
    """

    __slots__ = ("_ends", "_text")

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.integer]) -> None:
        self._text = text
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    def take(self, rows: IntArray) -> NDArray[np.object_]:
        """Return some of the strings."""
        rows = np.asarray(rows, dtype=np.int64)
        ends = self._ends[rows].astype(np.int64)
        starts = np.where(rows > 0, self._ends[rows - 1], 0)
        found = np.empty(len(rows), dtype=object)
        found[:] = [
            self._text[start:end].tobytes().decode("utf-8", "surrogatepass")
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        return found

    def all(self) -> NDArray[np.object_]:
        """Return all strings."""
        return self.take(np.arange(len(self)))


def packed(strings: Sequence[str]) -> tuple[NDArray[np.uint8], IntArray]:
    """Return the UTF-8 bytes of all strings, and where each one ends."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), np.cumsum(lengths)


def text_keys(strings: Sequence[str]) -> IntArray:
    """Hash strings to 64 bits, the same on every machine and in every process.

    A string is hashed to the sum of its bytes, each times an odd pseudorandom number
    that depends on its position, and of a number that depends on its length.
    """
    keys = np.empty(len(strings), dtype=np.uint64)
    for start in range(0, len(strings), _AT_ONCE):
        block = strings[start : start + _AT_ONCE]
        keys[start : start + len(block)] = _keys_of(*packed(block))
    return keys.view(np.int64)


def _keys_of(text: NDArray[np.uint8], ends: IntArray) -> NDArray[np.uint64]:
    lengths = np.diff(ends, prepend=0)
    position = np.arange(len(text)) - np.repeat(ends - lengths, lengths)
    longest = int(lengths.max(initial=0))
    factors = _mixed(np.arange(longest, dtype=np.uint64)) | np.uint64(1)
    sums = np.zeros(len(text) + 1, dtype=np.uint64)
    np.cumsum((text.astype(np.uint64) + np.uint64(1)) * factors[position], out=sums[1:])
    return _mixed(sums[ends] - sums[ends - lengths] + lengths.astype(np.uint64))


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of integers one to one, by the finaliser of SplitMix64."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

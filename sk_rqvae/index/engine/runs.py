"""Sorted keys that grow: a few sorted runs of falling length."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.growing import small_unsigned
from sk_rqvae.index.engine.keys import Keys

_RATIO = 8
_SHORTEST = 1024
_SORTED_SEARCH = 4096


class Run(NamedTuple):
    """Rows by ascending key; rows of equal keys are in order of arrival."""

    keys: Keys
    rows: NDArray[Any]

    @classmethod
    def sorted(cls, keys: Keys, rows: IntArray) -> Run:
        """Sort rows by their keys."""
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], small_unsigned(rows[order]))

    def part(self, start: int, stop: int) -> Run:
        """Return some of the rows."""
        return Run(self.keys[start:stop], self.rows[start:stop])


class SortedRuns:
    """A sorted multimap from keys to rows: a log-structured merge of sorted arrays.

    New rows make a run of their own. It is merged with the run before it while that one
    is less than eight times as long, or both together have at most 1024 rows. So there
    are at most ``log_8 n`` runs, a query is one binary search in each, and a row is
    copied O(log n) times in its life. Instances never change: adding makes a new one,
    which shares the runs that stay.

    Parameters
    ----------
    runs : tuple of Run
        Of two rows with one key, the one in the earlier run came first.
    """

    __slots__ = ("runs",)

    def __init__(self, runs: tuple[Run, ...]) -> None:
        self.runs = runs

    @classmethod
    def empty(cls, dtype: np.dtype[Any]) -> SortedRuns:
        """Make a multimap without rows, for keys of a type."""
        return cls((Run(np.empty(0, dtype=dtype), np.empty(0, dtype=np.uint8)),))

    def __len__(self) -> int:
        return sum(len(run.rows) for run in self.runs)

    def inserted(self, run: Run) -> SortedRuns:
        """Add the rows of `run`, after those that have the same keys."""
        runs = list(self.filled())
        last = run
        while runs and len(runs[-1].rows) < _mergeable(len(last.rows)):
            last = merged(runs.pop(), last)
        return SortedRuns((*runs, last))

    def filled(self) -> tuple[Run, ...]:
        """Return the runs that have rows."""
        return tuple(run for run in self.runs if len(run.rows))

    def as_one(self) -> Run:
        """Merge all runs."""
        runs = list(self.runs)
        last = runs.pop()
        while runs:
            last = merged(runs.pop(), last)
        return last

    def counts(self, low: Keys, high: Keys) -> IntArray:
        """Count the rows whose keys lie between `low` and `high`, both included."""
        total = np.zeros(len(low), dtype=np.int64)
        for run in self.filled():
            total += run.keys.searchsorted(high, "right")
            total -= run.keys.searchsorted(low, "left")
        return total

    def first_rows(self, keys: Keys) -> IntArray:
        """Find the first row of each key, or -1."""
        rows = np.full(len(keys), -1, dtype=np.int64)
        unfound = np.arange(len(keys))
        for run in self.filled():
            sought = keys[unfound]
            at = np.minimum(_searchsorted(run.keys, sought), len(run.keys) - 1)
            hit = run.keys[at] == sought
            rows[unfound[hit]] = run.rows[at[hit]]
            unfound = unfound[~hit]
            if len(unfound) == 0:
                break
        return rows

    def all_rows(self, keys: Keys) -> tuple[IntArray, IntArray]:
        """Find the rows of every key, one key after the other, and their numbers."""
        spans = [
            (
                run,
                run.keys.searchsorted(keys, "left"),
                run.keys.searchsorted(keys, "right"),
            )
            for run in self.filled()
        ]
        counts = np.zeros(len(keys), dtype=np.int64)
        for _, starts, stops in spans:
            counts += stops - starts
        rows = np.empty(int(counts.sum()), dtype=np.int64)
        offsets = np.cumsum(counts) - counts
        for run, starts, stops in spans:
            rows[ranges(offsets, stops - starts)] = run.rows[
                ranges(starts, stops - starts)
            ]
            offsets = offsets + (stops - starts)
        return rows, counts

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Which keys have a row."""
        return self.first_rows(keys) >= 0

    def without(self, rows: IntArray) -> SortedRuns:
        """Remove some rows. This copies all others."""
        run = self.as_one()
        keep = ~np.isin(run.rows, rows)
        return SortedRuns((Run(run.keys[keep], run.rows[keep]),))


def merged(first: Run, second: Run) -> Run:
    """Merge two runs; of equal keys those of `first` come first."""
    if len(second.rows) == 0:
        return first
    if len(first.rows) == 0:
        return second
    positions = first.keys.searchsorted(second.keys, "right")
    positions += np.arange(len(positions))
    from_first = np.ones(len(first.rows) + len(second.rows), dtype=bool)
    from_first[positions] = False
    return Run(
        _interleaved(first.keys, second.keys, positions, from_first),
        _interleaved(first.rows, second.rows, positions, from_first),
    )


def ranges(starts: IntArray, counts: IntArray) -> IntArray:
    """Return the integers of several ranges, one range after the other."""
    total = int(counts.sum())
    ends = np.cumsum(counts)
    return np.arange(total) + np.repeat(starts - (ends - counts), counts)


def _mergeable(length: int) -> int:
    """Return the length from which the run before one of `length` is left alone."""
    return max(_RATIO * length, _SHORTEST - length + 1)


def _interleaved(
    first: NDArray[Any],
    second: NDArray[Any],
    positions: IntArray,
    from_first: NDArray[np.bool_],
) -> NDArray[Any]:
    dtype = np.promote_types(first.dtype, second.dtype)
    together = np.empty(len(from_first), dtype=dtype)
    together[positions] = second
    together[from_first] = first
    return together


def _searchsorted(keys: Keys, sought: Keys) -> IntArray:
    if len(sought) < _SORTED_SEARCH:
        return keys.searchsorted(sought)
    # Ascending searches walk through memory once instead of jumping about in it.
    order = np.argsort(sought)
    positions = np.empty(len(sought), dtype=np.int64)
    positions[order] = keys.searchsorted(sought[order])
    return positions

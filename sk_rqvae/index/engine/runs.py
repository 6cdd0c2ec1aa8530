"""Sorted keys that grow: one long sorted run and one short one."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.keys import Keys

_SHORTEST_RECENT = 1024
_SORTED_SEARCH = 4096


class Run(NamedTuple):
    """Rows by ascending key; rows of equal keys are in order of rank."""

    keys: Keys
    rows: IntArray

    def part(self, start: int, stop: int) -> Run:
        """Return some of the rows."""
        return Run(self.keys[start:stop], self.rows[start:stop])


class SortedRuns:
    """A sorted multimap from keys to rows, in two sorted arrays.

    New keys go to the recent run, which is merged into the long one when it outgrows
    the square root of its length. Adding an item copies O(sqrt(n)) keys on average,
    and a search is two binary searches. Instances never change: adding makes a new one.

    Parameters
    ----------
    long, recent : Run
        Of two rows with one key, the one in `long` comes first.
    """

    __slots__ = ("long", "recent")

    def __init__(self, long: Run, recent: Run) -> None:
        self.long = long
        self.recent = recent

    @classmethod
    def of(cls, run: Run) -> SortedRuns:
        """Put all rows in the long run."""
        return cls(run, Run(run.keys[:0], run.rows[:0]))

    def __len__(self) -> int:
        return len(self.long.rows) + len(self.recent.rows)

    def inserted(self, run: Run) -> SortedRuns:
        """Add the rows of `run`, after those that have the same keys."""
        recent = merged(self.recent, run)
        if len(recent.rows) <= max(_SHORTEST_RECENT, 4 * math.isqrt(len(self))):
            return SortedRuns(self.long, recent)
        return SortedRuns.of(merged(self.long, recent))

    def counts(self, low: Keys, high: Keys) -> IntArray:
        """Count the rows whose keys lie between `low` and `high`, both included."""
        total = np.zeros(len(low), dtype=np.int64)
        for run in self.filled():
            total += run.keys.searchsorted(high, "right")
            total -= run.keys.searchsorted(low, "left")
        return total

    def row_of_rank(self, keys: Keys, ranks: IntArray) -> IntArray:
        """Find the row that is number `ranks` among those with its key, or -1."""
        rows = np.full(len(keys), -1, dtype=np.int64)
        ranks = np.minimum(ranks, len(self))
        left = np.arange(len(keys))
        for run in self.filled():
            sought = keys[left]
            starts = _searchsorted(run.keys, sought)
            at = starts + ranks[left]
            at_most = np.minimum(at, len(run.keys) - 1)
            hit = (at < len(run.keys)) & (run.keys[at_most] == sought)
            rows[left[hit]] = run.rows[at_most[hit]]
            missed = ~hit
            left = left[missed]
            if len(left) == 0 or run is self.recent:
                break
            stops = run.keys.searchsorted(sought[missed], "right")
            ranks[left] -= stops - starts[missed]
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
            rows[_ranges(offsets, stops - starts)] = run.rows[
                _ranges(starts, stops - starts)
            ]
            offsets = offsets + (stops - starts)
        return rows, counts

    def filled(self) -> list[Run]:
        """Return the runs that have rows."""
        return [run for run in (self.long, self.recent) if len(run.rows)]


def merged(first: Run, second: Run) -> Run:
    """Merge two runs; of equal keys those of `first` come first."""
    if len(second.rows) == 0:
        return first
    if len(first.rows) == 0:
        return second
    places = first.keys.searchsorted(second.keys, "right")
    places += np.arange(len(places))
    from_first = np.ones(len(first.rows) + len(second.rows), dtype=bool)
    from_first[places] = False
    return Run(
        _interleaved(first.keys, second.keys, places, from_first),
        _interleaved(first.rows, second.rows, places, from_first),
    )


def _interleaved(
    first: NDArray[Any],
    second: NDArray[Any],
    places: IntArray,
    from_first: NDArray[np.bool_],
) -> NDArray[Any]:
    together = np.empty(len(from_first), dtype=first.dtype)
    together[places] = second
    together[from_first] = first
    return together


def _searchsorted(keys: Keys, sought: Keys) -> IntArray:
    if len(sought) < _SORTED_SEARCH:
        return keys.searchsorted(sought)
    # Ascending searches walk through memory once instead of jumping about in it.
    order = np.argsort(sought)
    places = np.empty(len(sought), dtype=np.int64)
    places[order] = keys.searchsorted(sought[order])
    return places


def _ranges(starts: IntArray, counts: IntArray) -> IntArray:
    total = int(counts.sum())
    ends = np.cumsum(counts)
    return np.arange(total) + np.repeat(starts - (ends - counts), counts)

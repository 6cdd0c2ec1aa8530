"""IDs by row and rows by ID: the sorted structure that every query goes through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.growing import GrowingArray, small_unsigned
from sk_rqvae.index.engine.keys import Keys, KeySpace, key_space
from sk_rqvae.index.engine.runs import Run, SortedRuns, merged

# Choices, not measured. Up to so many sorted keys, reading each is taken to be faster
# than a search for each code; up to so many codes, a set is taken to be faster than a
# sort; and for so many suffixes keys have room from the beginning.
_SCANNED = 512
_FEW = 64
_ROOMY_SUFFIX = 2**16
_LARGEST_KEY = np.iinfo(np.int64).max
_INT64 = np.dtype(np.int64)


class IDStore:
    """IDs in order of arrival, and the sorted runs that find them.

    A row is an ID that was given to an item. Rows are never deleted or renumbered. The
    row of an item that left is *removed*: queries do not return it. A removed row is
    *retired* if its ID stays taken, and *forgotten* if the ID may be given again: the
    runs do not have it then.

    Instances never change: every change makes a new one.

    Parameters
    ----------
    ids : GrowingArray of shape (n, n_layers or n_layers + 1)
        Of the smallest unsigned type that holds them.
    space : KeySpace
        Keys of all columns.
    runs : SortedRuns
        Rows by ID, the retired ones included and the forgotten ones not.
    retired : SortedRuns
        The retired rows, by ID.
    removed : SortedRuns
        The removed rows, by row: the retired and the forgotten ones.
    sizes : tuple of int or None
        Exclusive upper bounds of the `n_layers` codes. None where any code may come;
        the radices of the keys then grow with the codes.
    numbered : bool
        Whether IDs have a suffix, one more column than `n_layers`. Its radix grows.
    """

    __slots__ = (
        "_any_retired",
        "_live",
        "_live_ids",
        "_wide",
        "n_layers",
        "numbered",
        "removed",
        "retired",
        "rows",
        "runs",
        "sizes",
        "space",
    )

    def __init__(
        self,
        ids: GrowingArray,
        space: KeySpace,
        runs: SortedRuns,
        retired: SortedRuns,
        removed: SortedRuns,
        *,
        sizes: tuple[int, ...] | None,
        numbered: bool,
    ) -> None:
        self.rows = ids
        self.space = space
        self.runs = runs
        self.retired = retired
        self.removed = removed
        self.sizes = sizes
        self.numbered = numbered
        self.n_layers = len(space.radices) - numbered
        self._wide: dict[tuple[int, ...], IntArray] = {}
        self._any_retired = len(retired) > 0
        self._live: IntArray | None = None
        self._live_ids: IntArray | None = None

    @classmethod
    def empty(
        cls, n_layers: int, sizes: tuple[int, ...] | None, *, numbered: bool
    ) -> IDStore:
        """Make a store without IDs."""
        radices = sizes or (1,) * n_layers
        space = key_space(
            (*radices, _suffix_radix(radices, 1)) if numbered else radices
        )
        return cls(
            GrowingArray(np.empty((0, n_layers + numbered), dtype=np.uint8)),
            space,
            SortedRuns.empty(space.dtype),
            SortedRuns.empty(space.dtype),
            SortedRuns.empty(_INT64),
            sizes=sizes,
            numbered=numbered,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what queries remember: copies of it would be writable."""
        make = partial(IDStore, sizes=self.sizes, numbered=self.numbered)
        return make, (self.rows, self.space, self.runs, self.retired, self.removed)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_live(self) -> int:
        """IDs that an item has."""
        return len(self.rows) - len(self.removed)

    @property
    def n_taken(self) -> int:
        """IDs that cannot be given to a new item."""
        return len(self.runs)

    @property
    def n_columns(self) -> int:
        """Codes an ID."""
        return self.n_layers + self.numbered

    def ids_of(self, rows: IntArray) -> IntArray:
        """Return the IDs of some rows, ``(n, n_columns)`` int64."""
        return self.rows.values[rows].astype(np.int64)

    def live_rows(self) -> IntArray:
        """Return the rows that are not removed, ascending."""
        if self._live is None:
            keep = np.ones(len(self), dtype=bool)
            keep[self.removed.as_one().keys] = False
            self._live = np.flatnonzero(keep)
        return self._live

    def live_ids(self) -> IntArray:
        """Return the IDs of `live_rows`, read-only."""
        if self._live_ids is None:
            rows = self.live_rows() if len(self.removed) else slice(None)
            ids = self.rows.values[rows].astype(np.int64)
            ids.flags.writeable = False
            self._live_ids = ids
        return self._live_ids

    def is_removed(self, rows: IntArray) -> NDArray[np.bool_]:
        """Which rows are removed."""
        if len(self.removed) == 0:
            return np.zeros(len(rows), dtype=bool)
        return self.removed.has(rows)

    def widths(self, capacity: int | None) -> tuple[int, ...]:
        """Return how many codes each column can have, or has had so far.

        `capacity` bounds the suffix.
        """
        if self.sizes is not None and not self.numbered:
            return self.sizes
        if self.sizes is not None and capacity is not None:
            return (*self.sizes, capacity)
        tops = self.rows.values.max(axis=0, initial=0) if len(self) else ()
        seen = tuple(int(top) + 1 for top in tops) or (0,) * self.n_columns
        codes = self.sizes or seen[: self.n_layers]
        if not self.numbered:
            return codes
        return (*codes, seen[-1] if capacity is None else capacity)

    def covering(self, codes: IntArray) -> IDStore:
        """Widen the keys where they have no room for ``(n, depth)`` `codes`."""
        tops = codes.max(axis=0, initial=0).tolist()
        tops += [0] * (self.n_columns - len(tops))
        # Python's integers: a radix can be 2**63.
        wider = [
            radix if top < radix else 1 << top.bit_length()
            for top, radix in zip(tops, self.space.radices, strict=True)
        ]
        if wider == list(self.space.radices):
            return self
        return self._with_radices(wider, self.sizes)

    def bounded(self, sizes: tuple[int, ...]) -> IDStore:
        """Give the codes upper bounds, above all that there are, if they have none."""
        if sizes == self.sizes:
            return self
        suffix = self.space.radices[self.n_layers :]
        return self._with_radices([*sizes, *suffix], sizes)

    def _with_radices(
        self, radices: list[int], sizes: tuple[int, ...] | None
    ) -> IDStore:
        """Make all keys anew."""
        if self.numbered:
            radices = [*radices[:-1], _suffix_radix(radices[:-1], radices[-1])]
        space = key_space(radices)

        def encoded(runs: SortedRuns) -> SortedRuns:
            return SortedRuns(
                tuple(
                    Run(space.encode(self.ids_of(run.rows)), run.rows)
                    for run in runs.runs
                )
            )

        return IDStore(
            self.rows,
            space,
            encoded(self.runs),
            encoded(self.retired),
            self.removed,
            sizes=sizes,
            numbered=self.numbered,
        )

    def prefix_keys(self, codes: IntArray) -> Keys:
        """Return keys of ``(n, depth)`` codes, for which there is room."""
        return self.space.bounds(codes)[0]

    def order(self, codes: IntArray) -> IntArray:
        """Sort ``(n, depth)`` codes; equal ones stay in order of arrival."""
        return np.argsort(self.prefix_keys(codes), kind="stable")

    def appended(self, ids: IntArray, order: IntArray | None = None) -> IDStore:
        """Add new IDs, for which the keys have room, after the last.

        `order` is what `order(ids)` returns, if it is known.
        """
        keys = self.space.encode(ids)
        order = np.argsort(keys, kind="stable") if order is None else order
        run = Run(keys[order], small_unsigned(order + len(self)))
        return self._replaced(
            rows=self.rows.appended(small_unsigned(ids)), runs=self.runs.inserted(run)
        )

    def with_removed(self, rows: IntArray, *, reuse: bool) -> IDStore:
        """Remove rows that are there: retire them, or with `reuse` forget them."""
        if len(rows) == 0:
            return self
        rows = np.sort(rows)
        removed = self.removed.inserted(Run(rows, small_unsigned(rows)))
        if reuse:
            return self._replaced(removed=removed, runs=self.runs.without(rows))
        run = Run.sorted(self.space.encode(self.ids_of(rows)), rows)
        return self._replaced(removed=removed, retired=self.retired.inserted(run))

    def with_retired(self, rows: IntArray) -> IDStore:
        """Take the IDs of forgotten rows back, so that they are not given again."""
        run = Run.sorted(self.space.encode(self.ids_of(rows)), rows)
        return self._replaced(
            runs=self.runs.inserted(run), retired=self.retired.inserted(run)
        )

    def counts(self, prefixes: IntArray) -> IntArray:
        """Count the IDs taken that begin with each row of ``(n, depth)`` codes."""
        return self._counts_in(self.runs, prefixes)

    def retired_counts(self, prefixes: IntArray) -> IntArray:
        """Count the retired IDs that begin with each row of ``(n, depth)`` codes."""
        return self._counts_in(self.retired, prefixes)

    def largest_next(self, prefixes: IntArray) -> IntArray:
        """Find the largest code taken after each ``(n, depth)`` prefix, or -1."""
        largest = np.full(len(prefixes), -1, dtype=np.int64)
        low, high = self.space.bounds(prefixes)
        for run in self.runs.filled():
            at = run.keys.searchsorted(high, "right") - 1
            found = np.flatnonzero((at >= 0) & (run.keys[np.maximum(at, 0)] >= low))
            codes = self.space.each_digit(run.keys[at[found]], prefixes.shape[1])
            largest[found] = np.maximum(largest[found], codes)
        return largest

    def find(self, ids: IntArray) -> IntArray:
        """Find the row that has each ID, or -1, where no two rows share one."""
        rows = np.full(len(ids), -1, dtype=np.int64)
        known = np.flatnonzero(self._covers(ids))
        rows[known] = self.runs.first_rows(self.space.encode(ids[known]))
        rows[self.is_removed(rows)] = -1
        return rows

    def find_all(self, ids: IntArray) -> tuple[IntArray, IntArray]:
        """Find all rows with each ID, one ID after the other, and their numbers."""
        counts = np.zeros(len(ids), dtype=np.int64)
        known = np.flatnonzero(self._covers(ids))
        rows, counts[known] = self.runs.all_rows(self.space.encode(ids[known]))
        if len(self.removed):
            keep = ~self.is_removed(rows)
            group = np.repeat(np.arange(len(ids)), counts)[keep]
            rows, counts = rows[keep], np.bincount(group, minlength=len(ids))
        return rows, counts

    def under(self, prefix: tuple[int, ...]) -> IntArray:
        """Find the rows of IDs that begin with `prefix`, in order of the IDs."""
        run = self.runs.runs[0].part(0, 0)
        for part in self.runs.filled():
            run = merged(run, part.part(*self.space.span(part.keys, prefix)))
        rows = run.rows.astype(np.int64)
        return rows[~self.is_removed(rows)] if len(self.removed) else rows

    def next_codes(self, prefix: tuple[int, ...]) -> IntArray:
        """Find the codes that continue `prefix` to an ID of an item, ascending."""
        if prefix in self._wide:
            return self._wide[prefix].copy()
        n_found, parts = self._parts(self.runs, prefix)
        retired = self._parts(self.retired, prefix)[1] if self._any_retired else []
        if retired:
            found = _not_all_retired(
                [_code_counts(prefix, keys, self.space) for keys in parts],
                [_code_counts(prefix, keys, self.space) for keys in retired],
            )
        else:
            found = _distinct([_codes_after(prefix, k, self.space) for k in parts])
        if n_found > _SCANNED:
            # Few prefixes have so many items, and every generated ID passes there.
            self._wide[prefix] = found.copy()
        return found

    def taken_next(self, prefix: tuple[int, ...]) -> IntArray:
        """Find the codes that continue `prefix` to an ID that is taken, ascending."""
        _, parts = self._parts(self.runs, prefix)
        return _distinct([_codes_after(prefix, k, self.space) for k in parts])

    def full_children(
        self, prefix: tuple[int, ...], sizes: Sequence[int], capacity: int
    ) -> IntArray:
        """Find the codes after `prefix` below which no item has room."""
        depth = len(prefix)
        children = self.taken_next(prefix)
        room = capacity * math.prod(sizes[depth + 1 :])
        if room == 1:
            return children
        prefixes = np.empty((len(children), depth + 1), dtype=np.int64)
        prefixes[:, :depth] = prefix
        prefixes[:, depth] = children
        return children[self.counts(prefixes) >= room]

    def _parts(
        self, runs: SortedRuns, prefix: tuple[int, ...]
    ) -> tuple[int, list[Keys]]:
        """Return how many keys begin with `prefix`, and those keys a run."""
        if len(prefix) == self.n_columns:
            return 0, []
        parts = []
        for run in runs.filled():
            start, stop = self.space.span(run.keys, prefix)
            if start < stop:
                parts.append(run.keys[start:stop])
        return sum(map(len, parts)), parts

    def _counts_in(self, runs: SortedRuns, prefixes: IntArray) -> IntArray:
        counts = np.zeros(len(prefixes), dtype=np.int64)
        known = np.flatnonzero(self._covers(prefixes))
        counts[known] = runs.counts(*self.space.bounds(prefixes[known]))
        return counts

    def _covers(self, codes: IntArray) -> NDArray[np.bool_]:
        # A radix of 2**63 is no int64.
        radices = self.space.radices[: codes.shape[1]]
        largest = np.array([radix - 1 for radix in radices])
        return np.logical_and.reduce(codes <= largest, axis=1)

    def _replaced(
        self,
        *,
        rows: GrowingArray | None = None,
        runs: SortedRuns | None = None,
        retired: SortedRuns | None = None,
        removed: SortedRuns | None = None,
    ) -> IDStore:
        return IDStore(
            rows if rows is not None else self.rows,
            self.space,
            runs if runs is not None else self.runs,
            retired if retired is not None else self.retired,
            removed if removed is not None else self.removed,
            sizes=self.sizes,
            numbered=self.numbered,
        )


def _suffix_radix(radices: Sequence[int], needed: int) -> int:
    """Return a radix for the suffix that is large enough for a long time.

    All keys are made anew when it grows, so it is larger than needed if integers hold
    the keys.
    """
    roomy = max(needed, _ROOMY_SUFFIX)
    return roomy if math.prod(radices) * roomy <= _LARGEST_KEY else needed


def _codes_after(prefix: tuple[int, ...], keys: Keys, space: KeySpace) -> IntArray:
    """Find the codes after `prefix` in sorted keys that begin with it, ascending."""
    level = len(prefix)
    if len(keys) <= max(_SCANNED, space.radices[level]):
        return space.digits(keys, level)
    starts = keys.searchsorted(space.children(prefix))
    return np.flatnonzero(np.diff(starts, append=len(keys)))


def _code_counts(
    prefix: tuple[int, ...], keys: Keys, space: KeySpace
) -> tuple[IntArray, IntArray]:
    """Count how often each code follows `prefix` in sorted keys that begin with it."""
    level = len(prefix)
    if len(keys) <= max(_SCANNED, space.radices[level]):
        return np.unique(space.digits(keys, level), return_counts=True)
    counts = np.diff(keys.searchsorted(space.children(prefix)), append=len(keys))
    codes = np.flatnonzero(counts)
    return codes, counts[codes]


def _not_all_retired(
    counted: list[tuple[IntArray, IntArray]],
    retired: list[tuple[IntArray, IntArray]],
) -> IntArray:
    """Find the codes that are counted more often than they are retired."""
    codes = np.concatenate([codes for codes, _ in [*counted, *retired]])
    counts = np.concatenate([*(n for _, n in counted), *(-n for _, n in retired)])
    codes, inverse = np.unique(codes, return_inverse=True)
    return codes[np.bincount(inverse, weights=counts) > 0]


def _distinct(parts: list[IntArray]) -> IntArray:
    """Merge ascending codes; each comes once."""
    if not parts:
        return np.empty(0, dtype=np.int64)
    codes = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(codes) <= _FEW:
        return np.array(sorted(set(codes.tolist())), dtype=np.int64)
    if len(parts) > 1:
        codes.sort()
    first = np.empty(len(codes), dtype=bool)
    first[0] = True
    np.not_equal(codes[1:], codes[:-1], out=first[1:])
    return codes[first]

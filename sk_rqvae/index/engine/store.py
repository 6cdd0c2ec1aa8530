"""IDs by row and rows by ID: the sorted structure that every query goes through."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.engine.keys import Keys, KeySpace, key_space
from sk_rqvae.index.engine.runs import Run, SortedRuns, merged

_SCANNED = 512
_FEW = 64


class IDStore:
    """IDs in order of arrival, and the sorted runs that find them.

    A key holds the `n_layers` codes of the model. With `numbered`, IDs have one more
    column, the rank of an item among those with the same codes; it is not in the key,
    because it is the place of the row among rows of equal keys.

    Instances never change: adding IDs makes a new one.

    Parameters
    ----------
    ids : GrowingArray of shape (n, n_layers or n_layers + 1), int64
    space : KeySpace
    runs : SortedRuns
    sizes : tuple of int or None
        Exclusive upper bounds of the codes. None where any code may come; the radices
        of the keys then grow with the codes.
    numbered : bool
    """

    __slots__ = ("_ids", "_runs", "_space", "_wide", "n_layers", "numbered", "sizes")

    def __init__(
        self,
        ids: GrowingArray,
        space: KeySpace,
        runs: SortedRuns,
        *,
        sizes: tuple[int, ...] | None,
        numbered: bool,
    ) -> None:
        self._ids = ids
        self._space = space
        self._runs = runs
        self._wide: dict[tuple[int, ...], IntArray] = {}
        self.n_layers = len(space.radices)
        self.sizes = sizes
        self.numbered = numbered

    @classmethod
    def empty(
        cls, n_layers: int, sizes: tuple[int, ...] | None, *, numbered: bool
    ) -> IDStore:
        """Make a store without IDs."""
        space = key_space(sizes or (1,) * n_layers)
        ids = np.empty((0, n_layers + numbered), dtype=np.int64)
        run = Run(np.empty(0, dtype=space.dtype), np.empty(0, dtype=np.int64))
        runs = SortedRuns.of(run)
        return cls(GrowingArray(ids), space, runs, sizes=sizes, numbered=numbered)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def n_columns(self) -> int:
        """Codes an ID."""
        return self.n_layers + self.numbered

    @property
    def ids(self) -> IntArray:
        """All IDs, read-only, ``(n, n_columns)``."""
        return self._ids.values

    @property
    def widths(self) -> tuple[int, ...]:
        """How many codes each column can have: `sizes`, or as many as it has had."""
        if self.sizes is not None and not self.numbered:
            return self.sizes
        seen = tuple(int(top) + 1 for top in self.ids.max(axis=0, initial=-1))
        return seen if self.sizes is None else (*self.sizes, seen[-1])

    def covering(self, codes: IntArray) -> IDStore:
        """Widen the keys where they have no room for ``(n, n_layers)`` `codes`."""
        if self.sizes is not None or self._covers(codes).all():
            return self
        largest = np.maximum(codes.max(axis=0), np.asarray(self._space.radices) - 1)
        space = key_space([1 << int(code).bit_length() for code in largest])
        runs = SortedRuns(
            *(
                Run(space.encode(self.ids[run.rows, : self.n_layers]), run.rows)
                for run in (self._runs.long, self._runs.recent)
            )
        )
        return IDStore(self._ids, space, runs, sizes=self.sizes, numbered=self.numbered)

    def order(self, codes: IntArray) -> IntArray:
        """Sort ``(n, n_layers)`` codes; equal ones stay in order of arrival."""
        return np.argsort(self._space.encode(codes), kind="stable")

    def appended(self, ids: IntArray, order: IntArray) -> IDStore:
        """Add new IDs, whose codes the keys have room for, after the last.

        The array is kept. `order` is that of the IDs, the suffix included.
        """
        keys = self._space.encode(ids[:, : self.n_layers])
        return IDStore(
            self._ids.appended(ids),
            self._space,
            self._runs.inserted(Run(keys[order], order + len(self))),
            sizes=self.sizes,
            numbered=self.numbered,
        )

    def keys(self, codes: IntArray) -> Keys:
        """Return the keys of ``(n, n_layers)`` codes."""
        return self._space.encode(codes)

    def key_counts(self, keys: Keys) -> IntArray:
        """Count the IDs that have each key."""
        return self._runs.counts(keys, keys)

    def counts(self, prefixes: IntArray) -> IntArray:
        """Count the IDs that begin with each row of ``(n, depth)`` codes."""
        return self._runs.counts(*self._space.bounds(prefixes))

    def find(self, ids: IntArray) -> IntArray:
        """Find the first row with each ID, or -1."""
        rows = np.full(len(ids), -1, dtype=np.int64)
        known = np.flatnonzero(self._covers(ids[:, : self.n_layers]))
        keys = self._space.encode(ids[known, : self.n_layers])
        ranks = ids[known, -1] if self.numbered else np.zeros_like(known)
        rows[known] = self._runs.row_of_rank(keys, ranks)
        return rows

    def find_all(self, ids: IntArray) -> tuple[IntArray, IntArray]:
        """Find all rows with each ID, one ID after the other, and their numbers."""
        counts = np.zeros(len(ids), dtype=np.int64)
        known = np.flatnonzero(self._covers(ids))
        rows, counts[known] = self._runs.all_rows(self._space.encode(ids[known]))
        return rows, counts

    def under(self, prefix: tuple[int, ...]) -> IntArray:
        """Find the rows of IDs that begin with `prefix`, in order of the IDs."""
        codes, rank = prefix[: self.n_layers], prefix[self.n_layers :]
        long, recent = (
            run.part(*self._space.span(run.keys, codes))
            for run in (self._runs.long, self._runs.recent)
        )
        rows = merged(long, recent).rows
        return rows[rank[0] : rank[0] + 1] if rank else rows

    def next_codes(self, prefix: tuple[int, ...]) -> IntArray:
        """Find the codes that continue `prefix`, ascending."""
        if prefix in self._wide:
            return self._wide[prefix].copy()
        depth = len(prefix)
        if depth == self.n_columns:
            return np.empty(0, dtype=np.int64)
        n_found = 0
        parts = []
        for run in self._runs.filled():
            start, stop = self._space.span(run.keys, prefix)
            n_found += stop - start
            if start < stop and depth < self.n_layers:
                parts.append(_codes_after(prefix, run.keys[start:stop], self._space))
        if depth == self.n_layers:
            return np.arange(n_found)
        if not parts:
            return np.empty(0, dtype=np.int64)
        found = _distinct(parts)
        if n_found > _SCANNED:
            # Few prefixes have so many items, and every generated ID passes there.
            self._wide[prefix] = found.copy()
        return found

    def full_children(self, prefix: tuple[int, ...], sizes: Sequence[int]) -> IntArray:
        """Find the codes after `prefix` below which every ID is taken."""
        depth = len(prefix)
        children = self.next_codes(prefix)
        if depth == self.n_layers - 1:
            return children
        prefixes = np.empty((len(children), depth + 1), dtype=np.int64)
        prefixes[:, :depth] = prefix
        prefixes[:, depth] = children
        capacity = math.prod(sizes[depth + 1 :])
        return children[self.counts(prefixes) == capacity]

    def _covers(self, codes: IntArray) -> NDArray[np.bool_]:
        radices = np.asarray(self._space.radices[: codes.shape[1]])
        return np.logical_and.reduce(codes < radices, axis=1)


def _codes_after(prefix: tuple[int, ...], keys: Keys, space: KeySpace) -> IntArray:
    """Find the codes after `prefix` in sorted keys that begin with it, ascending."""
    level = len(prefix)
    if len(keys) <= max(_SCANNED, space.radices[level]):
        return space.digits(keys, level)
    starts = keys.searchsorted(space.children(prefix))
    return np.flatnonzero(np.diff(starts, append=len(keys)))


def _distinct(parts: list[IntArray]) -> IntArray:
    """Merge ascending codes; each comes once."""
    codes = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(codes) <= _FEW:
        return np.array(sorted(set(codes.tolist())), dtype=np.int64)
    if len(parts) > 1:
        codes.sort()
    first = np.empty(len(codes), dtype=bool)
    first[0] = True
    np.not_equal(codes[1:], codes[:-1], out=first[1:])
    return codes[first]

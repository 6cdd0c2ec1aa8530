"""A quantiser with exact distances, and an index made of dictionaries."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
from sklearn.base import BaseEstimator


class ToyQuantizer(BaseEstimator):
    """Greedy residual quantiser over whole numbers, so all distances are exact."""

    def __init__(self, n_layers=3, codebook_size=4, random_state=0, verbose=0):
        self.n_layers = n_layers
        self.codebook_size = codebook_size
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X):
        rng = np.random.default_rng(self.random_state)
        scales = [4 ** (self.n_layers - level) for level in range(self.n_layers)]
        self.codebooks_ = [
            rng.integers(-scale, scale, (self.codebook_size, X.shape[1])).astype("f4")
            for scale in scales
        ]
        self.calls_ = 0
        return self

    def transform(self, X):
        codes = np.empty((len(X), 0), dtype=np.int64)
        for _ in range(self.n_layers):
            nearest = self.next_code_distances(X, codes).argmin(axis=1)
            codes = np.column_stack([codes, nearest])
        return codes

    def inverse_transform(self, X):
        return sum(
            codebook[codes]
            for codebook, codes in zip(self.codebooks_, X.T, strict=False)
        )

    def next_code_distances(self, X, prefix):
        self.calls_ += 1
        residual = np.asarray(X, dtype=float)
        for codebook, codes in zip(self.codebooks_, prefix.T, strict=False):
            residual = residual - codebook[codes]
        codebook = self.codebooks_[prefix.shape[1]]
        return ((residual[:, None] - codebook) ** 2).sum(axis=2)


class NaiveIndex:
    """What the index should do, an item at a time, with tuples in dictionaries."""

    def __init__(self, policy, sizes=None, capacity=None, overflow="raise"):
        self.policy = policy
        self.sizes = sizes
        self.capacity = 1 if policy == "reassign" and capacity is None else capacity
        self.reassigns = policy == "reassign" or overflow == "reassign"
        self.ids = []
        self.items = []
        self.given = []
        # Items whose codes changed and that kept their IDs.
        self.kept = set()
        # IDs that no item has and that no item gets.
        self.retired = []

    def add(self, codes, items, distances=None):
        for row, (code, item) in enumerate(zip(codes, items, strict=True)):
            self.ids.append(self._place(tuple(code), row, distances))
            self.given.append(tuple(code))
            self.items.append(item)

    def remove(self, items, *, reuse=False):
        for item in items:
            row = self.items.index(item)
            if not reuse:
                self.retired.append(self.ids[row])
            del self.ids[row], self.items[row], self.given[row]
            self.kept.discard(item)

    def update(self, codes, items, *, move, distances=None):
        """Return which items moved."""
        codes = list(map(tuple, codes))
        rows = [self.items.index(item) for item in items]
        differs = [
            self.ids[at][: len(c)] != c for at, c in zip(rows, codes, strict=True)
        ]
        changed = [self.given[at] != c for at, c in zip(rows, codes, strict=True)]
        for at, code in zip(rows, codes, strict=True):
            self.given[at] = code
        leaves = [
            move and differ and (change or item in self.kept or not self.reassigns)
            for item, differ, change in zip(items, differs, changed, strict=True)
        ]
        waiting = [
            move and differ and not leaving
            for differ, leaving in zip(differs, leaves, strict=True)
        ]
        self._move(codes, items, leaves, distances)
        # What the policy reassigned and has not changed goes last, if there is room.
        taken = Counter(identifier[: len(self.sizes)] for identifier in self._taken())
        for row, code in enumerate(codes):
            if waiting[row]:
                waiting[row] = taken[code] < self.capacity
                taken[code] += waiting[row]
        self._move(codes, items, waiting, distances)
        for item, differ, change in zip(items, differs, changed, strict=True):
            if change:
                self.kept.discard(item)
            if change and differ and not move:
                self.kept.add(item)
        return [leaving or late for leaving, late in zip(leaves, waiting, strict=True)]

    def _move(self, codes, items, leaves, distances):
        self.remove([i for i, leaving in zip(items, leaves, strict=True) if leaving])
        for row, (code, item) in enumerate(zip(codes, items, strict=True)):
            if leaves[row]:
                self.ids.append(self._place(code, row, distances))
                self.given.append(code)
                self.items.append(item)

    def room(self):
        """How many more items there are IDs for."""
        return self.capacity * math.prod(self.sizes) - len(self._taken())

    def at(self, identifier):
        return [
            item
            for item, other in zip(self.items, self.ids, strict=True)
            if other == tuple(identifier)
        ]

    def under(self, prefix):
        depth = len(prefix)
        found = [
            (identifier, row)
            for row, identifier in enumerate(self.ids)
            if identifier[:depth] == tuple(prefix)
        ]
        return [self.items[row] for _, row in sorted(found)]

    def next(self, prefix):
        depth = len(prefix)
        return sorted(
            {i[depth] for i in self.ids if i[:depth] == tuple(prefix) and i[depth:]}
        )

    def _taken(self):
        return self.ids + self.retired

    def _place(self, code, row, distances):
        if self.reassigns:
            code = self._nearest_with_room(code, row, distances)
        if self.policy != "suffix":
            return code
        suffixes = [other[-1] for other in self._taken() if other[:-1] == code]
        suffix = max(suffixes, default=-1) + 1
        if self.capacity is not None and suffix >= self.capacity:
            suffix = min(set(range(self.capacity)) - set(suffixes))
        return (*code, suffix)

    def _nearest_with_room(self, code, row, distances):
        counts = Counter(identifier[: len(code)] for identifier in self._taken())
        if counts[code] < self.capacity:
            return code
        for depth in reversed(range(len(code))):
            free = [i for i in self._all(code[:depth]) if counts[i] < self.capacity]
            if free:
                break
        spot = code[:depth]
        while len(spot) < len(code):
            following = sorted({i[len(spot)] for i in free if i[: len(spot)] == spot})
            far = distances(row, spot)
            spot = (*spot, min(following, key=lambda code, far=far: (far[code], code)))
        return spot

    def _all(self, prefix):
        rest = self.sizes[len(prefix) :]
        return ((*prefix, *tail) for tail in product(*map(range, rest)))

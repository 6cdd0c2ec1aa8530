"""Move items whose codes are taken to the nearest ID that is free."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae.index.engine.store import IDStore

FloatArray: TypeAlias = NDArray[np.floating]
Prefix: TypeAlias = tuple[int, ...]
Question: TypeAlias = tuple[int, Prefix]
Answers: TypeAlias = dict[Question, FloatArray]
Walk: TypeAlias = Generator[list[Question], list[FloatArray], None]
Distances: TypeAlias = Callable[[IntArray, IntArray], FloatArray]

_DISTANCES_HELD = 2**24
_ROWS_AHEAD = 64


def reassign(
    codes: IntArray, store: IDStore, sizes: tuple[int, ...], distances: Distances
) -> IntArray:
    """Place items one after the other, each at the nearest ID that is free.

    An item whose codes are taken gets the nearest free code at the last level under its
    own prefix. Where there is none, it goes up to the deepest prefix of its codes below
    which an ID is free, and from there down again, at each level to the nearest code
    below which an ID is free.

    Parameters
    ----------
    codes : ndarray of shape (n, n_layers)
        What the model says.
    store : IDStore
        IDs that are taken, each by one item.
    sizes : tuple of int
        Codes a level.
    distances : callable
        ``distances(rows, prefixes)`` with rows ``(m,)`` of `codes` and prefixes
        ``(m, depth)`` gives ``(m, sizes[depth])``: how far each row is from its prefix
        continued by each code.

    Returns
    -------
    ndarray of shape (n, n_layers)

    Raises
    ------
    ValueError
        If there are more items than IDs.
    """
    n_ids = math.prod(sizes)
    if len(store) + len(codes) > n_ids:
        raise ValueError(
            f"codes must leave an ID for every item. Got {len(store) + len(codes)} "
            f"items in all, expected at most {n_ids}, the number of IDs."
        )
    ids = codes.copy()
    taken = _TakenCodes(store, sizes)
    walks = (
        _placed_in_turn(rows, codes, ids, taken)
        for rows in _contested_groups(codes, store, sizes)
    )
    n_together = max(1, _DISTANCES_HELD // (_ROWS_AHEAD * max(sizes)))
    _drive(walks, distances, n_together)
    return ids


def reassign_by_rank(
    codes: IntArray, store: IDStore, alternatives: IntArray
) -> IntArray:
    """Place items one after the other, each at its first alternative that is free.

    Parameters
    ----------
    codes : ndarray of shape (n, n_layers)
    store : IDStore
        IDs that are taken, each by one item.
    alternatives : ndarray of shape (n, n_alternatives, n_layers)
        Other IDs for each item, best first.

    Returns
    -------
    ndarray of shape (n, n_layers)

    Raises
    ------
    ValueError
        If all alternatives of an item are taken.
    """
    n_items, n_alternatives, n_layers = alternatives.shape
    options = np.concatenate([codes[:, None], alternatives], axis=1)
    flat = options.reshape(-1, n_layers)
    keys = store.keys(flat)
    free = store.counts(flat) == 0
    shape = (n_items, n_alternatives + 1)
    taken: set[object] = set()
    choices = np.zeros(n_items, dtype=np.int64)
    for row, (keys_of_row, free_of_row) in enumerate(
        zip(keys.reshape(shape).tolist(), free.reshape(shape).tolist(), strict=True)
    ):
        choice = next(
            (
                choice
                for choice, key in enumerate(keys_of_row)
                if free_of_row[choice] and key not in taken
            ),
            None,
        )
        if choice is None:
            raise ValueError(
                "alternatives must have a free ID for every item. Got none for row "
                f"{row}: all {n_alternatives} are taken. Give more of them."
            )
        taken.add(keys_of_row[choice])
        choices[row] = choice
    return options[np.arange(n_items), choices]


class _TakenCodes:
    """For each prefix the next codes below which no ID is free.

    Filled from the store when a prefix is first asked for.
    """

    def __init__(self, store: IDStore, sizes: tuple[int, ...]) -> None:
        self._store = store
        self._sizes = sizes
        self._after: dict[Prefix, set[int]] = {}

    def after(self, prefix: Prefix) -> set[int]:
        taken = self._after.get(prefix)
        if taken is None:
            full = self._store.full_children(prefix, self._sizes)
            taken = self._after[prefix] = set(full.tolist())
        return taken

    def has(self, spot: Prefix) -> bool:
        return spot[-1] in self.after(spot[:-1])

    def is_id(self, spot: Prefix) -> bool:
        return len(spot) == len(self._sizes)

    def is_full(self, prefix: Prefix) -> bool:
        return len(self.after(prefix)) == self._sizes[len(prefix)]

    def take(self, spot: Prefix) -> None:
        while spot:
            prefix = spot[:-1]
            self.after(prefix).add(spot[-1])
            if not self.is_full(prefix):
                return
            spot = prefix


def _placed_in_turn(
    rows: IntArray, codes: IntArray, ids: IntArray, taken: _TakenCodes
) -> Walk:
    """Place some rows in order, asking for distances where a row has to move.

    Rows further on that will have to move too are asked for at once, as far as can be
    guessed; a wrong guess costs a question and changes nothing else.
    """
    wishes = list(map(tuple, codes[rows].tolist()))
    known: Answers = {}
    for place, row in enumerate(rows.tolist()):
        spot = wishes[place]
        if taken.has(spot):
            while not taken.is_id(found := _nearest_free(row, spot, taken, known)):
                ahead = range(place, min(place + _ROWS_AHEAD, len(rows)))
                moving = [(int(rows[i]), wishes[i]) for i in ahead]
                yield from _asked(moving, taken, known)
            ids[row] = spot = found
        taken.take(spot)
        for depth in range(len(spot)):
            known.pop((row, spot[:depth]), None)


def _asked(
    moving: list[tuple[int, Prefix]], taken: _TakenCodes, known: Answers
) -> Walk:
    """Ask what is next to know of rows, were each of them the next to be placed."""
    questions = []
    for row, wish in moving:
        if taken.has(wish):
            reached = _nearest_free(row, wish, taken, known)
            if not taken.is_id(reached):
                questions.append((row, reached))
    known.update(zip(questions, (yield questions), strict=True))


def _nearest_free(row: int, wish: Prefix, taken: _TakenCodes, known: Answers) -> Prefix:
    """Find the nearest ID, or the prefix on the way where distances are not known."""
    spot = wish[:-1]
    while taken.is_full(spot):
        spot = spot[:-1]
    while not taken.is_id(spot) and (row, spot) in known:
        distances = known[row, spot].copy()
        distances[list(taken.after(spot))] = np.inf
        spot = (*spot, int(distances.argmin()))
    return spot


def _drive(walks: Iterator[Walk], distances: Distances, n_together: int) -> None:
    """Run walks side by side and answer their questions together."""
    asking: list[tuple[Walk, list[Question]]] = []
    while True:
        for walk in islice(walks, n_together - len(asking)):
            asking += _resumed(walk, None)
        if not asking:
            return
        answers = iter(_answers([q for _, asked in asking for q in asked], distances))
        asking = [
            again
            for walk, asked in asking
            for again in _resumed(walk, list(islice(answers, len(asked))))
        ]


def _resumed(
    walk: Walk, answers: list[FloatArray] | None
) -> list[tuple[Walk, list[Question]]]:
    try:
        questions = next(walk) if answers is None else walk.send(answers)
    except StopIteration:
        return []
    return [(walk, questions)]


def _answers(questions: list[Question], distances: Distances) -> list[FloatArray]:
    rows = np.array([row for row, _ in questions])
    depths = np.array([len(prefix) for _, prefix in questions])
    answers: dict[int, FloatArray] = {}
    for depth in np.unique(depths):
        places = np.flatnonzero(depths == depth)
        prefixes = np.array([questions[place][1] for place in places], dtype=np.int64)
        found = distances(rows[places], prefixes.reshape(len(places), depth))
        answers.update(zip(places.tolist(), found, strict=True))
    return [answers[place] for place in range(len(questions))]


def _contested_groups(
    codes: IntArray, store: IDStore, sizes: tuple[int, ...]
) -> Iterator[IntArray]:
    """Rows, in order, of each group in which an item has to move.

    All other items keep their codes, and no item of one group can come to take an ID of
    another.
    """
    groups = _independent_groups(codes, store, sizes)
    moves = _comes_again(codes) | (store.counts(codes) > 0)
    contested = np.flatnonzero(np.isin(groups, groups[moves]))
    order = contested[np.argsort(groups[contested], kind="stable")]
    borders = np.flatnonzero(np.diff(groups[order])) + 1
    return (rows for rows in np.split(order, borders) if len(rows))


def _independent_groups(
    codes: IntArray, store: IDStore, sizes: tuple[int, ...]
) -> IntArray:
    """Number rows so that those of different numbers are independent.

    Rows with one prefix of all levels but the last are a group. Where more items want
    IDs below a prefix than there are, they spill over to what is next to it, so all
    that lies below the prefix one level up is one group.
    """
    n_rows, n_layers = codes.shape
    depths = np.full(n_rows, n_layers - 1)
    for depth in range(n_layers - 1, 0, -1):
        capacity = math.prod(sizes[depth:])
        if capacity >= len(store) + n_rows:
            break
        _, first, inverse, wanted = np.unique(
            row_keys(codes[:, :depth]),
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        crowded = wanted + store.counts(codes[first, :depth]) > capacity
        parents = row_keys(codes[:, : depth - 1])
        depths[np.isin(parents, parents[crowded[inverse]])] = depth - 1
    prefixes = np.where(np.arange(n_layers) < depths[:, None], codes + 1, 0)
    return row_keys(prefixes)


def _comes_again(codes: IntArray) -> NDArray[np.bool_]:
    """Whether an earlier row has the same codes."""
    keys = row_keys(codes)
    _, first = np.unique(keys, return_index=True)
    again = np.ones(len(keys), dtype=bool)
    again[first] = False
    return again

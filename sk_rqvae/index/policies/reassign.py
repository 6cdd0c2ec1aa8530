"""Move items whose codes are taken to the nearest codes that have room."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.policies.retired import retired_note

FloatArray: TypeAlias = NDArray[np.floating]
Prefix: TypeAlias = tuple[int, ...]
Question: TypeAlias = tuple[int, Prefix]
Answers: TypeAlias = dict[Question, FloatArray]
Walk: TypeAlias = Generator[list[Question], list[FloatArray], None]
Distances: TypeAlias = Callable[[IntArray, IntArray], FloatArray]

_DISTANCES_HELD = 2**24
_ROWS_AHEAD = 64


class Room(NamedTuple):
    """The possible IDs, and how many items each can have.

    Attributes
    ----------
    sizes : tuple of int
        Codes of each level.
    capacity : int
        Largest number of items per ID.
    """

    sizes: tuple[int, ...]
    capacity: int

    def below(self, depth: int) -> int:
        """Count the items that fit below a prefix of a depth."""
        return self.capacity * math.prod(self.sizes[depth:])


def reassign(
    codes: IntArray, store: IDStore, room: Room, distances: Distances
) -> IntArray:
    """Give items codes one after the other, each the nearest codes that have room.

    An item whose codes are full gets the nearest code with room at the last level,
    under its own prefix. If there is none, it goes up to the deepest prefix of its
    codes below which there is room. From there it goes down again, at each level to the
    nearest code below which there is room.

    Parameters
    ----------
    codes : ndarray of shape (n, n_layers)
        What the model gave the items.
    store : IDStore
        IDs that are taken.
    room : Room
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
        If there are more items than fit.
    """
    check_room(len(codes), store, room)
    ids = codes.copy()
    taken = _FullCodes(store, room)
    walks = (
        _placed_in_turn(rows, codes, ids, taken)
        for rows in _contested_groups(codes, store, room)
    )
    n_together = max(1, _DISTANCES_HELD // (_ROWS_AHEAD * max(room.sizes)))
    _drive(walks, distances, n_together)
    return ids


def check_room(n_new: int, store: IDStore, room: Room) -> None:
    """Check that as many items fit."""
    if store.n_taken + n_new > room.below(0):
        raise ValueError(
            f"codes must leave an ID for every item. Got {store.n_taken + n_new} "
            f"items in all, expected at most {room.below(0)}, the number of IDs"
            f"{f' times capacity={room.capacity}' if room.capacity > 1 else ''}."
            + retired_note(len(store.retired))
        )


def reassign_by_rank(
    codes: IntArray, store: IDStore, alternatives: IntArray, capacity: int
) -> IntArray:
    """Give items codes one after the other, each its first alternative with room.

    Parameters
    ----------
    codes : ndarray of shape (n, n_layers)
    store : IDStore
        IDs that are taken, with keys that have room for `alternatives`.
    alternatives : ndarray of shape (n, n_alternatives, n_layers)
        Other codes for each item, best first.
    capacity : int
        Largest number of items per ID.

    Returns
    -------
    ndarray of shape (n, n_layers)

    Raises
    ------
    ValueError
        If no alternative of an item has room.
    """
    n_items, n_alternatives, n_layers = alternatives.shape
    options = np.concatenate([codes[:, None], alternatives], axis=1)
    flat = options.reshape(-1, n_layers)
    shape = (n_items, n_alternatives + 1)
    keys = store.prefix_keys(flat).reshape(shape).tolist()
    counts = store.counts(flat).reshape(shape).tolist()
    added: Counter[object] = Counter()
    choices = np.zeros(n_items, dtype=np.int64)
    for row, (keys_of_row, counts_of_row) in enumerate(zip(keys, counts, strict=True)):
        choice = next(
            (
                choice
                for choice, key in enumerate(keys_of_row)
                if counts_of_row[choice] + added[key] < capacity
            ),
            None,
        )
        if choice is None:
            raise ValueError(
                "alternatives must have a free ID for every item. Got none for row "
                f"{row}: all {n_alternatives} are taken. Give more of them."
                + retired_note(_n_retired(store, options[row]))
            )
        added[keys_of_row[choice]] += 1
        choices[row] = choice
    return options[np.arange(n_items), choices]


def _n_retired(store: IDStore, options: IntArray) -> int:
    return int(store.retired_counts(np.unique(options, axis=0)).sum())


class NearestInTurn:
    """Gives single rows what `reassign` would, while others get their codes elsewhere.

    Parameters
    ----------
    codes : ndarray of shape (n, n_layers)
        What the model gave the items.
    ids : ndarray of shape (n, n_layers)
        What they get, filled from the first row on.
    store, room, distances
        As in `reassign`.
    """

    def __init__(
        self,
        codes: IntArray,
        ids: IntArray,
        store: IDStore,
        room: Room,
        distances: Distances,
    ) -> None:
        self._codes = codes
        self._ids = ids
        self._distances = distances
        self._taken = _FullCodes(store, room)
        self._n_taken = 0

    def assign(self, row: int) -> None:
        """Fill in the codes of a row, after all rows before it have theirs."""
        for codes in map(tuple, self._ids[self._n_taken : row].tolist()):
            self._taken.take(codes)
        self._n_taken = row + 1
        walk = _placed_in_turn(np.array([row]), self._codes, self._ids, self._taken)
        _drive(iter([walk]), self._distances, 1)


class _FullCodes:
    """For each prefix the next codes below which there is no room.

    Filled from the store when a prefix is first asked for.
    """

    def __init__(self, store: IDStore, room: Room) -> None:
        self._store = store
        self._room = room
        self._after: dict[Prefix, set[int]] = {}
        self._counts: dict[Prefix, int] = {}

    def after(self, prefix: Prefix) -> set[int]:
        full = self._after.get(prefix)
        if full is None:
            sizes, capacity = self._room
            found = self._store.full_children(prefix, sizes, capacity)
            full = self._after[prefix] = set(found.tolist())
        return full

    def has(self, codes: Prefix) -> bool:
        return codes[-1] in self.after(codes[:-1])

    def is_id(self, codes: Prefix) -> bool:
        return len(codes) == len(self._room.sizes)

    def is_full(self, prefix: Prefix) -> bool:
        return len(self.after(prefix)) == self._room.sizes[len(prefix)]

    def take(self, codes: Prefix) -> None:
        if self._room.capacity > 1 and self._counted(codes) < self._room.capacity:
            return
        while codes:
            codes, last = codes[:-1], codes[-1]
            self.after(codes).add(last)
            if not self.is_full(codes):
                return

    def _counted(self, codes: Prefix) -> int:
        """Count the items with an ID, one more than before."""
        if codes not in self._counts:
            # What is full was counted before any item of this call was placed.
            self.after(codes[:-1])
            self._counts[codes] = int(self._store.counts(np.array([codes]))[0])
        self._counts[codes] += 1
        return self._counts[codes]


def _placed_in_turn(
    rows: IntArray, codes: IntArray, ids: IntArray, taken: _FullCodes
) -> Walk:
    """Give some rows codes in order, asking for distances if a row has to move.

    Distances of later rows that probably move too are asked for at once. A wrong guess
    costs a question and changes nothing else.
    """
    preferred = list(map(tuple, codes[rows].tolist()))
    known: Answers = {}
    for position, row in enumerate(rows.tolist()):
        chosen = preferred[position]
        if taken.has(chosen):
            while not taken.is_id(found := _nearest_free(row, chosen, taken, known)):
                ahead = range(position, min(position + _ROWS_AHEAD, len(rows)))
                moving = [(int(rows[i]), preferred[i]) for i in ahead]
                yield from _asked(moving, taken, known)
            ids[row] = chosen = found
        taken.take(chosen)
        for depth in range(len(chosen)):
            known.pop((row, chosen[:depth]), None)


def _asked(moving: list[tuple[int, Prefix]], taken: _FullCodes, known: Answers) -> Walk:
    """Ask for the distances that each row would need if it were the next."""
    questions = []
    for row, preferred in moving:
        if taken.has(preferred):
            reached = _nearest_free(row, preferred, taken, known)
            if not taken.is_id(reached):
                questions.append((row, reached))
    known.update(zip(questions, (yield questions), strict=True))


def _nearest_free(
    row: int, preferred: Prefix, taken: _FullCodes, known: Answers
) -> Prefix:
    """Find the nearest ID, or the first prefix whose distances are not known yet."""
    prefix = preferred[:-1]
    while taken.is_full(prefix):
        prefix = prefix[:-1]
    while not taken.is_id(prefix) and (row, prefix) in known:
        distances = known[row, prefix].copy()
        distances[list(taken.after(prefix))] = np.inf
        prefix = (*prefix, int(distances.argmin()))
    return prefix


def _drive(walks: Iterator[Walk], distances: Distances, n_together: int) -> None:
    """Run walks concurrently and answer their questions in batches."""
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
        at = np.flatnonzero(depths == depth)
        prefixes = np.array([questions[i][1] for i in at], dtype=np.int64)
        found = distances(rows[at], prefixes.reshape(len(at), depth))
        answers.update(zip(at.tolist(), found, strict=True))
    return [answers[i] for i in range(len(questions))]


def _contested_groups(
    codes: IntArray, store: IDStore, room: Room
) -> Iterator[IntArray]:
    """Rows, in order, of each group in which an item has to move.

    All other items keep their codes, and no item of one group can come to take an ID of
    another.
    """
    groups = _independent_groups(codes, store, room)
    moves = ranks_of_equals(codes) + store.counts(codes) >= room.capacity
    contested = np.flatnonzero(np.isin(groups, groups[moves]))
    order = contested[np.argsort(groups[contested], kind="stable")]
    borders = np.flatnonzero(np.diff(groups[order])) + 1
    return (rows for rows in np.split(order, borders) if len(rows))


def _independent_groups(codes: IntArray, store: IDStore, room: Room) -> IntArray:
    """Number rows so that those of different numbers are independent.

    Rows with one prefix of all levels but the last are a group. If more items want IDs
    below a prefix than fit, they move to neighbouring prefixes, so all that lies below
    the prefix one level up is one group.
    """
    n_rows, n_layers = codes.shape
    depths = np.full(n_rows, n_layers - 1)
    for depth in range(n_layers - 1, 0, -1):
        capacity = room.below(depth)
        if capacity >= store.n_taken + n_rows:
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


def ranks_of_equals(codes: IntArray) -> IntArray:
    """Count the earlier rows with the same codes."""
    keys = row_keys(codes)
    order = np.argsort(keys, kind="stable")
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = np.diff(keys[order]) != 0
    starts = np.flatnonzero(begins)
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[order] = np.arange(len(keys)) - starts[np.cumsum(begins) - 1]
    return ranks

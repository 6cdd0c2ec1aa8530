"""Item ids: row numbers, integers or strings, each of them once."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.engine.runs import Run, SortedRuns

Kind = Literal["row", "int", "str"]

_INT64 = np.iinfo(np.int64)


class ItemIds:
    """The items of an index in order of arrival, and the row of each.

    Instances never change: adding items makes a new one.

    Parameters
    ----------
    kind : {"row", "int", "str"}
        ``"row"`` numbers the items and stores nothing.
    n_items : int
    values : GrowingArray or None
        int64, or Python strings in an object array. None where items are numbered.
    runs : SortedRuns or None
        Rows by item: by the integer itself, by the hash of a string.
    """

    __slots__ = ("_runs", "_values", "kind", "n_items")

    def __init__(
        self,
        kind: Kind,
        n_items: int,
        values: GrowingArray | None,
        runs: SortedRuns | None,
    ) -> None:
        self.kind = kind
        self.n_items = n_items
        self._values = values
        self._runs = runs

    @classmethod
    def of(cls, item_ids: Any, n_items: int) -> ItemIds:
        """Check the first items; `item_ids` None numbers them."""
        if item_ids is None:
            return cls("row", n_items, None, None)
        values = checked_item_ids(item_ids, n_items)
        kind: Kind = "str" if values.dtype == object else "int"
        run = _sorted_run(values, first_row=0)
        return cls(kind, n_items, GrowingArray(values), SortedRuns.of(run))

    def __reduce__(self) -> tuple[Any, ...]:
        # Hashes of strings differ between processes, so the runs are made anew.
        values = None if self._values is None else self._values.values.copy()
        return ItemIds.of, (values, self.n_items)

    @property
    def values(self) -> NDArray[Any]:
        """All items, ``(n_items,)`` int64 or object."""
        if self._values is None:
            return np.arange(self.n_items)
        return self._values.values

    def extended(self, item_ids: Any, n_new: int) -> ItemIds:
        """Check new items and add them."""
        if self.n_items == 0:
            return ItemIds.of(item_ids, n_new)
        n_items = self.n_items + n_new
        if self._values is None or self._runs is None:
            if item_ids is not None:
                raise ValueError(
                    "item_ids must be None in an index whose items are numbered by "
                    f"row. Got {type(item_ids).__name__}. Fit with item_ids to name "
                    "items."
                )
            return ItemIds("row", n_items, None, None)
        if item_ids is None:
            raise ValueError(
                "item_ids must be given for an index that was fitted with item_ids. "
                "Got None."
            )
        new = checked_item_ids(item_ids, n_new)
        if len(new) and new.dtype != self._values.values.dtype:
            raise TypeError(
                f"item_ids must be of the index's type, {self.kind}. "
                f"Got {new.tolist()[0]!r}."
            )
        run = _sorted_run(new, first_row=self.n_items)
        rows = self.rows_of(new)
        if (rows >= 0).any():
            known = new[rows >= 0].tolist()[0]
            raise ValueError(
                f"item_ids must be new to the index. Got {known!r}, which it has."
            )
        values = self._values.appended(new)
        return ItemIds(self.kind, n_items, values, self._runs.inserted(run))

    def take(self, rows: IntArray) -> NDArray[Any]:
        """Return the items in some rows."""
        return rows if self._values is None else self._values.values[rows]

    def rows_of(self, items: NDArray[Any]) -> IntArray:
        """Return the row of each item, or -1.

        `items` are as `checked_item_ids` gives them.
        """
        if items.dtype == object and self.kind != "str":
            return np.full(len(items), -1, dtype=np.int64)
        if self._values is None or self._runs is None:
            known = (items >= 0) & (items < self.n_items)
            return np.where(known, items, -1).astype(np.int64)
        if items.dtype != self._values.values.dtype:
            return np.full(len(items), -1, dtype=np.int64)
        keys = _item_keys(items)
        rows = self._runs.row_of_rank(keys, np.zeros(len(keys), dtype=np.int64))
        return rows if self.kind == "int" else self._settled(items, keys, rows)

    def _settled(self, items: NDArray[Any], keys: IntArray, rows: IntArray) -> IntArray:
        """Replace rows that hold another string with the same hash."""
        doubtful = np.flatnonzero(rows >= 0)
        rank = 0
        while True:
            other = self.take(rows[doubtful]) != items[doubtful]
            doubtful = doubtful[other.astype(bool)]
            if len(doubtful) == 0:
                return rows
            rank += 1
            assert self._runs is not None
            rows[doubtful] = self._runs.row_of_rank(
                keys[doubtful], np.full(len(doubtful), rank)
            )
            doubtful = doubtful[rows[doubtful] >= 0]


def checked_item_ids(item_ids: Any, n_items: int | None = None) -> NDArray[Any]:
    """Item ids as a new 1-D array: int64, or Python strings in an object array.

    Raises
    ------
    TypeError
        If they are neither all integers nor all strings.
    ValueError
        If they are not 1-D, not `n_items`, or do not fit in 64 bits.
    """
    array = _as_1d(item_ids)
    if n_items is not None and len(array) != n_items:
        raise ValueError(
            "item_ids and codes must have the same length. "
            f"Got {len(array)} item_ids, expected {n_items}."
        )
    if array.dtype.kind in "OUT":
        return _checked_objects(array)
    if array.dtype.kind not in "iu":
        if len(array) == 0:
            return np.empty(0, dtype=np.int64)
        raise TypeError(
            f"item_ids must be integers or strings. Got dtype {array.dtype}."
        )
    if array.dtype.kind == "u" and len(array) and int(array.max()) > _INT64.max:
        raise ValueError(
            f"item_ids must fit in 64 bits. Got {array.max()}, expected at most "
            f"{_INT64.max}."
        )
    return array.astype(np.int64)


def _as_1d(item_ids: Any) -> NDArray[Any]:
    if isinstance(item_ids, str | bytes | dict | set | frozenset):
        raise TypeError(
            "item_ids must be a sequence of integers or strings. "
            f"Got {type(item_ids).__name__}."
        )
    if isinstance(item_ids, list | tuple) and any(
        isinstance(item, str) for item in item_ids
    ):
        # NumPy would cut trailing NULs off, and turn numbers among them to strings.
        array = np.empty(len(item_ids), dtype=object)
        array[:] = item_ids
        return array
    array = np.asarray(item_ids)
    if array.ndim != 1:
        raise ValueError(f"item_ids must be 1-D. Got {array.ndim}-D.")
    return array


def _checked_objects(array: NDArray[Any]) -> NDArray[Any]:
    items = array.tolist()
    kinds = set(map(type, items))
    if kinds <= {str}:
        checked = np.empty(len(items), dtype=object)
        checked[:] = items
        return checked
    strings = any(isinstance(item, str) for item in items)
    for item in items:
        wrong = not isinstance(item, str) if strings else not _is_integer(item)
        if wrong:
            raise TypeError(
                "item_ids must be all integers or all strings. "
                f"Got {item!r} ({type(item).__name__})."
            )
    if strings:
        return _checked_objects(np.array([str(i) for i in items], dtype=object))
    for item in items:
        if not _INT64.min <= item <= _INT64.max:
            raise ValueError(f"item_ids must fit in 64 bits. Got {item!r}.")
    return np.array(items, dtype=np.int64)


def _is_integer(item: object) -> bool:
    return isinstance(item, int | np.integer) and not isinstance(item, bool)


def _item_keys(items: NDArray[Any]) -> IntArray:
    if items.dtype == object:
        return np.fromiter(map(hash, items), dtype=np.int64, count=len(items))
    return items


def _sorted_run(items: NDArray[Any], first_row: int) -> Run:
    """Rows by item; an item that comes twice is an error."""
    keys = _item_keys(items)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    _reject_duplicates(items, keys, order)
    return Run(keys, order + first_row)


def _reject_duplicates(items: NDArray[Any], keys: IntArray, order: IntArray) -> None:
    equal = keys[1:] == keys[:-1]
    if not equal.any():
        return
    alike: dict[int, set[Any]] = {}
    for place in np.flatnonzero(np.append(equal, False) | np.append(False, equal)):
        item = items[order[place : place + 1]].tolist()[0]
        seen = alike.setdefault(int(keys[place]), set())
        if item in seen:
            raise ValueError(f"item_ids must be unique. Got {item!r} more than once.")
        seen.add(item)

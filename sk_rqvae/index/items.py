"""Item ids: row numbers, integers or strings, each of them once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._checks.missing import check_unmasked
from sk_rqvae.index.engine.growing import GrowingArray, small_unsigned
from sk_rqvae.index.engine.runs import Run, SortedRuns
from sk_rqvae.index.engine.texts import PackedTexts, text_keys

Kind = Literal["row", "int", "str"]
RowTest: TypeAlias = Callable[[IntArray], NDArray[np.bool_]]

# The column of items in tables.
ITEM_COLUMN = "item_id"
_INT64 = np.iinfo(np.int64)


class ItemIds:
    """The items of all rows in order of arrival, and the rows of each.

    An item that was removed and added again has several rows. At most one of them is
    not removed. Instances never change: every change makes a new one.

    Parameters
    ----------
    kind : {"row", "int", "str"}
        ``"row"`` numbers the items.
    n_rows : int
    values : GrowingArray, PackedTexts or None
        int64, or strings. None where the item is the number of its row.
    runs : SortedRuns or None
        Rows by item: by the integer itself, by the hash of a string.
    next_number : int
        The number of the next item that is numbered.
    """

    __slots__ = ("kind", "n_rows", "next_number", "runs", "values")

    def __init__(
        self,
        kind: Kind,
        n_rows: int,
        values: GrowingArray | PackedTexts | None,
        runs: SortedRuns | None,
        next_number: int = 0,
    ) -> None:
        self.kind = kind
        self.n_rows = n_rows
        self.values = values
        self.runs = runs
        self.next_number = next_number

    @classmethod
    def of(cls, item_ids: Any, n_rows: int) -> ItemIds:
        """Check the first items; `item_ids` None numbers them."""
        if item_ids is None:
            return cls("row", n_rows, None, None, n_rows)
        values = checked_item_ids(item_ids, n_rows)
        kind: Kind = "str" if values.dtype == object else "int"
        run = _sorted_run(values, first_row=0)
        return cls(kind, n_rows, GrowingArray(values), SortedRuns((run,)))

    def checked(self, item_ids: Any, n_new: int) -> NDArray[Any]:
        """Check the items of a call against the kind of items that there are."""
        if self.n_rows == 0:
            if item_ids is None:
                return np.arange(n_new)
            return checked_item_ids(item_ids, n_new)
        if self.kind == "row":
            if item_ids is not None:
                raise ValueError(
                    "item_ids must be None in an index whose items are numbered by "
                    f"row. Got {type(item_ids).__name__}. Fit with item_ids to name "
                    "items."
                )
            return np.arange(self.next_number, self.next_number + n_new)
        if item_ids is None:
            raise ValueError(
                "item_ids must be given for an index that was fitted with item_ids. "
                "Got None."
            )
        new = checked_item_ids(item_ids, n_new)
        self.check_kind(new)
        return new

    def check_kind(self, items: NDArray[Any]) -> None:
        """Raise TypeError for strings among integers, and the reverse."""
        if len(items) and (items.dtype == object) != (self.kind == "str"):
            raise TypeError(
                f"item_ids must be of the index's type, {self.kind}. "
                f"Got {items.tolist()[0]!r}."
            )

    def extended(self, new: NDArray[Any], *, numbered: bool) -> ItemIds:
        """Add a row for each of some items, which are as `checked` returns them.

        With `numbered`, they are the next numbers of an index without item ids.
        """
        if self.n_rows == 0:
            return ItemIds.of(None if numbered else new, len(new))
        n_rows = self.n_rows + len(new)
        next_number = self.next_number + len(new) * numbered
        if self.values is None and numbered:
            return ItemIds("row", n_rows, None, None, next_number)
        values, runs = self._explicit()
        run = _sorted_run(new, first_row=self.n_rows)
        return ItemIds(
            self.kind, n_rows, values.appended(new), runs.inserted(run), next_number
        )

    def with_rows(self, items: NDArray[Any]) -> ItemIds:
        """Add a row for each of some items, which may be repeated."""
        if len(items) == 0:
            return self
        values, runs = self._explicit()
        first = self.n_rows
        run = Run.sorted(item_keys(items), np.arange(first, first + len(items)))
        named: Kind = "str" if items.dtype == object else "int"
        return ItemIds(
            self.kind if first else named,
            first + len(items),
            values.appended(items),
            runs.inserted(run),
            self.next_number,
        )

    def take(self, rows: IntArray) -> NDArray[Any]:
        """Return the items in some rows."""
        if self.values is None:
            return rows
        if isinstance(self.values, PackedTexts):
            return self.values.take(rows)
        return self.values.values[rows]

    def all(self) -> NDArray[Any]:
        """Return the items of all rows, read-only."""
        if isinstance(self.values, GrowingArray):
            return self.values.values
        packed = self.values
        items = np.arange(self.n_rows) if packed is None else packed.all()
        items.flags.writeable = False
        return items

    def rows_of(self, items: NDArray[Any], is_removed: RowTest) -> IntArray:
        """Return the row of each item that is not removed, or -1.

        `items` are as `checked_item_ids` gives them.
        """
        rows = np.full(len(items), -1, dtype=np.int64)
        if len(items) == 0 or (items.dtype == object) != (self.kind == "str"):
            return rows
        if self.values is None or self.runs is None:
            known = np.flatnonzero((items >= 0) & (items < self.n_rows))
            rows[known] = items[known]
            rows[is_removed(rows)] = -1
            return rows
        keys = item_keys(items)
        rows = self.runs.first_rows(keys)
        # The first row of a key can be of another string with the same hash, or it was
        # removed. Then at most one of its other rows is the right one.
        found = np.flatnonzero(rows >= 0)
        is_first = self._is_right(rows[found], items[found], is_removed)
        unfound = found[~is_first]
        if len(unfound) == 0:
            return rows
        rows[unfound] = -1
        others, counts = self.runs.all_rows(keys[unfound])
        owner = np.repeat(unfound, counts)
        right = self._is_right(others, items[owner], is_removed)
        rows[owner[right]] = others[right]
        return rows

    def _is_right(
        self, rows: IntArray, items: NDArray[Any], is_removed: RowTest
    ) -> NDArray[np.bool_]:
        """Which rows are of these items and not removed."""
        right: NDArray[np.bool_] = ~is_removed(rows)
        if self.kind == "str":
            left = np.flatnonzero(right)
            right[left] = self.take(rows[left]) == items[left]
        return right

    def _explicit(self) -> tuple[GrowingArray, SortedRuns]:
        """Return the items and their runs in a form that can be extended."""
        if self.values is None or self.runs is None:
            values = np.arange(self.n_rows)
            return GrowingArray(values), SortedRuns((_sorted_run(values, 0),))
        if isinstance(self.values, PackedTexts):
            return GrowingArray(self.values.all()), self.runs
        return self.values, self.runs


def with_default(
    items: NDArray[Any], missing: NDArray[Any], default: Any
) -> NDArray[Any]:
    """A copy of items with `default` in place of the missing ones, object dtype."""
    items = items.astype(object)
    # NumPy would take a sequence for one default for each item.
    as_it_is = np.empty((), dtype=object)
    as_it_is[()] = default
    items[missing] = as_it_is
    return items


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
    check_unmasked(item_ids, "item_ids", instead="item_ids.compressed()")
    if isinstance(item_ids, list | tuple) and any(
        isinstance(item, str | bool | np.bool_) for item in item_ids
    ):
        # NumPy would cut trailing NULs off, and make numbers among strings strings and
        # booleans among integers integers.
        return _as_objects(item_ids)
    array = np.asarray(item_ids)
    if array.ndim != 1:
        raise ValueError(f"item_ids must be 1-D. Got {array.ndim}-D.")
    if array.dtype.kind == "f" and len(array) and isinstance(item_ids, list | tuple):
        return _as_objects(item_ids)  # NumPy makes floats of integers of several types
    return array


def _as_objects(items: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _checked_objects(array: NDArray[Any]) -> NDArray[Any]:
    items = array.tolist()
    kinds = set(map(type, items))
    if kinds <= {str}:
        return _as_objects(items)
    strings = any(isinstance(item, str) for item in items)
    for item in items:
        wrong = not isinstance(item, str) if strings else not _is_integer(item)
        if wrong:
            raise TypeError(
                "item_ids must be all integers or all strings. "
                f"Got {item!r} ({type(item).__name__})."
            )
    if strings:
        return _checked_objects(_exact(items))
    for item in items:
        if not _INT64.min <= item <= _INT64.max:
            raise ValueError(f"item_ids must fit in 64 bits. Got {item!r}.")
    return np.array(items, dtype=np.int64)


def _exact(strings: list[str]) -> NDArray[Any]:
    """Turn instances of subclasses, such as np.str_ or an enumeration, to strings."""
    # str() would ask an enumeration for its name.
    return _as_objects([str.__str__(string) for string in strings])


def _is_integer(item: object) -> bool:
    # NumPy counts durations among integers.
    return isinstance(item, int | np.integer) and not isinstance(
        item, bool | np.timedelta64
    )


def first_occurrences(items: NDArray[Any]) -> NDArray[np.bool_]:
    """Which items of a call are not repetitions of an earlier one."""
    if items.dtype == object:
        seen: set[str] = set()
        first = np.empty(len(items), dtype=bool)
        for position, item in enumerate(items):
            first[position] = item not in seen
            seen.add(item)
        return first
    mask = np.zeros(len(items), dtype=bool)
    mask[np.unique(items, return_index=True)[1]] = True
    return mask


def check_each_once(items: NDArray[Any]) -> None:
    """Raise ValueError if an item of a call comes twice."""
    again = items[~first_occurrences(items)].tolist()
    if again:
        raise ValueError(f"item_ids must be unique. Got {again[0]!r} more than once.")


def sorted_items(values: NDArray[Any], live_rows: IntArray) -> SortedRuns:
    """Sort all rows by item; an item of two rows that are not removed is an error."""
    _sorted_run(values[live_rows], first_row=0)
    run = Run.sorted(item_keys(values), np.arange(len(values)))
    return SortedRuns((run,))


def item_keys(items: NDArray[Any]) -> IntArray:
    """Return the sort keys of items: integers themselves, hashes of strings."""
    return text_keys(items.tolist()) if items.dtype == object else items


def _sorted_run(items: NDArray[Any], first_row: int) -> Run:
    """Sort rows by item; an item that comes twice is an error."""
    keys = item_keys(items)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    _reject_duplicates(items, keys, order)
    return Run(keys, small_unsigned(order + first_row))


def _reject_duplicates(items: NDArray[Any], keys: IntArray, order: IntArray) -> None:
    equal = keys[1:] == keys[:-1]
    if not equal.any():
        return
    of_key: dict[int, set[Any]] = {}
    for at in np.flatnonzero(np.append(equal, False) | np.append(False, equal)):
        item = items[order[at : at + 1]].tolist()[0]
        seen = of_key.setdefault(int(keys[at]), set())
        if item in seen:
            raise ValueError(f"item_ids must be unique. Got {item!r} more than once.")
        seen.add(item)

"""The state of an index as a file, with a check that nobody else changed it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, check_codes, layer_sizes
from sk_rqvae._persistence.file_lock import LockBeside
from sk_rqvae._persistence.regular_files import writable_target
from sk_rqvae.exceptions import IndexConflictError
from sk_rqvae.index.engine.growing import GrowingArray, small_unsigned
from sk_rqvae.index.engine.keys import Keys, KeySpace, key_space
from sk_rqvae.index.engine.runs import Run, SortedRuns
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.engine.texts import PackedTexts, packed
from sk_rqvae.index.formats.native import (
    PathLike,
    read_file,
    read_header,
    write_file,
)
from sk_rqvae.index.history import read_history
from sk_rqvae.index.items import ItemIds, item_keys, sorted_items
from sk_rqvae.index.lineage import Lineage
from sk_rqvae.index.merging import merged_states
from sk_rqvae.index.policies.moves import NO_ROWS, Moves
from sk_rqvae.index.state import IndexState, Rules, checked_rules, plain_size

CONFLICTS = ("raise", "merge", "overwrite")
_CHECKED_KEYS = 64
_MOVED = {name: f"moved_{name}" for name in Moves._fields}


def save_state(
    path: PathLike,
    state: IndexState,
    on_conflict: str,
    keep: Callable[[IndexState], None],
) -> None:
    """Write a state to a file.

    Parameters
    ----------
    path : str or path-like
    state : IndexState
    on_conflict : {"raise", "merge", "overwrite"}
    keep : callable
        Called with the state that is to replace `state`. The first time is just before
        the file is written: if that is interrupted, this state recognises both the
        file from before and the new one. Should writing fail, `state` comes back unless
        the new file is there.

    Raises
    ------
    IndexConflictError
        If the file holds changes that the state does not have, unless `on_conflict`
        says what to do with them.
    ValueError
        If the changes cannot be merged.
    """
    with LockBeside(writable_target(path)):
        new = state
        is_new = not state.lineage.is_saved
        checks = on_conflict == "merge" or (on_conflict == "raise" and not is_new)
        header = read_header(path) if checks else None
        if header is not None:
            known = state.lineage.has_changes_of(str(header.get("save")), path)
            if not known and on_conflict == "raise":
                there = _revision(path, header)
                raise IndexConflictError(
                    f"{path} was changed since this index was loaded from it or saved "
                    f"to it. Got revision {there} in the file and {state.revision} here"
                    f"{', with different changes' if there == state.revision else ''}. "
                    "Load it and make the changes again, or save with "
                    "on_conflict='merge' or 'overwrite'."
                )
            if not known:
                new = merged_states(read_state(path), state, path)
        content = _content(new)
        name = _name_of(new, content)
        base = new.as_base(name)
        saved = new._replace(lineage=new.lineage.at(base, path))
        keep(new._replace(lineage=new.lineage.before_saving(base, path)))
        try:
            write_file(path, _header(saved), content | _sorted_arrays(saved))
        except BaseException:
            # Of a file that cannot be read, nobody knows which one it is.
            with suppress(OSError, ValueError):
                keep(saved if _is_at(path, name) else state)
            raise
        keep(saved)


def _is_at(path: PathLike, name: str) -> bool:
    header = read_header(path)
    return header is not None and header.get("save") == name


def read_state(path: PathLike, *, mapped: bool = False) -> IndexState:
    """Read what `save_state` wrote."""
    header, arrays = read_file(path, mapped=mapped)
    try:
        state = _state_of(header, arrays, mapped=mapped)
        base = state.as_base(state.lineage.saves[-1])
        return state._replace(lineage=state.lineage.at(base, path))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a valid index: {_reason(error)}.") from error


def _revision(path: PathLike, header: Mapping[str, Any]) -> int:
    try:
        return read_history(header["history"])[-1].revision
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a valid index: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, ValueError):
        return str(error).rstrip(".")
    return "its parts do not fit together"


def _name_of(state: IndexState, content: Mapping[str, NDArray[Any]]) -> str:
    """Name what a state holds: equal states have equal names."""
    digest = hashlib.sha256()
    digest.update(json.dumps(_description(state)).encode())
    for name, array in content.items():
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:32]


def _description(state: IndexState) -> dict[str, Any]:
    return {
        **state.rules._asdict(),
        "n_layers": state.store.n_layers,
        "sizes": state.store.sizes,
        "radices": state.store.space.radices,
        "items": state.items.kind,
        "next_number": state.items.next_number,
        "fingerprint": state.fingerprint,
        "fingerprint_version": state.fingerprint_version,
        "history": [event._asdict() for event in state.history],
    }


def _header(state: IndexState) -> dict[str, Any]:
    names, replaced = state.lineage.saves, state.lineage.replaced
    saves = {"save": names[-1], "saves": names, "replaced": replaced}
    return {**_description(state), "codebook_size": state.codebook_size, **saves}


def _content(state: IndexState) -> dict[str, NDArray[Any]]:
    """The arrays of a state, without those that follow from others."""
    store, items = state.store, state.items
    arrays: dict[str, NDArray[Any]] = {"ids": store.rows.values}
    if store.n_live < len(store):
        removed = store.removed.as_one().keys
        arrays["removed"] = small_unsigned(removed)
        retired = np.sort(store.retired.as_one().rows)
        arrays["forgotten"] = small_unsigned(
            np.setdiff1d(removed, retired, assume_unique=True)
        )
    if items.values is not None and items.kind != "str":
        arrays["item_numbers"] = items.all()
    elif items.values is not None:
        text, ends = packed(items.all().tolist())
        arrays |= {"item_text": text, "item_ends": small_unsigned(ends)}
    for name, growing in state.moves._asdict().items():
        if name != "kept_rows" or len(growing.values):
            arrays[_MOVED[name]] = growing.values
    if state.digests is not None:
        arrays["digests"] = state.digests.values
    if state.weights is not None:
        arrays["weights"] = state.weights.values
    return arrays


def _sorted_arrays(state: IndexState) -> dict[str, NDArray[Any]]:
    """The arrays that answer queries; they follow from the content."""
    run = state.store.runs.as_one()
    arrays = {"id_keys": run.keys, "id_rows": run.rows}
    if state.items.runs is not None:
        run = state.items.runs.as_one()
        arrays |= {"item_keys": run.keys, "item_rows": run.rows}
    return arrays


def _state_of(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, mapped: bool
) -> IndexState:
    if not mapped:
        # Views would keep the content of the whole file in memory.
        kept = ("digests", "weights", "item_numbers", *_MOVED.values())
        copies = {name: arrays[name].copy() for name in kept if name in arrays}
        arrays = {**arrays, **copies}
    rules = checked_rules(header["policy"], header["capacity"], header["overflow"])
    store = _store_of(header, arrays, rules, mapped=mapped)
    digests, weights = arrays.get("digests"), arrays.get("weights")
    arrays = {_MOVED["kept_rows"]: NO_ROWS.values, **arrays}
    moves = Moves(*(GrowingArray(arrays[_MOVED[name]]) for name in Moves._fields))
    _check_records(store, moves, digests, weights)
    saves = tuple(map(str, header["saves"]))
    replaced = tuple(map(str, header.get("replaced", ())))
    size = header["codebook_size"]
    if size is not None:
        layer_sizes(size, store.n_layers)
    return IndexState(
        rules=rules,
        codebook_size=plain_size(size),
        store=store,
        items=_items_of(header, arrays, store, mapped=mapped),
        weights=None if weights is None else GrowingArray(weights),
        fingerprint=_text_or_none(header["fingerprint"]),
        fingerprint_version=_count(header["fingerprint_version"]),
        moves=moves,
        digests=None if digests is None else GrowingArray(digests),
        history=read_history(header["history"]),
        lineage=Lineage(saves, replaced, (), ()),
    )


def _store_of(
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    rules: Rules,
    *,
    mapped: bool,
) -> IDStore:
    ids, n_layers = arrays["ids"], header["n_layers"]
    numbered = rules.policy == "suffix"
    if ids.ndim != 2 or ids.shape[1] != n_layers + numbered or n_layers < 1:
        raise ValueError(f"ids of shape {ids.shape} do not fit {n_layers} levels")
    sizes = None if header["sizes"] is None else layer_sizes(header["sizes"], n_layers)
    empty = IDStore.empty(n_layers, sizes, numbered=numbered)
    removed = _row_numbers(arrays.get("removed"), len(ids))
    forgotten = _row_numbers(arrays.get("forgotten"), len(ids))
    if not np.isin(forgotten, removed).all():
        raise ValueError("its forgotten rows are not removed")
    retired = np.setdiff1d(removed, forgotten, assume_unique=True)
    if not mapped:
        checked = check_codes(ids, name="ids")
        check_codes(checked[:, :n_layers], sizes, name="ids")
        store = empty.covering(checked).appended(checked)
        store = store.with_removed(retired, reuse=False)
        store = store.with_removed(forgotten, reuse=True)
        _check_shares(store, rules)
        return store
    space = _key_space_of(header["radices"], ids.shape[1], sizes)
    keys = space.encode(ids[retired].astype(np.int64))
    run = _stored_run(arrays, "id", space.dtype, len(ids))
    _check_some_keys("id", run, len(ids), lambda rows: _encoded(space, ids[rows]))
    return IDStore(
        GrowingArray(ids),
        space,
        SortedRuns((run,)),
        SortedRuns((Run.sorted(keys, retired),)),
        SortedRuns((Run(removed, removed),)),
        sizes=sizes,
        numbered=numbered,
    )


def _items_of(
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    store: IDStore,
    *,
    mapped: bool,
) -> ItemIds:
    kind, n_rows = header["items"], len(store)
    if kind not in ("row", "int", "str"):
        raise ValueError(f"its items are of the unknown kind {kind!r}")
    next_number = _count(header["next_number"])
    values: GrowingArray | PackedTexts
    if kind == "str":
        texts = _checked_texts(arrays["item_text"], arrays["item_ends"], n_rows, mapped)
        values = texts if mapped else GrowingArray(texts.all())
    elif kind == "int" or "item_numbers" in arrays:
        numbers = arrays["item_numbers"]
        if numbers.shape != (n_rows,) or numbers.dtype != np.int64:
            raise ValueError(f"{numbers.shape} items do not fit {n_rows} IDs")
        values = GrowingArray(numbers)
        if kind == "row":
            _check_next_number(next_number, 1 + numbers[-1] if n_rows else 0)
    else:
        _check_next_number(next_number, n_rows)
        return ItemIds("row", n_rows, None, None, next_number)
    if isinstance(values, GrowingArray) and not mapped:
        runs = sorted_items(values.values, store.live_rows())
        return ItemIds(kind, n_rows, values, runs, next_number)
    run = _stored_run(arrays, "item", np.dtype("<i8"), n_rows)
    items = ItemIds(kind, n_rows, values, SortedRuns((run,)), next_number)
    _check_some_keys("item", run, n_rows, lambda rows: item_keys(items.take(rows)))
    return items


def _checked_texts(
    text: NDArray[Any], ends: NDArray[Any], n_rows: int, mapped: bool
) -> PackedTexts:
    if text.dtype != np.uint8 or text.ndim != 1 or ends.shape != (n_rows,):
        raise ValueError(f"{len(ends)} strings do not fit {n_rows} IDs")
    if not mapped and n_rows:
        limits = np.concatenate([[0], ends.astype(np.int64), [len(text)]])
        if (np.diff(limits) < 0).any() or int(ends[-1]) != len(text):
            raise ValueError("the ends of its strings do not ascend to their length")
    return PackedTexts(text, ends)


def _stored_run(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any], n_rows: int
) -> Run:
    keys, rows = arrays[f"{name}_keys"], arrays[f"{name}_rows"]
    if dtype.kind == "S" and keys.ndim == 2 and keys.shape[1] == dtype.itemsize:
        keys = keys.view(dtype)[:, 0]
    if keys.dtype != dtype or keys.shape != rows.shape or len(rows) > n_rows:
        raise ValueError(f"its sorted {name}s do not fit its {n_rows} rows")
    return Run(keys, rows)


def _key_space_of(
    radices: Any, n_columns: int, sizes: tuple[int, ...] | None
) -> KeySpace:
    space = key_space([_count(radix) for radix in radices])
    if len(space.radices) != n_columns or 0 in space.radices:
        raise ValueError(f"{len(space.radices)} radices do not fit its ids")
    if sizes is not None and space.radices[: len(sizes)] != sizes:
        raise ValueError(f"radices {space.radices} do not fit codebooks of {sizes}")
    return space


def _encoded(space: KeySpace, ids: NDArray[Any]) -> Keys:
    # Python's integers: a radix can be 2**63.
    tops = ids.max(axis=0, initial=0).tolist()
    if any(top >= radix for top, radix in zip(tops, space.radices, strict=True)):
        raise ValueError(f"radices {space.radices} do not fit its ids")
    return space.encode(ids.astype(np.int64))


def _check_some_keys(
    name: str, run: Run, n_rows: int, keys_of: Callable[[IntArray], Keys]
) -> None:
    """Compare keys of a mapped file with the rows that they are the keys of.

    Checking all of them would read the file.
    """
    at = np.linspace(0, max(len(run.rows) - 1, 0), min(len(run.rows), _CHECKED_KEYS))
    some = Run(run.keys[at.astype(np.int64)], run.rows[at.astype(np.int64)])
    if (some.rows >= n_rows).any():
        raise ValueError(f"its sorted {name}s are of more than its {n_rows} rows")
    expected = keys_of(some.rows.astype(np.int64))
    if (some.keys[1:] < some.keys[:-1]).any() or (some.keys != expected).any():
        raise ValueError(f"the keys of its sorted {name}s are of other rows")


def _row_numbers(rows: NDArray[Any] | None, n_rows: int) -> IntArray:
    if rows is None:
        return np.empty(0, dtype=np.int64)
    numbers = rows.astype(np.int64)
    if numbers.ndim != 1 or (np.diff(numbers) <= 0).any():
        raise ValueError("its removed rows do not ascend")
    if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < n_rows:
        raise ValueError(f"its removed rows do not fit its {n_rows} rows")
    return numbers


def _check_next_number(next_number: int, least: int) -> None:
    if next_number < least:
        raise ValueError(f"its next row must be at least {least}. Got {next_number}")


def _text_or_none(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError(f"{value!r} is no text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _check_shares(store: IDStore, rules: Rules) -> None:
    """Check that no more items share codes than may."""
    limit = rules.items_per_id
    if limit is None:
        return
    keys = store.runs.as_one().keys
    if (keys[limit:] == keys[:-limit]).any():
        raise ValueError(f"more than {limit} of its items have the same ID")


def _check_records(
    store: IDStore,
    moves: Moves,
    digests: NDArray[Any] | None,
    weights: NDArray[Any] | None,
) -> None:
    rows, codes, errors, kept_rows = (growing.values for growing in moves)
    fit_together = (
        rows.shape == errors.shape
        and rows.dtype == kept_rows.dtype == np.int64
        and np.isin(kept_rows, rows).all()
        and codes.shape == (len(rows), store.n_layers)
        and ((rows >= 0) & (rows < len(store))).all()
        and (digests is None or digests.shape == (len(store),))
        and (weights is None or weights.shape == (len(store),))
    )
    if not fit_together:
        raise ValueError("its records of moves and duplicates do not fit its items")

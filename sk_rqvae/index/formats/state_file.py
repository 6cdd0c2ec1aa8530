"""The state of an index as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.formats.native import (
    packed_strings,
    read_file,
    small_unsigned,
    unpacked_strings,
    write_file,
)
from sk_rqvae.index.formats.table import PathLike
from sk_rqvae.index.policies.moves import Moves
from sk_rqvae.index.state import IndexState


def write_state(path: PathLike, state: IndexState, codebook_size: Any) -> None:
    """Write a state, and the parameter `codebook_size` as the user gave it."""
    items = state.items
    arrays: dict[str, NDArray[Any]] = {"ids": small_unsigned(state.store.ids)}
    if items.kind == "int":
        arrays["item_numbers"] = items.values
    elif items.kind == "str":
        arrays |= packed_strings(items.values)
    for name, array in state.moves._asdict().items():
        arrays[f"moved_{name}"] = array
    if state.digests is not None:
        arrays["digests"] = state.digests.values
    size = codebook_size
    header = {
        "policy": state.policy,
        "codebook_size": None if size is None else np.asarray(size).tolist(),
        "sizes": state.store.sizes,
        "fingerprint": state.fingerprint,
        "items": items.kind,
    }
    write_file(path, header, arrays)


def read_state(path: PathLike) -> tuple[IndexState, Any]:
    """Read what `write_state` wrote."""
    header, arrays = read_file(path)
    try:
        return _state_of(header, arrays), header["codebook_size"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a valid index: {error}.") from error


def _state_of(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> IndexState:
    items: Any = None
    if header["items"] == "int":
        items = arrays["item_numbers"]
    elif header["items"] == "str":
        items = unpacked_strings(arrays)
    state = IndexState.of_ids(header["policy"], header["sizes"], arrays["ids"], items)
    moves = Moves(*(arrays[f"moved_{name}"] for name in Moves._fields))
    digests = arrays.get("digests")
    _check_records(state, moves, digests)
    return state._replace(
        fingerprint=header["fingerprint"],
        moves=moves,
        digests=None if digests is None else GrowingArray(digests.copy()),
    )


def _check_records(
    state: IndexState, moves: Moves, digests: NDArray[Any] | None
) -> None:
    n_items, n_moved = len(state.store), len(moves.rows)
    fit_together = (
        moves.rows.shape == moves.added_errors.shape
        and moves.codes.shape == (n_moved, state.store.n_layers)
        and ((moves.rows >= 0) & (moves.rows < n_items)).all()
        and (digests is None or digests.shape == (n_items,))
    )
    if not fit_together:
        raise ValueError("its records of moves and duplicates do not fit its items")

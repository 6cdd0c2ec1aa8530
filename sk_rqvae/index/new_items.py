"""Items as they come from the user, checked against the index that gets them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, check_codes, check_order_of_columns
from sk_rqvae.index.code_model import (
    CodeModel,
    Route,
    route_of,
    without_column_names,
)
from sk_rqvae.index.fingerprint import FINGERPRINT_VERSION, fingerprint
from sk_rqvae.index.items import ITEM_COLUMN
from sk_rqvae.index.state import IndexState, Rules


class NewItems(NamedTuple):
    """Codes of some items, as they come from the user.

    Attributes
    ----------
    codes : array-like of shape (n, n_layers)
    item_ids : array-like of shape (n,) or None
    X : array-like of shape (n, n_features) or None
    model : CodeModel or None
    alternatives : array-like of shape (n, n_alternatives, n_layers) or None
    weights : array-like of shape (n,) or None
    """

    codes: Any
    item_ids: Any = None
    X: Any = None
    model: Any = None
    alternatives: Any = None
    weights: Any = None


class CheckedItems(NamedTuple):
    """`NewItems` that fit the index.

    `X` is what reaches `model`, which takes it without names of its columns.
    """

    codes: IntArray
    items: NDArray[Any]
    X: NDArray[Any] | None
    model: CodeModel | None
    alternatives: IntArray | None
    weights: NDArray[np.float64] | None

    def some(self, rows: NDArray[np.bool_]) -> CheckedItems:
        """Return part of the items."""

        def part(values: NDArray[Any] | None) -> Any:
            return None if values is None else values[rows]

        return CheckedItems(
            self.codes[rows],
            self.items[rows],
            part(self.X),
            self.model,
            part(self.alternatives),
            part(self.weights),
        )


def checked_items(
    state: IndexState,
    new: NewItems,
    route: Route | None,
    items: NDArray[Any] | None = None,
) -> CheckedItems:
    """Check the arguments of a call, whose codes are as `own_codes` gives them.

    `items` are those of an update, which the index has. None takes those of `new`.
    """
    codes: IntArray = new.codes
    n_layers = state.store.n_layers
    if codes.shape[1] != n_layers:
        raise ValueError(
            "codes must have as many columns as those the index was fitted with. "
            f"Got {codes.shape[1]}, expected {n_layers}."
        )
    codes = check_codes(codes, state.store.sizes)
    alternatives = new.alternatives
    if alternatives is not None:
        if not state.rules.reassigns:
            raise ValueError(
                f"alternatives must be None with policy={state.rules.policy!r} and "
                f"overflow={state.rules.overflow!r}. Only items that are reassigned "
                "use them."
            )
        alternatives = _checked_alternatives(alternatives, codes, state.store.sizes)
    if items is None:
        items = state.items.checked(new.item_ids, len(codes))
    elif len(items) != len(codes):
        raise ValueError(
            "item_ids and codes must have the same length. "
            f"Got {len(items)} item_ids, expected {len(codes)}."
        )
    return CheckedItems(
        codes,
        items,
        _checked_rows(new.X, len(codes), route),
        None if route is None else without_column_names(route.quantizer),
        alternatives,
        _checked_weights(new.weights, len(codes), state.rules),
    )


def own_codes(new: NewItems, route: Route | None) -> NewItems:
    """Copy codes and alternatives, and check the codes.

    They are read several times, and another thread may write to the arrays of the user
    meanwhile.
    """
    _check_columns(new.codes, route)
    codes = check_codes(_own(new.codes))
    return new._replace(codes=codes, alternatives=_own(new.alternatives))


def _own(values: Any) -> Any:
    if values is None or isinstance(values, list | tuple):
        return values  # an array is made of these once
    return np.array(values, subok=True)  # a mask is refused later


def _check_columns(codes: Any, route: Route | None) -> None:
    """Check the names of the columns of a data frame of codes.

    Without them, columns in another order would pass, and so would integer items.
    """
    if ITEM_COLUMN in getattr(codes, "columns", ()):
        raise ValueError(
            f"codes must have no column {ITEM_COLUMN!r}. Got {list(codes.columns)}. "
            "Pass the items as item_ids, or read a file by from_table."
        )
    names = getattr(getattr(route, "quantizer", None), "get_feature_names_out", None)
    if names is not None:
        check_order_of_columns(codes, names(), name="codes")


def checked_route(state: IndexState, model: Any) -> Route | None:
    """Check that codes are of the model of the index."""
    if state.fingerprint is None and model is not None:
        raise ValueError(
            "model must be None for an index that was made without a model: its codes "
            f"may be those of another one. Got {type(model).__name__}. Call "
            "rebind(model) if they are not."
        )
    if state.fingerprint is None:
        return None
    if model is None:
        raise ValueError(
            "model must be given for an index that was fitted with one, so that it can "
            "be checked that the codes are of the same model. Got None."
        )
    route = route_of(model)
    if state.fingerprint_version != FINGERPRINT_VERSION:
        raise ValueError(
            "the index has a fingerprint of another kind. Got version "
            f"{state.fingerprint_version}, expected {FINGERPRINT_VERSION}. Call "
            "rebind(model) with the model that made its codes."
        )
    found = fingerprint(route)
    if found != state.fingerprint:
        raise ValueError(
            "model must be the one that the index was fitted with. Got fingerprint "
            f"{found[:12]}, expected {state.fingerprint[:12]}. If it gives the same "
            "codes, call rebind(model)."
        )
    return route


def _checked_rows(X: Any, n_rows: int, route: Route | None) -> NDArray[Any] | None:
    if X is None:
        return None
    if hasattr(X, "__dask_graph__"):
        X = X.compute()  # NumPy would do so too, and drop the names of the columns
    if route is not None:
        X = route.rows(X)
    X = _as_array(X)
    if X.ndim != 2 or X.dtype.kind not in "iufb":
        raise ValueError(
            "X must be a 2-D array of numbers, (n_items, n_features). "
            f"Got shape {X.shape}, dtype {X.dtype}."
        )
    if len(X) != n_rows:
        raise ValueError(
            f"X and codes must have the same length. Got {len(X)} rows in X, expected "
            f"{n_rows}."
        )
    return X


def _as_array(X: Any) -> NDArray[Any]:
    """Return rows as an array; tensors are known without importing torch."""
    if not hasattr(X, "detach"):
        return np.asarray(X)
    if str(X.dtype) == "torch.bfloat16":
        X = X.float()  # NumPy has no bfloat16
    array: NDArray[Any] = X.numpy(force=True)
    return array


def _checked_weights(
    weights: Any, n_rows: int, rules: Rules
) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    if not rules.shared:
        raise ValueError(
            "weights rank items that share an ID, so they need policy='none', or "
            f"policy='reassign' with a capacity above 1. Got {rules}."
        )
    wanted = f"weights must be {n_rows} finite numbers. Got"
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{wanted} {weights!r}: {error}.") from error
    if array.shape != (n_rows,):
        raise ValueError(f"{wanted} shape {array.shape}.")
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"{wanted} {array[wrong[0]]} for item {wrong[0]}.")
    return array


def _checked_alternatives(
    alternatives: Any, codes: IntArray, sizes: tuple[int, ...] | None
) -> IntArray:
    alternatives = np.asarray(alternatives)
    n_rows, n_layers = codes.shape
    shape = alternatives.shape
    if len(shape) != 3 or (shape[0], shape[2]) != (n_rows, n_layers):
        raise ValueError(
            "alternatives must be 3-D, (n_items, n_alternatives, n_layers), with "
            f"n_items {n_rows} and n_layers {n_layers}. Got shape {shape}."
        )
    flat = check_codes(alternatives.reshape(-1, n_layers), sizes, name="alternatives")
    return flat.reshape(shape)

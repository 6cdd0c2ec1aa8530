"""Checks of parameters and data that name the argument, what was got and expected."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, check_random_state
from skorch.callbacks import Callback

from sk_rqvae._modes import QuantizeForwardMode

_ROWS_AT_ONCE = 8192


def check_int(name: str, value: Any, *, minimum: int) -> int:
    """A whole number that is not a bool, at least `minimum`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an int. Got {value!r}.")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}. Got {value!r}.")
    return int(value)


def check_real(
    name: str,
    value: Any,
    *,
    low: float,
    high: float = float("inf"),
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """A finite real number between bounds, which belong to the range unless open."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number. Got {value!r}.")
    number = float(value)
    inside = (number > low if low_open else number >= low) and (
        number < high if high_open else number <= high
    )
    if not np.isfinite(number) or not inside:
        left = "(" if low_open else "["
        right = ")" if high_open or np.isinf(high) else "]"
        raise ValueError(
            f"{name} must be in {left}{low}, {high}{right}. Got {value!r}."
        )
    return number


def check_bool(name: str, value: Any, *, others: str = "") -> bool:
    """True or False, where `others` names what else there might have been."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False{others}. Got {value!r}.")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """One of `choices`, all strings."""
    options = list(choices)
    # An array compares with each entry by itself, and has no truth value.
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {options}. Got {value!r}.")
    return value


def check_widths(name: str, value: Any) -> tuple[int, ...]:
    """A sequence of layer widths, possibly empty."""
    if not _is_sequence(value):
        raise TypeError(f"{name} must be a sequence of ints. Got {value!r}.")
    return tuple(
        check_int(f"{name}[{place}]", width, minimum=1)
        for place, width in enumerate(value)
    )


def check_sizes(value: Any, n_layers: int) -> tuple[int, ...]:
    """`codebook_size`, an int or one per layer, as one int per layer."""
    if not _is_sequence(value):
        return (check_int("codebook_size", value, minimum=1),) * n_layers
    sizes = [
        check_int(f"codebook_size[{place}]", size, minimum=1)
        for place, size in enumerate(value)
    ]
    _check_one_per_layer("codebook_size", sizes, n_layers)
    return tuple(sizes)


def check_modes(value: Any, n_layers: int) -> tuple[QuantizeForwardMode, ...]:
    """`codebook_mode`, one mode or one per layer, as one member per layer."""
    if isinstance(value, str):
        return (_mode("codebook_mode", value),) * n_layers
    if not _is_sequence(value):
        raise TypeError(
            "codebook_mode must be a string, a QuantizeForwardMode or a sequence of "
            f"them. Got {value!r}."
        )
    modes = [_mode(f"codebook_mode[{place}]", mode) for place, mode in enumerate(value)]
    _check_one_per_layer("codebook_mode", modes, n_layers)
    return tuple(modes)


def check_device(value: Any) -> torch.device:
    """`device` as a torch device that this machine has; "auto" prefers CUDA."""
    if isinstance(value, str) and value == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(value, (str, torch.device)):
        raise TypeError(
            f'device must be "auto", a device name or a torch.device. Got {value!r}.'
        )
    try:
        device = torch.device(value)
    except RuntimeError as error:
        raise ValueError(
            f'device must be "auto", "cpu", "cuda" or "cuda:<index>". Got {value!r}.'
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(
            f'device must be "auto", "cpu", "cuda" or "cuda:<index>". Got {value!r}.'
        )
    if device.type == "cuda":
        _check_cuda(device, value)
    return device


def check_verbose(value: Any) -> int:
    """A level of output, or True or False."""
    level = int(value) if isinstance(value, (bool, np.bool_)) else value
    return check_int("verbose", level, minimum=0)


def check_seed(value: Any) -> None:
    """What scikit-learn takes as a `random_state`."""
    try:
        check_random_state(value)
    except (TypeError, ValueError) as error:
        raise type(error)(
            "random_state must be an int in [0, 2**32 - 1], a RandomState or None. "
            f"Got {value!r}."
        ) from error


def check_callbacks(value: Any) -> list[Any]:
    """A list of skorch callbacks, each alone or after its name; None is none."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"callbacks must be a list of skorch callbacks or None. Got {value!r}."
        )
    for place, entry in enumerate(value):
        named = isinstance(entry, tuple) and len(entry) == 2
        callback = entry[1] if named else entry
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback) or (named and not isinstance(entry[0], str)):
            raise TypeError(
                f"callbacks[{place}] must be a skorch callback or a pair of its name "
                f"and it. Got {entry!r}."
            )
    return list(value)


def check_finite(X: NDArray[Any], *, estimator_name: str) -> None:
    """No NaN and no infinity, seen a block at a time.

    scikit-learn's own check of a whole matrix makes a mask as long as the matrix where
    its sum overflows, as that of float16 does.
    """
    for start in range(0, len(X), _ROWS_AT_ONCE):
        block = X[start : start + _ROWS_AT_ONCE]
        assert_all_finite(block, estimator_name=estimator_name, input_name="X")


def check_binary_columns(X: NDArray[Any], n_cat_features: int) -> None:
    """The last `n_cat_features` columns of `X` hold nothing but 0 and 1."""
    first = X.shape[1] - n_cat_features
    for start in range(0, len(X), _ROWS_AT_ONCE):
        binary = X[start : start + _ROWS_AT_ONCE, first:]
        wrong = (binary != 0) & (binary != 1)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"n_cat_features={n_cat_features} says that the last columns of X are "
                f"binary, all 0 or 1. Got {binary[row, column]!r} in row "
                f"{start + row}, column {first + column}."
            )


def _check_cuda(device: torch.device, value: Any) -> None:
    if not torch.cuda.is_available():
        raise ValueError(
            f"device={value!r} needs CUDA, which is not available here. Expected "
            '"auto" or "cpu".'
        )
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise ValueError(f"device={value!r} does not exist. Got {count} CUDA devices.")


def _is_sequence(value: Any) -> bool:
    """Whether `value` has entries; a 0-d array only pretends to."""
    pretends = isinstance(value, np.ndarray) and value.ndim == 0
    return isinstance(value, Iterable) and not (
        pretends or isinstance(value, (str, bytes))
    )


def _check_one_per_layer(name: str, values: list[Any], n_layers: int) -> None:
    if len(values) != n_layers:
        raise ValueError(
            f"{name} must have one entry per layer, {n_layers}. Got {len(values)}."
        )


def _mode(name: str, value: Any) -> QuantizeForwardMode:
    try:
        return QuantizeForwardMode(value)  # type: ignore[call-arg]
    except ValueError as error:
        choices = [mode.value for mode in QuantizeForwardMode]
        raise ValueError(f"{name} must be one of {choices}. Got {value!r}.") from error

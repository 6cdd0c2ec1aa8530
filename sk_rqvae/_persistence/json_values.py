"""Parameters of the transformer as JSON values and back, without pickle."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import numpy as np
import torch
from skorch.history import History

from sk_rqvae._checks.parameters import is_sequence

_TUPLE = "tuple"
_DEVICE = "torch.device"
_RANDOM_STATE = "RandomState"

_MT19937 = "MT19937"
_KEY_LENGTH = 624
_LARGEST_KEY = 2**32 - 1


def to_json_value(name: str, value: Any) -> Any:
    """Turn a parameter into JSON; types that JSON lacks become tagged objects.

    Parameters
    ----------
    name : str
        The parameter, for error messages.
    value : object

    Raises
    ------
    TypeError
        If the value is of a type that has no form in JSON.
    """
    if isinstance(value, enum.Enum):
        return to_json_value(name, value.value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [to_json_value(name, each) for each in value]
    if isinstance(value, tuple):
        return {_TUPLE: [to_json_value(name, each) for each in value]}
    if isinstance(value, torch.device):
        return {_DEVICE: str(value)}
    if isinstance(value, np.random.RandomState):
        return {_RANDOM_STATE: _state_of(name, value)}
    if is_sequence(value):
        return [to_json_value(name, each) for each in value]
    raise TypeError(
        f"{name} cannot be saved without pickle: expected None, a number, a string, a "
        f"sequence of them, a torch.device or a RandomState. Got {value!r}."
    )


def plain_number(value: Any) -> Any:
    """A number of NumPy as one of Python; for `json.dumps`, which calls it."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"The history must hold numbers, strings and lists to be saved. Got {value!r}."
    )


def plain_history(history: History) -> list[dict[str, Any]]:
    """The rows of a history without what JSON lacks: NaN and infinity become None."""
    text = json.dumps(history.to_list(), default=plain_number)
    rows: list[dict[str, Any]] = json.loads(text, parse_constant=lambda name: None)
    return rows


def from_json_value(name: str, value: Any) -> Any:
    """Undo `to_json_value`.

    Raises
    ------
    ValueError
        If `to_json_value` never returns such a value.
    """
    if isinstance(value, list):
        return [from_json_value(name, each) for each in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"tuple": list(items)} if len(value) == 1:
            return tuple(from_json_value(name, each) for each in items)
        case {"torch.device": str(device)} if len(value) == 1:
            return _device(name, device)
        case {"RandomState": list(state)} if len(value) == 1:
            return _random_state(name, state)
    raise ValueError(f"{name} has an unknown form, {sorted(value)}")


def _device(name: str, text: str) -> torch.device:
    try:
        return torch.device(text)
    except RuntimeError as error:
        raise ValueError(f"{name} is not a device: {text!r}") from error


def _state_of(name: str, random_state: np.random.RandomState) -> list[Any]:
    state: Any = random_state.get_state(legacy=False)
    if state["bit_generator"] != _MT19937:
        raise TypeError(
            f"{name} cannot be saved: the generator of a RandomState must be {_MT19937}"
            f". Got {random_state!r}."
        )
    inner = state["state"]
    return [
        _MT19937,
        inner["key"].tolist(),
        int(inner["pos"]),
        int(state["has_gauss"]),
        float(state["gauss"]),
    ]


def _random_state(name: str, state: list[Any]) -> np.random.RandomState:
    if not _is_valid_state(state):
        raise ValueError(f"{name} is not the state of a RandomState")
    random_state = np.random.RandomState()
    random_state.set_state(tuple(state))
    return random_state


def _is_valid_state(state: list[Any]) -> bool:
    """Check what `set_state` does not: NumPy reads memory at any position given."""
    match state:
        case ["MT19937", list(keys), int(position), int(has_gauss), float(gauss)]:
            return (
                len(keys) == _KEY_LENGTH
                and all(type(key) is int and 0 <= key <= _LARGEST_KEY for key in keys)
                and any(keys)
                and type(position) is int
                and 0 <= position <= _KEY_LENGTH
                and has_gauss in (0, 1)
                and math.isfinite(gauss)
            )
    return False

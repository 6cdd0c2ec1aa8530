"""Parameters of the transformer as JSON and back, without pickle."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import torch

_TUPLE = "tuple"
_DEVICE = "torch.device"
_RANDOM_STATE = "RandomState"


def to_plain(name: str, value: Any) -> Any:
    """A parameter as JSON has it; types that JSON lacks become tagged objects.

    Raises
    ------
    TypeError
        If it is an object of another kind.
    """
    if isinstance(value, enum.Enum):
        return to_plain(name, value.value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [to_plain(name, each) for each in value]
    if isinstance(value, tuple):
        return {_TUPLE: [to_plain(name, each) for each in value]}
    if isinstance(value, torch.device):
        return {_DEVICE: str(value)}
    if isinstance(value, np.random.RandomState):
        kind, keys, *rest = value.get_state(legacy=True)
        return {_RANDOM_STATE: [kind, np.asarray(keys).tolist(), *rest]}
    raise TypeError(
        f"{name} cannot be saved without pickle: expected None, a number, a string, a "
        f"sequence of them, a torch.device or a RandomState. Got {value!r}."
    )


def from_plain(name: str, value: Any) -> Any:
    """What `to_plain` was given.

    Raises
    ------
    ValueError
        If the value is nothing that `to_plain` returns.
    """
    if isinstance(value, list):
        return [from_plain(name, each) for each in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"tuple": list(items)} if len(value) == 1:
            return tuple(from_plain(name, each) for each in items)
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


def _random_state(name: str, state: list[Any]) -> np.random.RandomState:
    random_state = np.random.RandomState()
    try:
        random_state.set_state(tuple(state))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} is not the state of a RandomState") from error
    return random_state

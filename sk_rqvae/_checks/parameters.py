"""Validation of parameters; errors name the parameter and its value."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import Callback, LRScheduler

from sk_rqvae._checks.scalars import check_int
from sk_rqvae._model.modes import QuantizeForwardMode

MAX_SIZE = 2**31 - 1
"""Largest size of a model: more than any memory, and few enough for torch to count."""


def check_widths(name: str, value: Any) -> tuple[int, ...]:
    """A sequence of layer widths, possibly empty."""
    if not is_sequence(value):
        raise TypeError(f"{name} must be a sequence of ints. Got {value!r}.")
    return tuple(
        check_int(f"{name}[{index}]", width, minimum=1, maximum=MAX_SIZE)
        for index, width in enumerate(value)
    )


def check_sizes(value: Any, n_layers: int) -> tuple[int, ...]:
    """`codebook_size`, an int or one per level, as one int per level."""
    if not is_sequence(value):
        size = check_int("codebook_size", value, minimum=1, maximum=MAX_SIZE)
        return (size,) * n_layers
    sizes = [
        check_int(f"codebook_size[{index}]", size, minimum=1, maximum=MAX_SIZE)
        for index, size in enumerate(value)
    ]
    _check_one_per_level("codebook_size", sizes, n_layers)
    return tuple(sizes)


def check_modes(value: Any, n_layers: int) -> tuple[QuantizeForwardMode, ...]:
    """`codebook_mode`, one mode or one per level, as one member per level."""
    if isinstance(value, str):
        return (_mode("codebook_mode", value),) * n_layers
    if not is_sequence(value):
        raise TypeError(
            "codebook_mode must be a string, a QuantizeForwardMode or a sequence of "
            f"them. Got {value!r}."
        )
    modes = [_mode(f"codebook_mode[{index}]", mode) for index, mode in enumerate(value)]
    _check_one_per_level("codebook_mode", modes, n_layers)
    return tuple(modes)


def check_device(value: Any) -> torch.device:
    """`device` as an available torch device; "auto" prefers CUDA."""
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
    """`verbose` as an int; True is 1 and False is 0."""
    level = int(value) if isinstance(value, (bool, np.bool_)) else value
    return check_int("verbose", level, minimum=0)


def check_seed(value: Any) -> None:
    """A `random_state` as scikit-learn accepts it, but not NumPy's global one."""
    expected = "random_state must be an int in [0, 2**32 - 1], a RandomState or None."
    if isinstance(value, ModuleType):
        raise ValueError(f"{expected} Got {value!r}.")
    try:
        check_random_state(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{expected} Got {value!r}.") from error


def check_callbacks(value: Any, lr_schedule: str) -> list[Any]:
    """A list of skorch callbacks or ``(name, callback)`` pairs; None is empty."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"callbacks must be a list of skorch callbacks or None. Got {value!r}."
        )
    for index, entry in enumerate(value):
        named = isinstance(entry, tuple) and len(entry) == 2
        callback = entry[1] if named else entry
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback) or (named and not isinstance(entry[0], str)):
            raise TypeError(
                f"callbacks[{index}] must be a skorch callback or a pair "
                f"(name, callback). Got {entry!r}."
            )
        if getattr(callback, "use_caching", False) is True:
            raise ValueError(
                f"callbacks[{index}] must have use_caching=False, because batches have "
                f"no targets. Got {entry!r}."
            )
        if issubclass(kind, LRScheduler) and lr_schedule != "constant":
            raise ValueError(
                f"callbacks[{index}] must be no LRScheduler unless "
                'lr_schedule="constant": two schedules would change the rate by turns. '
                f"Got lr_schedule={lr_schedule!r}."
            )
    return list(value)


def _check_cuda(device: torch.device, value: Any) -> None:
    if not torch.cuda.is_available():
        raise ValueError(
            f"device={value!r} needs CUDA, which is not available here. Expected "
            '"auto" or "cpu".'
        )
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise ValueError(f"device={value!r} does not exist. Got {count} CUDA devices.")


def is_sequence(value: Any) -> bool:
    """Whether `value` has entries in order; text does not count."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.ndim > 0
    if isinstance(value, (str, bytes, Mapping)):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _check_one_per_level(name: str, values: list[Any], n_layers: int) -> None:
    if len(values) != n_layers:
        raise ValueError(
            f"{name} must have one entry per level, {n_layers}. Got {len(values)}."
        )


def _mode(name: str, value: Any) -> QuantizeForwardMode:
    try:
        return QuantizeForwardMode(value)  # type: ignore[call-arg]
    except ValueError as error:
        choices = [mode.value for mode in QuantizeForwardMode]
        raise ValueError(f"{name} must be one of {choices}. Got {value!r}.") from error

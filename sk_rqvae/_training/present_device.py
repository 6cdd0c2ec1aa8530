"""The device of a saved model, on the machine that reads it."""

from __future__ import annotations

import re
import warnings
from typing import Any

import torch


def present_device(device: Any, *, to_train_there: str, stacklevel: int) -> Any:
    """The saved device, or one that there is in place of a CUDA device.

    Parameters
    ----------
    device : str, torch.device or None
        As it was saved.
    to_train_there : str
        What to do to also train on the other device; ``{}`` stands for its name.
    stacklevel : int
        That of a warning raised by the caller.

    Returns
    -------
    str, torch.device or None

    Warns
    -----
    UserWarning
        If it is another device.
    """
    found = re.fullmatch(r"cuda(?::(\d+))?", str(device))
    if found is None:
        return device
    # Without a driver for it, a device can be counted that is not available.
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(found[1] or 0)
    if index < n_devices:
        return device
    there = "cuda" if n_devices else "cpu"
    reason = f"has no CUDA device {index}" if n_devices else "has no CUDA"
    warnings.warn(
        f"The model was saved with device={str(device)!r}, and this machine {reason}: "
        f"it is on {there!r}. {to_train_there.format(repr(there))}.",
        stacklevel=stacklevel + 1,
    )
    return there

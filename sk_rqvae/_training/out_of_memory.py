"""Errors of a device without memory left that say which parameters to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

TRAINING = ("batch_size", "resident_mb", "hidden_dims", "init_sample_size")
ENCODING = ("n_beams", "hidden_dims")


@contextmanager
def say_what_to_lower(estimator: Any, names: tuple[str, ...]) -> Iterator[None]:
    """Name the parameters that memory depends on, and what they are.

    Raises
    ------
    torch.cuda.OutOfMemoryError
        In place of one that only counts bytes.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        values = ", ".join(f"{name}={getattr(estimator, name)!r}" for name in names)
        raise torch.cuda.OutOfMemoryError(
            f"The device has not enough memory. Lower one of these: got {values}. "
            f"Or set device='cpu'. What the device said: {error}"
        ) from error

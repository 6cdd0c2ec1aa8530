"""Out-of-memory errors that name the parameters to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

TRAINING = ("batch_size", "resident_mb", "hidden_dims", "init_sample_size")
ENCODING = ("n_beams", "hidden_dims")

# torch raises a bare RuntimeError where a CPU has no memory left.
_CPU_MESSAGES = ("DefaultCPUAllocator", "not enough memory")


@contextmanager
def named_out_of_memory(estimator: Any, names: tuple[str, ...]) -> Iterator[None]:
    """Name the parameters that memory depends on, and their values.

    Parameters
    ----------
    estimator : RQVAETransformer
    names : tuple of str
        Parameters of the estimator to name.

    Raises
    ------
    torch.cuda.OutOfMemoryError
        If a CUDA device has not enough memory.
    MemoryError
        If the CPU has not enough memory.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise torch.cuda.OutOfMemoryError(
            f"{_advice(estimator, names)} Or set device='cpu'. torch said: {error}"
        ) from error
    except MemoryError as error:
        raise MemoryError(f"{_advice(estimator, names)} {error}") from error
    except RuntimeError as error:
        if not any(message in str(error) for message in _CPU_MESSAGES):
            raise
        raise MemoryError(f"{_advice(estimator, names)} torch said: {error}") from error


def _advice(estimator: Any, names: tuple[str, ...]) -> str:
    values = ", ".join(f"{name}={getattr(estimator, name)!r}" for name in names)
    return f"The device has not enough memory. Lower one of these: got {values}."

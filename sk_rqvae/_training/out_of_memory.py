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
    values = {name: getattr(estimator, name) for name in names}
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise torch.cuda.OutOfMemoryError(
            f"{_advice(values)} Or set device='cpu'. torch said: {error}"
        ) from error
    except MemoryError as error:
        raise MemoryError(f"{_advice(values)} {error}") from error
    except RuntimeError as error:
        if not any(message in str(error) for message in _CPU_MESSAGES):
            raise
        raise MemoryError(f"{_advice(values)} torch said: {error}") from error


def _advice(values: dict[str, Any]) -> str:
    got = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"The device has not enough memory. Lower one of these: got {got}."

"""Out-of-memory errors that name the parameters to lower."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch


class Remedy(NamedTuple):
    """What to do where memory is short.

    Attributes
    ----------
    names : tuple of str
        Parameters that memory depends on, those that are usually too large first.
    advice : str
        What to do with them; their values follow.
    without_cuda : str
        How to do without a CUDA device.
    """

    names: tuple[str, ...]
    advice: str
    without_cuda: str


_SIZES_OF_MODELS = (
    "codebook_size",
    "n_layers",
    "embed_dim",
    "decoder_hidden_dims",
    "n_experts",
)

TRAINING = Remedy(
    (
        "batch_size",
        "resident_mb",
        "hidden_dims",
        "init_sample_size",
        "n_beams",
        *_SIZES_OF_MODELS,
    ),
    "Lower one of these parameters",
    "Or set device='cpu'.",
)
ENCODING = Remedy(
    ("n_beams", "hidden_dims", *_SIZES_OF_MODELS),
    "Fit a model with a lower value of one of these parameters",
    "Or load the saved model with device='cpu'.",
)

# torch raises a bare RuntimeError where a CPU has no memory left.
_CPU_MESSAGES = ("DefaultCPUAllocator", "not enough memory")
# CUDA and its libraries do so where another process fills the device.
_CUDA_MESSAGES = ("CUDA error: out of memory", "STATUS_ALLOC_FAILED")


@contextmanager
def named_out_of_memory(estimator: Any, remedy: Remedy) -> Iterator[None]:
    """Name the parameters that memory depends on, and their values.

    A parameter that is None is left out, since `fit` chooses a moderate value for it,
    and so is one that cannot be lower.

    Parameters
    ----------
    estimator : RQVAETransformer
    remedy : Remedy

    Raises
    ------
    torch.cuda.OutOfMemoryError
        If a CUDA device has not enough memory.
    MemoryError
        If the CPU has not enough memory.
    """
    values = {name: getattr(estimator, name) for name in remedy.names}
    given = ", ".join(
        f"{name}={value!r}" for name, value in values.items() if _can_be_lower(value)
    )
    advice = f"The device has not enough memory. {remedy.advice}: {given}."
    try:
        yield
    except MemoryError as error:
        raise MemoryError(f"{advice} {error}") from error
    except RuntimeError as error:
        is_known = isinstance(error, torch.cuda.OutOfMemoryError)
        if is_known or _says(error, _CUDA_MESSAGES):
            raise torch.cuda.OutOfMemoryError(
                f"{advice} {remedy.without_cuda} torch said: {error}"
            ) from error
        if _says(error, _CPU_MESSAGES):
            raise MemoryError(f"{advice} torch said: {error}") from error
        raise


def _can_be_lower(value: Any) -> bool:
    has_none = isinstance(value, int | tuple) and not value  # no experts, no layers
    return value is not None and not has_none


def _says(error: Exception, messages: Iterable[str]) -> bool:
    return any(message in str(error) for message in messages)

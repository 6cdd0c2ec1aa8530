"""Tensors as input, and results in the namespace and on the device of the input.

The rules are those of scikit-learn's `array_api_dispatch`: with it, a tensor gives a
tensor on its device. Without it, all results are NumPy arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import get_config
from torch import Tensor

from sk_rqvae._model.private_generator import indexed

_HAS_ANOTHER_NAMESPACE = "__array_namespace__"


def dispatches() -> bool:
    """Whether scikit-learn's `array_api_dispatch` is on."""
    return bool(get_config()["array_api_dispatch"])


def is_in_host_memory(X: Tensor) -> bool:
    """Whether NumPy can share the memory of a tensor."""
    return X.device.type == "cpu"


def array_or_device_tensor(X: Any, device: torch.device) -> Any:
    """Return a tensor as NumPy or the model can use it, and others as they are.

    Parameters
    ----------
    X : array-like or Tensor
    device : torch.device
        Where the model is.

    Returns
    -------
    array-like or Tensor
        A tensor on the CPU becomes an array that shares its memory, or a copy in
        float32 if it is bfloat16. A tensor on `device` stays there. Neither is part of
        a graph of derivatives.

    Raises
    ------
    TypeError
        If a tensor is on another device than the CPU without `array_api_dispatch`, or
        if `X` is an array of another library with it.
    ValueError
        If a tensor is neither on the CPU nor on `device`, or is complex.
    """
    if not isinstance(X, Tensor):
        _refuse_other_namespaces(X)
        return X
    X = X.detach()
    if is_in_host_memory(X):
        return _as_array(X)
    if not dispatches():
        raise TypeError(
            f"X must be in the memory of the CPU. Got a tensor on {X.device}. Pass "
            "X.cpu(), or set sklearn.set_config(array_api_dispatch=True) to compute "
            "on the device of X and to get tensors on it."
        )
    expected = indexed(device)
    if X.device != expected:
        raise ValueError(
            f"X must be on {expected}, where the model is. Got a tensor on {X.device}. "
            f'Pass X.to("{expected}"), or fit with device="{X.device}".'
        )
    if X.is_complex():
        raise ValueError(f"Complex data not supported. X has dtype {X.dtype}.")
    return X


def in_namespace_of(X: Any, result: Any) -> Any:
    """Return an array as a tensor if `X` is one and scikit-learn dispatches."""
    if isinstance(result, Tensor) or not (isinstance(X, Tensor) and dispatches()):
        return result
    return torch.from_numpy(result)


def in_host_memory(values: Any) -> Any:
    """Return a tensor as an array on the CPU, and others as they are."""
    if not isinstance(values, Tensor) or not (
        is_in_host_memory(values) or dispatches()
    ):
        return values
    return _as_array(values.detach().cpu())


def _as_array(values: Tensor) -> NDArray[Any]:
    """An array of the values of a tensor, which NumPy may have no name for."""
    values = values.float() if values.dtype == torch.bfloat16 else values
    array: NDArray[Any] = values.resolve_conj().resolve_neg().numpy()
    return array


def _refuse_other_namespaces(X: Any) -> None:
    is_foreign = hasattr(X, _HAS_ANOTHER_NAMESPACE) and not isinstance(
        X, (np.ndarray, np.generic)
    )
    if is_foreign and dispatches():
        raise TypeError(
            "X must be a NumPy array, a data frame or a torch tensor with "
            f"array_api_dispatch. Got {type(X).__module__}.{type(X).__qualname__}. "
            "Pass torch.from_dlpack(X)."
        )

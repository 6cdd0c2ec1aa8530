"""A hash of all that decides the IDs of a fitted model, and of nothing else."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from types import MethodType
from typing import Any

import numpy as np

from sk_rqvae.index.code_model import Route

FINGERPRINT_VERSION = 2

# Buffers and parameters of the module that only training reads.
_TRAINING_ONLY = frozenset(
    {"noise_axes", "noise_scale", "quantizer.idle_rows", "quantizer.temperature"}
)
# Empty unless the codes were renamed: models from before that have the same hash.
_CODE_NAMES = "code_names"
_SEARCH_SETTINGS = ("codebook_normalize", "n_beams", "rerank")
# Parameters of the steps of a Pipeline that do not change what they return.
_NO_EFFECT = frozenset(
    {"copy", "device", "memory", "n_jobs", "random_state", "verbose", "warm_start"}
)
_NAMES_ONLY = frozenset({"feature_names_in_", "n_iter_", "n_samples_seen_"})


def fingerprint(route: Route) -> str:
    """Hash a fitted model.

    For an `RQVAETransformer` these are the weights that `transform` uses, the scaling,
    the codebooks, the prices of IDs and the settings of the search. Constructor
    parameters are not hashed. Any other quantizer is hashed by its ``codebooks_``, and
    by what its method ``id_state()`` returns if it has one. The steps before the
    quantizer in a Pipeline are hashed by their fitted attributes and by the parameters
    that are not at their default.

    Returns
    -------
    str
        64 hexadecimal digits, SHA-256.
    """
    digest = hashlib.sha256()
    _feed(digest, "version", FINGERPRINT_VERSION)
    for number, step in enumerate(route.before):
        _feed(digest, f"step {number}", step)
    for name, value in _quantizer_state(route.quantizer):
        _feed(digest, name, value)
    return digest.hexdigest()


def _quantizer_state(quantizer: Any) -> Iterable[tuple[str, Any]]:
    if hasattr(quantizer, "id_state"):
        yield from sorted(quantizer.id_state().items())
        return
    yield "codebooks", [np.asarray(book, dtype="<f4") for book in quantizer.codebooks_]
    module = getattr(getattr(quantizer, "net_", None), "module_", None)
    if module is None:
        return
    for name, tensor in sorted(module.state_dict().items()):
        is_unnamed = name == _CODE_NAMES and not len(tensor)
        if name not in _TRAINING_ONLY and not is_unnamed:
            values = tensor.detach().cpu()
            exact = values.double() if values.is_floating_point() else values
            yield name, exact.numpy()
    parts = {"module": module, "quantizer": getattr(module, "quantizer", None)}
    for part_name, part in parts.items():
        for name in _SEARCH_SETTINGS:
            if hasattr(part, name):
                yield f"{part_name}.{name}", getattr(part, name)


def _feed(digest: Any, name: str, value: Any, inside: tuple[Any, ...] = ()) -> None:
    """Add a named value to a hash, with its type and length so that none is ambiguous.

    Objects without fitted attributes, such as callbacks, count by their class. So does
    an estimator that the value is `inside` of: its own methods can be among its
    attributes.
    """
    digest.update(f"\0{name}\0".encode())
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biufcSU":
        array = np.ascontiguousarray(value)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    elif value is None or isinstance(value, bool | int | float | str):
        digest.update(f"{type(value).__name__} {value!r}".encode())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            _feed(digest, repr(key), value[key], inside)
    elif isinstance(value, list | tuple | np.ndarray):
        digest.update(f"{len(value)}".encode())
        for number, item in enumerate(value):
            _feed(digest, str(number), item, inside)
    elif _is_estimator(value) and not any(value is outer for outer in inside):
        digest.update(type(value).__qualname__.encode())
        for key, item in sorted(_estimator_state(value).items()):
            _feed(digest, key, item, (*inside, value))
    elif hasattr(value, "indptr"):
        for key in ("shape", "indptr", "indices", "data"):
            _feed(digest, key, getattr(value, key))
    elif isinstance(value, MethodType):
        _feed(digest, value.__name__, value.__self__, inside)
    elif isinstance(value, partial):
        _feed(digest, "partial", [value.func, value.args, value.keywords], inside)
    else:
        kind = value if hasattr(value, "__qualname__") else type(value)
        digest.update(f"{kind.__module__}.{kind.__qualname__}".encode())


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _estimator_state(step: Any) -> dict[str, Any]:
    fitted = {
        name: value
        for name, value in vars(step).items()
        if name.endswith("_") and not name.startswith("_") and name not in _NAMES_ONLY
    }
    try:
        defaults = type(step)().get_params(deep=False)
    except TypeError:  # a class whose constructor has required arguments
        defaults = {}
    changed = {
        name: value
        for name, value in step.get_params(deep=False).items()
        if name not in _NO_EFFECT
        and (name not in defaults or repr(value) != repr(defaults[name]))
    }
    return fitted | changed

"""The configuration of a saved model: one JSON file with a checksum of itself."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import skorch
import torch

import sk_rqvae
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._persistence.checkpoint_module import CheckpointModule
from sk_rqvae._persistence.json_values import plain_history, to_json_value
from sk_rqvae._persistence.model_names import FORMAT
from sk_rqvae._persistence.regular_files import read_regular_file
from sk_rqvae._sklearn.module_parameters import is_own
from sk_rqvae._training.settings import check_settings

Config = dict[str, Any]

OWN_MODULES: dict[str, type[RQVAEModule]] = {
    "RQVAEModule": RQVAEModule,
    "CheckpointModule": CheckpointModule,
}

_FORMAT_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Time and memory grow with these numbers, whatever the size of the weights.
_MAXIMA = {"n_layers": 10_000, "n_beams": 10_000}
_FIELDS: dict[str, Any] = {
    "module": str,
    "params": dict,
    "fitted": dict,
    "n_features_in": int,
    "feature_names_in": list | None,
    "history": list,
    "weights_sha256": str,
}


def config_of(estimator: Any, weights_digest: str) -> Config:
    """Describe a fitted transformer.

    Raises
    ------
    TypeError, ValueError
        If a parameter is invalid or cannot be saved.

    Warns
    -----
    UserWarning
        If the transformer has callbacks, which are not saved.
    """
    net = estimator.net_
    if estimator.module is not net.module:
        raise ValueError(
            "module was changed after fit, fit again before saving. Got "
            f"{estimator.module!r}, expected {net.module!r}."
        )
    params = estimator.get_params(deep=False)
    del params["module"]
    if params["callbacks"] is not None:
        warnings.warn(
            "callbacks are objects and not saved; the reloaded model has none.",
            stacklevel=4,
        )
        params["callbacks"] = None
    arrays = [n for n, v in params.items() if is_own(n) and isinstance(v, np.ndarray)]
    if arrays:
        raise TypeError(
            f"{arrays[0]} cannot be saved without pickle, as it is an array. Give the "
            "module a list, or use joblib."
        )
    checked = params | {"device": "cpu", "module": net.module}
    check_settings(type(estimator)(**checked))
    for values in (params, net.get_params_for("module")):
        _check_maxima("The model to save", values)
    names = getattr(estimator, "feature_names_in_", None)
    return {
        "format": FORMAT,
        "format_version": _FORMAT_VERSION,
        "versions": _versions(),
        "module": module_name(net.module),
        "params": {name: to_json_value(name, value) for name, value in params.items()},
        "fitted": {
            name: to_json_value(name, value)
            for name, value in net.get_params_for("module").items()
        },
        "n_features_in": int(estimator.n_features_in_),
        "feature_names_in": None if names is None else list(names),
        "history": plain_history(net.history),
        "weights_sha256": weights_digest,
    }


def config_text(config: Config) -> bytes:
    """The content of a configuration's file."""
    text = json.dumps(config | {"sha256": _digest(config)}, indent=1, allow_nan=False)
    return text.encode()


def read_config(path: Path) -> Config:
    """Read and check a configuration.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, was changed, or is of another program or format.
    """
    try:
        return _checked(path, _parsed(path))
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply.") from error


def require_own_config(path: Path) -> None:
    """Check that a configuration, if there is one, is of one of our models.

    Raises
    ------
    ValueError
        If it belongs to another program, or cannot be read.
    """
    if path.exists() and _parsed(path).get("format") != FORMAT:
        raise ValueError(
            f"{path} was not written by save_pretrained. Remove it, or save to another "
            "folder."
        )


def named_weights(path: Path) -> str | None:
    """SHA-256 of the weights that a configuration names, if it is valid."""
    try:
        return str(read_config(path)["weights_sha256"])
    except (FileNotFoundError, ValueError):
        return None


def module_name(module: type[RQVAEModule]) -> str:
    """A name for one of this package's modules, else one that none of them has."""
    for name, kind in OWN_MODULES.items():
        if module is kind:
            return name
    return f"{module.__module__}:{module.__qualname__}"


def _parsed(path: Path) -> Config:
    content = read_regular_file(path)
    try:
        config = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply.") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON or truncated: {error}.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} was not written by save_pretrained.")
    return config


def _checked(path: Path, config: Config) -> Config:
    if config.get("format") != FORMAT:
        raise ValueError(f"{path} was not written by save_pretrained.")
    if config.get("format_version") != _FORMAT_VERSION:
        raise ValueError(
            f"{path} has another format, perhaps that of a newer sk_rqvae. Got "
            f"{config.get('format_version')!r}, expected {_FORMAT_VERSION}."
        )
    if config.pop("sha256", None) != _digest(config):
        raise ValueError(
            f"{path} was changed after it was written: its checksum differs. To change "
            "a parameter, load the model, use set_params, and save it again."
        )
    for name, kind in _FIELDS.items():
        if not isinstance(config.get(name), kind):
            raise ValueError(f"{path} has no valid {name!r}.")
    if not all(isinstance(row, dict) for row in config["history"]):
        raise ValueError(f"{path} has no valid 'history'.")
    if not _SHA256.fullmatch(config["weights_sha256"]):
        raise ValueError(f"{path} has no valid 'weights_sha256'.")
    for part in ("params", "fitted"):
        _check_maxima(str(path), config[part])
    return config


def _check_maxima(name: str, values: dict[str, Any]) -> None:
    for parameter, maximum in _MAXIMA.items():
        value = values.get(parameter)
        if isinstance(value, int) and value > maximum:
            raise ValueError(
                f"{name} has {parameter}={value}, expected at most {maximum}."
            )


def _digest(config: Config) -> str:
    """Checksum of a configuration, independent of its layout in the file."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _versions() -> dict[str, str]:
    return {
        "numpy": np.__version__,
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "sk_rqvae": sk_rqvae.__version__,
        "skorch": skorch.__version__,
        "torch": torch.__version__,
    }

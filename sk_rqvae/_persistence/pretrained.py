"""A fitted transformer as a folder of JSON and safetensors, and back."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import warnings
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import sklearn
import skorch
import torch
from torch import Tensor

import sk_rqvae
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._persistence.assemble import assemble, fitted_parameters
from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae._persistence.checkpoint_module import CheckpointModule
from sk_rqvae._persistence.json_values import from_json_value, to_json_value
from sk_rqvae._training.settings import check_settings

Estimator = TypeVar("Estimator")

_CONFIG = "config.json"
_FORMAT = "sk_rqvae"
_FORMAT_VERSION = 1
_OWN_MODULES: dict[str, type[RQVAEModule]] = {
    "RQVAEModule": RQVAEModule,
    "CheckpointModule": CheckpointModule,
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WEIGHTS = re.compile(r"model-[0-9a-f]{16}\.safetensors")
_FIELDS: dict[str, Any] = {
    "module": str,
    "params": dict,
    "fitted": dict,
    "n_features_in": int,
    "feature_names_in": list | None,
    "history": list,
    "weights_sha256": str,
}


def save_pretrained(estimator: Any, folder: str | PathLike[str]) -> None:
    """Write a fitted transformer to a folder; see `RQVAETransformer`.

    The weights' file is named after its content and the configuration after nothing
    but itself, so both can be there in two versions at once and one rename, that of
    `config.json`, makes the new model the folder's model.
    """
    from safetensors.torch import save

    target = Path(folder)
    weights = save(_tensors(estimator))
    digest = hashlib.sha256(weights).hexdigest()
    config = _config(estimator) | {"weights_sha256": digest}
    text = json.dumps(config | {"sha256": _digest(config)}, indent=1)
    _refuse_other_contents(target)
    target.mkdir(parents=True, exist_ok=True)
    new = target / _weights_name(digest)
    with ExitStack() as unless_done:
        if not new.exists():
            unless_done.callback(new.unlink, missing_ok=True)
        with atomic_write(new) as file:
            file.write(weights)
        with atomic_write(target / _CONFIG) as file:
            file.write(text.encode())
        unless_done.pop_all()
    for old in target.iterdir():
        if _WEIGHTS.fullmatch(old.name) and old.name != new.name:
            old.unlink(missing_ok=True)


def from_pretrained(
    cls: type[Estimator],
    folder: str | PathLike[str],
    module: type[RQVAEModule] | None,
    device: str | torch.device | None,
) -> Estimator:
    """Read what `save_pretrained` wrote; see `RQVAETransformer`."""
    path = Path(folder) / _CONFIG
    config = _read_config(path)
    try:
        kind = _module_class(config["module"], module)
        model = _described_model(cls, config, kind, device)
        params = {
            name: from_json_value(name, value)
            for name, value in config["params"].items()
        } | {"module": kind}
        if device is not None:
            params["device"] = device
        names = _feature_names(config)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    weights = path.with_name(_weights_name(config["weights_sha256"]))
    tensors = _read_tensors(weights, config["weights_sha256"])
    codebooks = _take(tensors, "codebooks.")
    try:
        assemble(
            model,
            config["n_features_in"],
            _take(tensors, "module."),
            config["history"],
        )
        _check_codebooks(model, codebooks)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{weights} does not fit {path}: {error}.") from error
    if names is not None:
        model.feature_names_in_ = names
    return model.set_params(**params)


def _tensors(estimator: Any) -> dict[str, Tensor]:
    """The module's state and, for other programs to read, the codebooks."""
    state = estimator.net_.module_.state_dict()
    tensors = {f"module.{name}": tensor for name, tensor in state.items()}
    for level, codebook in enumerate(estimator.codebooks_):
        tensors[f"codebooks.{level}"] = torch.from_numpy(codebook)
    return {name: tensor.cpu().clone() for name, tensor in tensors.items()}


def _config(estimator: Any) -> dict[str, Any]:
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
    check_settings(type(estimator)(**params | {"device": "cpu"}))
    names = getattr(estimator, "feature_names_in_", None)
    config = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "versions": _versions(),
        "module": _module_name(net.module),
        "params": {name: to_json_value(name, value) for name, value in params.items()},
        "fitted": {
            name: to_json_value(name, value)
            for name, value in net.get_params_for("module").items()
        },
        "n_features_in": int(estimator.n_features_in_),
        "feature_names_in": None if names is None else list(names),
        "history": json.loads(json.dumps(net.history.to_list(), default=_number)),
    }
    return config


def _number(value: Any) -> Any:
    """A number in the history that is NumPy's, as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"The history must hold numbers, strings and lists to be saved. Got {value!r}."
    )


def _versions() -> dict[str, str]:
    return {
        "numpy": np.__version__,
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "sk_rqvae": sk_rqvae.__version__,
        "skorch": skorch.__version__,
        "torch": torch.__version__,
    }


def _digest(config: dict[str, Any]) -> str:
    """Checksum of a configuration, however it is laid out in its file."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _weights_name(digest: str) -> str:
    return f"model-{digest[:16]}.safetensors"


def _refuse_other_contents(folder: Path) -> None:
    """Do not replace the configuration of another program's model."""
    path = folder / _CONFIG
    if path.exists() and _parsed(path).get("format") != _FORMAT:
        raise ValueError(
            f"{path} was not written by save_pretrained. Remove it, or save to another "
            "folder."
        )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON or truncated: {error}.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} was not written by save_pretrained.")
    return config


def _read_config(path: Path) -> dict[str, Any]:
    config = _parsed(path)
    if config.get("format") != _FORMAT:
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
    return config


def _module_name(module: type[RQVAEModule]) -> str:
    """A name for one of this package's modules, else one that none of them has."""
    for name, kind in _OWN_MODULES.items():
        if module is kind:
            return name
    return f"{module.__module__}:{module.__qualname__}"


def _module_class(name: str, given: Any) -> type[RQVAEModule]:
    if given is None:
        if name not in _OWN_MODULES:
            raise ValueError(
                f"the model is of the class {name!r}, which is not part of sk_rqvae. "
                "A file must not choose what is imported: pass the class as module."
            )
        return _OWN_MODULES[name]
    if not (isinstance(given, type) and issubclass(given, RQVAEModule)):
        raise TypeError(f"module must be a subclass of RQVAEModule. Got {given!r}.")
    if _class_name(_module_name(given)) != _class_name(name):
        raise ValueError(
            f"module must be the class of the saved model, {name!r}. Got {given!r}."
        )
    return given


def _class_name(module_name: str) -> str:
    """The class without its file, which is another where a script became a package."""
    return module_name.rpartition(":")[2]


def _described_model(
    cls: type[Any],
    config: dict[str, Any],
    module: type[RQVAEModule],
    device: str | torch.device | None,
) -> Any:
    """An unfitted transformer with the parameters that the model was fitted with.

    Later calls of `set_params` changed the transformer's own, but not the model.
    """
    known = set(cls(module=module).get_params(deep=False))
    unknown = sorted(config["params"].keys() - known)
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}.")
    plain, fitted = (
        {name: from_json_value(name, value) for name, value in config[part].items()}
        for part in ("params", "fitted")
    )
    if fitted.get("n_features") != config["n_features_in"]:
        raise ValueError("'n_features' differs from 'n_features_in'.")
    parameters = fitted_parameters(fitted)
    unknown = sorted(parameters.keys() - known)
    if unknown:
        raise ValueError(f"unknown argument {unknown[0]!r} of the module.")
    own = plain | {"module": module}
    own["device"] = _present(own.get("device", "auto")) if device is None else device
    check_settings(cls(**own))
    model = cls(**own | parameters)
    check_settings(model)
    return model


def _present(device: Any) -> Any:
    """The saved device, or the CPU where it is a CUDA device and there is none."""
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        warnings.warn(
            f"The model was saved with device={str(device)!r}, and this machine has no "
            'CUDA: it is on the CPU. Pass device="cpu" to also train there.',
            stacklevel=5,
        )
        return "cpu"
    return device


def _feature_names(config: dict[str, Any]) -> Any:
    names = config["feature_names_in"]
    if names is None:
        return None
    if len(names) != config["n_features_in"] or not all(
        isinstance(name, str) for name in names
    ):
        raise ValueError("'feature_names_in' is not one string a column.")
    return np.array(names, dtype=object)


def _read_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    """All tensors of a file with this checksum; it is read once, then checked."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is missing; {_CONFIG} beside it needs it."
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(
            f"{path} is truncated or was changed: its checksum is not the one in "
            f"{_CONFIG}."
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}.") from error


def _take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _check_codebooks(model: Any, saved: dict[str, Tensor]) -> None:
    expected = {str(level) for level in range(len(model.codebooks_))}
    if saved.keys() != expected:
        raise ValueError(f"it has the codebooks {sorted(saved)}")
    for level, codebook in enumerate(model.codebooks_):
        if not np.allclose(saved[str(level)].numpy(), codebook, rtol=1e-4, atol=1e-5):
            raise ValueError(f"its codebook {level} is not that of the weights")

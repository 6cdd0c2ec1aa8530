"""Weights of training checkpoints, ours and those of two other projects."""

from __future__ import annotations

import re
import zipfile
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from torch import Tensor

from sk_rqvae._persistence.assemble import assemble
from sk_rqvae._persistence.checkpoint_module import CheckpointModule

Estimator = TypeVar("Estimator")
State = dict[str, Tensor]

_OWN_MARK = "quantizer.levels.0.table"
_OTHERS_MARK = "layers.0.embedding.weight"
_LEVEL = "quantizer.levels."
_IN_EVERY_LAYOUT = ("encoder.", "decoder.", _LEVEL)
_WRAPPERS = ("module.", "_orig_mod.")
_NAMES_SHOWN = 5


def load_checkpoint(
    cls: type[Estimator],
    path: str | PathLike[str],
    parameters: dict[str, Any],
) -> Estimator:
    """Make a fitted transformer of a checkpoint; see `RQVAETransformer`."""
    state = _unwrapped(_state(_read(Path(path)), path))
    others = _OTHERS_MARK in state
    if not others and _OWN_MARK not in state:
        raise ValueError(
            f"{path} has another layout: it has neither {_OTHERS_MARK!r} nor "
            f"{_OWN_MARK!r} but {sorted(state)[:_NAMES_SHOWN]}."
        )
    try:
        state = _renamed(state) if others else state
        n_features, told = _read_from_shapes(state)
    except ValueError as error:
        raise ValueError(f"{path} has another layout: {error}.") from error
    for name in sorted(told.keys() & parameters.keys()):
        raise TypeError(
            f"{name} is read from the shapes in {path}, which say {told[name]!r}. Got "
            f"{parameters[name]!r}."
        )
    model: Any = cls(**_defaults(state) | told | parameters)
    try:
        assemble(
            model,
            n_features,
            state,
            history=[],
            required=_IN_EVERY_LAYOUT if others else ("",),
        )
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    return model


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(
                f"{path} is truncated, or not a file that torch.save wrote (since "
                "version 1.6, a zip archive)."
            )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain values, and to load the rest "
            "would run code that the file chooses. If you trust it, write its weights "
            "anew where its project can be imported: state = torch.load(path, "
            "map_location='cpu', weights_only=False); "
            "torch.save({'model': state['model']}, new_path)."
        ) from error
    except RuntimeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error


def _state(content: Any, path: str | PathLike[str]) -> State:
    """The state dict, bare or under "model"."""
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not content:
        raise ValueError(
            f"{path} must hold a state dict, bare or under 'model'. Got "
            f"{type(content).__name__}."
        )
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise ValueError(
                f"{path} must hold a state dict, bare or under 'model'. Got "
                f"{type(value).__name__} under {name!r}."
            )
    return dict(content)


def _unwrapped(state: State) -> State:
    """Without the prefixes of parallel and of compiled modules."""
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): state[name] for name in state}
    return state


def _renamed(state: State) -> State:
    """The other projects' tensors under our names.

    Dropout takes up a place in their perceptrons, and so do linear maps and activations
    in both: the maps are counted.
    """
    renamed = {}
    for part in ("encoder", "decoder"):
        for place, name in enumerate(_matrices(state, part)):
            renamed[name] = f"{part}.mlp.{2 * place}.weight"
    for name in state:
        level = re.fullmatch(r"layers\.(\d+)\.embedding\.weight", name)
        mapped = re.fullmatch(r"layers\.(\d+)\.out_proj\.0\.weight", name)
        if level:
            renamed[name] = f"{_LEVEL}{level[1]}.table"
        elif mapped:
            renamed[name] = f"{_LEVEL}{mapped[1]}.projection.weight"
    unknown = sorted(state.keys() - renamed.keys())
    if unknown:
        raise ValueError(f"it has the tensor {unknown[0]!r}")
    return {renamed[name]: tensor for name, tensor in state.items()}


def _matrices(state: State, part: str) -> list[str]:
    """Names of the weights of a perceptron, from the input on."""
    pattern = re.compile(rf"{part}\.mlp\.(\d+)\.weight")
    found = [match for name in state if (match := pattern.fullmatch(name))]
    names = [match[0] for match in sorted(found, key=lambda match: int(match[1]))]
    if not names:
        raise ValueError(f"it lacks the tensor '{part}.mlp.0.weight'")
    for name in names:
        _check_matrix(state, name)
    return names


def _check_matrix(state: State, name: str) -> None:
    if state[name].dim() != 2:
        raise ValueError(
            f"its tensor {name!r} must have two axes. Got {state[name].dim()}"
        )


def _read_from_shapes(state: State) -> tuple[int, dict[str, Any]]:
    """Number of columns, and the parameters that the tensors tell."""
    matrices = [state[name] for name in _matrices(state, "encoder")]
    outward = [state[name] for name in _matrices(state, "decoder")]
    tables = sorted(
        name for name in state if re.fullmatch(rf"{re.escape(_LEVEL)}\d+\.table", name)
    )
    for name in tables:
        _check_matrix(state, name)
    levels = [f"{_LEVEL}{level}.table" for level in range(len(tables))]
    if sorted(levels) != tables:
        raise ValueError(f"its levels are not numbered from 0 on: {tables}")
    sizes = [len(state[name]) for name in levels]
    told = {
        "n_layers": len(sizes),
        "codebook_size": sizes[0] if len(set(sizes)) == 1 else sizes,
        "embed_dim": len(matrices[-1]),
        "hidden_dims": tuple(len(matrix) for matrix in matrices[:-1]),
        "decoder_hidden_dims": tuple(len(matrix) for matrix in outward[:-1]),
        "linear_path": "encoder.linear.weight" in state,
        "codebook_sim_vq": f"{_LEVEL}0.projection.weight" in state,
    }
    if _has_biases(state):
        told["codebook_normalize"] = f"{_LEVEL}0.gain" in state
    return matrices[0].shape[1], told


def _defaults(state: State) -> dict[str, Any]:
    """Parameters of models without biases, unless they are given."""
    if _has_biases(state):
        return {}
    return {"module": CheckpointModule, "n_beams": 1, "rerank": False}


def _has_biases(state: State) -> bool:
    return "encoder.mlp.0.bias" in state

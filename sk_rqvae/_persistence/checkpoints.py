"""Weights of training checkpoints, ours and those of two other projects."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from sk_rqvae._persistence.assemble import assemble, behaviour_shape_of
from sk_rqvae._persistence.checkpoint_files import State, read_state
from sk_rqvae._persistence.checkpoint_module import CheckpointModule

Estimator = TypeVar("Estimator")

_OWN_TENSOR = "quantizer.levels.0.table"
_FOREIGN_TENSOR = "layers.0.embedding.weight"
_LEVEL = "quantizer.levels."
_IN_EVERY_LAYOUT = ("encoder.", "decoder.", _LEVEL)
_WRAPPERS = ("module.", "_orig_mod.")
_EXPERTS = "decoder.experts.centres"
_DECODER_MLP = "decoder.mlp."
_NAMES_SHOWN = 5


def load_checkpoint(
    cls: type[Estimator],
    path: str | PathLike[str],
    parameters: dict[str, Any],
) -> Estimator:
    """Make a fitted transformer of a checkpoint; see `RQVAETransformer`."""
    state = _unwrapped(read_state(Path(path)))
    is_foreign = _FOREIGN_TENSOR in state
    if not is_foreign and _OWN_TENSOR not in state:
        raise ValueError(
            f"{path} has another layout: it has neither {_FOREIGN_TENSOR!r} nor "
            f"{_OWN_TENSOR!r} but {sorted(state)[:_NAMES_SHOWN]}."
        )
    foreign_names: dict[str, str] = {}
    try:
        if is_foreign:
            foreign_names = _foreign_names(state)
            state = _renamed(state, foreign_names)
        n_features, from_shapes = _read_from_shapes(state)
    except ValueError as error:
        reason = _with_names(error, foreign_names)
        raise ValueError(f"{path} has another layout: {reason}.") from error
    for name in sorted(from_shapes.keys() & parameters.keys()):
        raise TypeError(
            f"{name} is read from the shapes in {path}, which say "
            f"{from_shapes[name]!r}. Got {parameters[name]!r}."
        )
    model: Any = cls(**_defaults(state) | from_shapes | parameters)
    try:
        assemble(
            model,
            n_features,
            state,
            history=[],
            required=_IN_EVERY_LAYOUT if is_foreign else ("",),
        )
    except ValueError as error:
        reason = _with_names(error, foreign_names)
        raise ValueError(f"{path} cannot be used: {reason}") from error
    return model


def _unwrapped(state: State) -> State:
    """Remove the prefixes of parallel and of compiled modules."""
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): state[name] for name in state}
    return state


def _foreign_names(state: State) -> dict[str, str]:
    """What the other projects call our tensors, also those that a file lacks.

    The layers are numbered again: their MLPs count dropout layers, ours do not.
    """
    names = {}
    for part in ("encoder", "decoder"):
        for layer, name in enumerate(_matrices(state, part)):
            names[f"{part}.mlp.{2 * layer}.weight"] = name
    for level in range(len(state)):  # there are fewer levels than tensors
        names[f"{_LEVEL}{level}.table"] = f"layers.{level}.embedding.weight"
        names[f"{_LEVEL}{level}.projection.weight"] = (
            f"layers.{level}.out_proj.0.weight"
        )
    unknown = sorted(state.keys() - names.values())
    if unknown:
        raise ValueError(f"it has the tensor {unknown[0]!r}")
    return names


def _renamed(state: State, foreign_names: dict[str, str]) -> State:
    """Give the tensors of the other projects our names."""
    return {ours: state[name] for ours, name in foreign_names.items() if name in state}


def _with_names(error: ValueError, names: dict[str, str]) -> str:
    """The message of an error, which quotes tensors by the names that the file has."""
    return re.sub(
        "'([^']+)'", lambda quoted: repr(names.get(quoted[1], quoted[1])), str(error)
    )


def _matrices(state: State, part: str) -> list[str]:
    """Names of the weight matrices of an MLP, from its input to its output."""
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
    """Number of columns, and the parameters that follow from the shapes."""
    encoder = [state[name] for name in _matrices(state, "encoder")]
    n_experts = len(state.get(_EXPERTS, ()))
    has_mlp = not n_experts or any(name.startswith(_DECODER_MLP) for name in state)
    decoder = [state[name] for name in _matrices(state, "decoder")] if has_mlp else []
    table = re.compile(rf"{re.escape(_LEVEL)}\d+\.table")
    n_layers = sum(table.fullmatch(name) is not None for name in state)
    sizes = []
    for name in (f"{_LEVEL}{level}.table" for level in range(n_layers)):
        if name not in state:
            raise ValueError(f"it lacks the tensor {name!r}, and has {n_layers} levels")
        _check_matrix(state, name)
        sizes.append(len(state[name]))
    parameters = {
        "n_layers": len(sizes),
        "codebook_size": sizes[0] if len(set(sizes)) == 1 else sizes,
        "embed_dim": len(encoder[-1]),
        "hidden_dims": tuple(len(matrix) for matrix in encoder[:-1]),
        "decoder_hidden_dims": tuple(len(matrix) for matrix in decoder[:-1]),
        "n_experts": n_experts,
        "linear_path": "encoder.linear.weight" in state,
        "codebook_sim_vq": f"{_LEVEL}0.projection.weight" in state,
    }
    if _has_biases(state):
        parameters["codebook_normalize"] = f"{_LEVEL}0.gain" in state
    return encoder[0].shape[1] - behaviour_shape_of(state)[1], parameters


def _defaults(state: State) -> dict[str, Any]:
    """Parameters that models without biases have unless the user gives others."""
    if _has_biases(state):
        return {}
    return {"module": CheckpointModule, "n_beams": 1, "rerank": False}


def _has_biases(state: State) -> bool:
    return "encoder.mlp.0.bias" in state

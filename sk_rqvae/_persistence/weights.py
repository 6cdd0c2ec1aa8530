"""The weights of a saved model: one safetensors file named after its content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sk_rqvae._persistence.regular_files import read_regular_file
from sk_rqvae._persistence.tensor_checks import is_finite
from sk_rqvae._torch_settings import usual_torch_settings


class WeightsFile(NamedTuple):
    """The content of a weights file.

    Attributes
    ----------
    content : bytes
    digest : str
        Its SHA-256.
    """

    content: bytes
    digest: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return weights_name(self.digest)


def weights_name(digest: str) -> str:
    """Name of the file of weights with this SHA-256."""
    return f"model-{digest[:16]}.safetensors"


def weights_of(estimator: Any) -> WeightsFile:
    """Weights and, for other programs to read, the codebooks of a fitted transformer.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    state = estimator.net_.module_.state_dict()
    tensors = {f"module.{name}": tensor for name, tensor in state.items()}
    for level, codebook in enumerate(estimator.codebooks_):
        tensors[f"codebooks.{level}"] = torch.from_numpy(codebook)
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise ValueError(
                f"{name} has values that are not finite, and such a model could not be "
                "loaded."
            )
    content = save(
        {
            name: tensor.cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
    )
    return WeightsFile(content, hashlib.sha256(content).hexdigest())


@usual_torch_settings()
def read_weights(path: Path, digest: str) -> dict[str, Tensor]:
    """Read the tensors of a file whose SHA-256 is known.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is something other than a file, has another checksum, or another format.
    """
    content = read_regular_file(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(
            f"{path} is truncated or was changed: its checksum is not the one in the "
            "configuration beside it."
        )
    try:
        return load(content)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is not a safetensors file: {error}.") from error


def take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def check_codebooks(model: Any, saved: dict[str, Tensor]) -> None:
    """Check that codebooks written for other programs are those of the weights.

    Raises
    ------
    ValueError
        If they are not.
    """
    expected = {str(level) for level in range(len(model.codebooks_))}
    if saved.keys() != expected:
        raise ValueError(f"it has the codebooks {sorted(saved)}")
    for level, codebook in enumerate(model.codebooks_):
        found = saved[str(level)]
        if found.dtype != torch.float32 or found.shape != codebook.shape:
            raise ValueError(
                f"its codebook {level} is {found.dtype} of shape {tuple(found.shape)}, "
                f"expected torch.float32 of shape {codebook.shape}"
            )
        if not np.allclose(found.numpy(), codebook, rtol=1e-4, atol=1e-5):
            raise ValueError(f"its codebook {level} is not that of the weights")

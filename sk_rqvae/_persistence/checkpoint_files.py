"""Files of training checkpoints, read without running code from them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from sk_rqvae._persistence.regular_files import open_regular_file, read_regular_file
from sk_rqvae._persistence.tensor_checks import check_values
from sk_rqvae._torch_settings import usual_torch_settings

State = dict[str, Tensor]

# What reading raises for files with some bytes changed. UnicodeDecodeError is a
# ValueError, KeyError a LookupError, RecursionError a RuntimeError.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


def read_state(path: Path) -> State:
    """Read a state dict, bare or under "model".

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is damaged, would run code, or holds something other than dense tensors
        with finite values under names.
    """
    if path.suffix == ".safetensors":
        content: Any = _read_safetensors(path)
    else:
        with open_regular_file(path) as file:
            _check_archive(path, file)
            content = _load(path, file)
    return _checked(path, content)


@usual_torch_settings()
def _read_safetensors(path: Path) -> State:
    content = read_regular_file(path)
    try:
        return load(content)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}.") from error


def _check_archive(path: Path, file: BinaryIO) -> None:
    """Refuse what ``torch.save`` does not write, such as compressed members."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is truncated, or not a file that torch.save wrote (since "
            f"version 1.6, a zip archive): {error}."
        ) from error
    n_bytes = file.seek(0, 2)
    is_stored = all(each.compress_type == zipfile.ZIP_STORED for each in members)
    if not is_stored or sum(each.file_size for each in members) > n_bytes:
        raise ValueError(
            f"{path} would unpack to more than its {n_bytes} bytes, which files of "
            "torch.save do not."
        )
    file.seek(0)


def _load(path: Path, file: BinaryIO) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain values, and to load the rest "
            "would run code that the file chooses. If you trust it, save its weights "
            "again where its project can be imported: state = torch.load(path, "
            "map_location='cpu', weights_only=False); "
            "torch.save({'model': state['model']}, new_path)."
        ) from error
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is damaged: {type(error).__name__}: {error}."
        ) from error


def _checked(path: Path, content: Any) -> State:
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not content:
        raise ValueError(
            f"{path} must hold a state dict, bare or under 'model'. Got "
            f"{type(content).__name__}."
        )
    n_bytes = path.stat().st_size
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise ValueError(
                f"{path} must hold a state dict, bare or under 'model'. Got "
                f"{type(value).__name__} under {name!r}."
            )
        try:
            check_values(name, value)
        except ValueError as error:
            raise ValueError(f"{path} cannot be used: {error}.") from error
        if value.untyped_storage().nbytes() > n_bytes:
            raise ValueError(f"{path} is damaged: {name!r} is larger than the file.")
    return dict(content)

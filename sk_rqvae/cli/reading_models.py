"""Read the model that a command was given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sk_rqvae._persistence.model_names import CONFIG_NAME
from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
from sk_rqvae.cli.overwriting import is_model

if TYPE_CHECKING:
    from sk_rqvae._transformer import RQVAETransformer

_PARTS = (".json", ".safetensors")


def check_model(folder: Path, items: Path | None = None, *, command: str = "") -> None:
    """Raise an error that says what to type unless there is a model.

    Parameters
    ----------
    folder : Path
    items : Path or None
        The file of rows, to find out whether the two were swapped.
    command : str
        Such as ``"transform"``, for the message.
    """
    if items is not None and not folder.is_dir() and is_model(items):
        raise UsageError(
            f"{items} is the model and {folder} is not: MODEL comes before ITEMS. "
            f"Type: sk-rqvae {command} {items} {folder}"
        )
    if not folder.exists():
        raise FileNotFoundError(
            f"There is no model at {folder}. Make one: sk-rqvae fit ITEMS -o {folder}"
        )
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is no model: a model is a folder. Make one: sk-rqvae fit ITEMS "
            "-o FOLDER"
        )
    if not (folder / CONFIG_NAME).exists():
        raise FileNotFoundError(
            f"{folder} is no model: it has no {CONFIG_NAME}. Make one: sk-rqvae fit "
            "ITEMS -o FOLDER"
        )
    for part in files_of_model(folder):
        check_regular_file(part)


def files_of_model(folder: Path) -> tuple[Path, ...]:
    """The files that a model is read from, which are inputs of a command."""
    return tuple(part for part in folder.iterdir() if part.suffix in _PARTS)


def read_model(folder: Path, device: str | None) -> RQVAETransformer:
    """Read a model, which then draws bars only where the program asks for them.

    Parameters
    ----------
    folder : Path
    device : str or None
        None is the one that it was fitted on.
    """
    from sk_rqvae import RQVAETransformer
    from sk_rqvae._checks.parameters import check_device

    if device is not None:
        try:
            check_device(device)
        except ValueError as error:
            raise UsageError(str(error)) from error
    model = RQVAETransformer.from_pretrained(folder, device=device)
    return model.set_params(verbose=0)


def without_names(model: RQVAETransformer) -> RQVAETransformer:
    """The same model without the names of its columns.

    The program puts columns in order by name. Rows then reach the model without names,
    which a model with names would warn of.
    """
    from sk_rqvae.index.code_model import without_column_names

    return without_column_names(model)

"""Refuse, before the work, to replace what must not go."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryFile

from sk_rqvae._persistence.file_lock import lock_path
from sk_rqvae._persistence.model_names import CONFIG_NAME, FORMAT
from sk_rqvae.cli.matrix_files.regular_file import check_regular_file


def check_output_file(
    path: Path, *, force: bool, inputs: tuple[Path, ...] = ()
) -> None:
    """Raise an error unless a file may be written at `path`.

    Parameters
    ----------
    path : Path
    force : bool
        Whether the user lets a file be replaced.
    inputs : tuple of Path
        Files that are read, which are never replaced.
    """
    _check_folder(path.parent)
    if not os.path.lexists(path):
        return
    _check_no_input(path, inputs)
    if not force:
        raise FileExistsError(f"{path} exists. Pass --force to replace it.")
    if path.exists():
        check_regular_file(path)


def check_output_folder(
    path: Path, *, force: bool, inputs: tuple[Path, ...] = ()
) -> None:
    """Raise an error unless a model may be written to the folder `path`.

    A folder that is not empty needs `force`. The model of another program, and a folder
    among the `inputs`, is never replaced.
    """
    _check_no_input(path, inputs)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder. Name another with -o.")
    if path.is_dir() and not force and _has_files(path):
        raise FileExistsError(
            f"{path} exists and is not empty. Pass --force to replace the model in it."
        )
    if (path / CONFIG_NAME).exists():
        check_regular_file(path / CONFIG_NAME)
        if not is_model(path):
            raise FileExistsError(
                f"{path / CONFIG_NAME} belongs to another program. Name another folder "
                "with -o."
            )
    nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
    _check_folder(nearest)


def check_no_checkpoint(path: Path) -> None:
    """Raise an error if there is the checkpoint of an interrupted fit."""
    if path.exists():
        raise FileExistsError(
            f"{path} is of an interrupted fit. Pass --resume to continue it, or "
            "--force to start anew."
        )


def is_model(folder: Path) -> bool:
    """Whether a folder has the configuration of a model of ours, intact or not."""
    try:
        config = json.loads((folder / CONFIG_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get("format") == FORMAT


def _check_no_input(path: Path, inputs: tuple[Path, ...]) -> None:
    for each in inputs:
        if each.exists() and path.exists() and path.samefile(each):
            raise FileExistsError(
                f"{path} is an input of the command. Name another with -o."
            )


def _has_files(folder: Path) -> bool:
    """Whether there is more than the lock that a killed save leaves."""
    lock = lock_path(folder / CONFIG_NAME)
    return any(each != lock for each in folder.iterdir())


def _check_folder(path: Path) -> None:
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder.")
    try:
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise PermissionError(
            f"{path} cannot be written to: {error.strerror}."
        ) from error

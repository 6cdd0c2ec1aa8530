"""The folder of a saved model, with several processes that save to it and read it.

Writers take turns by a lock. Readers need none, so they can read folders that they may
not write to: all that a configuration names exists from before the configuration
appears until after it is replaced, and a reader whose weights have gone finds a newer
configuration and reads again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from torch import Tensor

from sk_rqvae._persistence.atomic import (
    Note,
    abandoned_files,
    atomic_write,
    note_beside,
    remove_abandoned,
)
from sk_rqvae._persistence.config import (
    Config,
    named_weights,
    read_config,
    require_own_config,
)
from sk_rqvae._persistence.file_lock import LockBeside
from sk_rqvae._persistence.model_card import CARD_NAME, is_own_card
from sk_rqvae._persistence.model_names import CONFIG_NAME
from sk_rqvae._persistence.regular_files import read_regular_file, writable_target
from sk_rqvae._persistence.weights import WeightsFile, read_weights, weights_name

_WEIGHTS = r"model-[0-9a-f]{16}\.safetensors"


def check_folder(folder: Path) -> None:
    """Check that a model can be saved to a folder, which may not exist yet.

    Raises
    ------
    NotADirectoryError
        If it is something other than a folder.
    ValueError
        If it holds the configuration of another program, or something other than a file
        under one of the names that are needed.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder.")
    for name in (CONFIG_NAME, CARD_NAME):
        writable_target(folder / name)
    require_own_config(folder / CONFIG_NAME)


def write_model(folder: Path, weights: WeightsFile, config: bytes, card: str) -> None:
    """Make a model the model of a folder, in one step.

    The files of a model are its weights, under a name that depends on their content,
    and `config.json`, which names the weights. The new weights are written first. The
    renaming of the new `config.json` then replaces the model. The weights that the old
    one named are removed at the end; other files are never touched.

    Parameters
    ----------
    folder : Path
    weights : WeightsFile
    config : bytes
        Content of `config.json`; it names the weights.
    card : str
        Content of ``README.md``. It is not written over one of the user's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with LockBeside(folder / CONFIG_NAME):
        check_folder(folder)
        _clean_up(folder)
        with _card(folder, card):
            _replace(folder, weights, config)


def write_card(folder: Path, digest: str, card: str) -> None:
    """Write the card of a model, unless another model is in the folder by now.

    Parameters
    ----------
    folder : Path
    digest : str
        Of the weights of the model.
    card : str
        Content of ``README.md``. It is not written over one of the user's own.
    """
    with LockBeside(folder / CONFIG_NAME):
        if named_weights(folder / CONFIG_NAME) == digest:
            with _card(folder, card):
                pass


def read_model(folder: Path) -> tuple[Config, dict[str, Tensor]]:
    """Read a configuration and the weights that it names.

    Raises
    ------
    FileNotFoundError
        If one of the two files is missing.
    ValueError
        If one of them is damaged.
    """
    path = folder / CONFIG_NAME
    while True:
        before = _identity(path)
        config = read_config(path)
        digest = config["weights_sha256"]
        weights = folder / weights_name(digest)
        try:
            return config, read_weights(weights, digest)
        except FileNotFoundError as error:
            if _identity(path) == before:
                raise FileNotFoundError(
                    f"{weights} is missing; {path} needs it."
                ) from error


@contextmanager
def _card(folder: Path, card: str) -> Iterator[None]:
    """Write a card, which appears when the block ends."""
    if not is_own_card(folder / CARD_NAME):
        yield
        return
    with atomic_write(folder / CARD_NAME, permissions_of=folder / CONFIG_NAME) as file:
        file.write(card.encode())
        yield


def _replace(folder: Path, weights: WeightsFile, config: bytes) -> None:
    path, new = folder / CONFIG_NAME, folder / weights.name
    replaced = named_weights(path)
    unneeded: list[str] = []
    with note_beside(path) as note, ExitStack() as in_any_case:
        in_any_case.callback(_tidy, folder, unneeded, note)
        if replaced is not None:
            # If this process ends before it has removed the old weights, the next
            # writer reads here which ones they are.
            note.file.write(read_regular_file(path))
            note.file.flush()
            unneeded.append(replaced)
        with atomic_write(path) as file:
            file.write(config)
            file.flush()  # before the weights, which it names, for the same reason
            if not new.exists():
                unneeded.append(weights.digest)
            with atomic_write(new, permissions_of=path) as weights_file:
                weights_file.write(weights.content)


def _tidy(folder: Path, digests: list[str], note: Note) -> None:
    """Remove the weights that are not those of the configuration."""
    for digest in digests:
        _remove_unless_named(folder, digest)
    note.is_done = True


def _clean_up(folder: Path) -> None:
    """Remove what killed writers left behind; the lock is held, so none is alive.

    Temporary configurations name weights that a killed writer had added, or had not yet
    removed.
    """
    config = writable_target(folder / CONFIG_NAME)
    for temporary in abandoned_files(config.parent, re.escape(config.name)):
        digest = named_weights(temporary)
        if digest is not None:
            _remove_unless_named(folder, digest)
        temporary.unlink(missing_ok=True)
    remove_abandoned(folder, f"{_WEIGHTS}|{re.escape(CARD_NAME)}")


def _remove_unless_named(folder: Path, digest: str) -> None:
    """Remove weights unless the configuration names them."""
    if named_weights(folder / CONFIG_NAME) != digest:
        (folder / weights_name(digest)).unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int, int]:
    """Changes when a file is replaced, even by one of the same content."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns

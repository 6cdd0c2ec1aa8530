"""Write an index to the file from which it was read."""

from __future__ import annotations

from pathlib import Path

from sk_rqvae.exceptions import IndexConflictError
from sk_rqvae.index import SemanticIDIndex


def save_changes(index: SemanticIDIndex, path: Path) -> None:
    """Write an index that was loaded from `path` and changed.

    Raises
    ------
    IndexConflictError
        If another process changed the file since.
    """
    try:
        index.save(path)
    except IndexConflictError as error:
        # The error advises what a program can pass to `save`.
        raise IndexConflictError(
            f"{path} was changed by another process meanwhile, and this command "
            "changed nothing. Run it again."
        ) from error


def what_became_of(path: Path, *, changed: bool) -> str:
    """What the last line of a command says of the file of an index."""
    return f"written to {path}" if changed else f"{path} is unchanged"

"""How much larger than its file a matrix may be."""

from __future__ import annotations

from pathlib import Path

_MIB = 2**20
# Embeddings hardly compress. A file that grows more than this is damaged, or meant to
# fill the memory or the disk.
_MAX_GROWTH = 20
_SMALL = 100 * _MIB


def check_unpacked_size(
    name: str, n_bytes: int, path: Path, limit_mb: float | None
) -> None:
    """Raise a ValueError if a compressed file unpacks to more than is allowed.

    Parameters
    ----------
    name : str
        What the message calls the matrix.
    n_bytes : int
        Size of the matrix.
    path : Path
        The file that it is in.
    limit_mb : float or None
        MiB that it may take. None is 20 times the size of the file, and at least 100.
    """
    n_packed = path.stat().st_size
    limit = max(_SMALL, _MAX_GROWTH * n_packed) if limit_mb is None else limit_mb * _MIB
    if n_bytes > limit:
        raise ValueError(
            f"{name} would take {n_bytes / _MIB:.0f} MiB, from a file of "
            f"{n_packed / _MIB:.1f} MiB. If you trust the file, allow it with "
            f"--unpack-limit {-(-n_bytes // _MIB)}."
        )

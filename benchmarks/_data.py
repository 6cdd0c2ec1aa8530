"""Where the rows come from, and which of them are held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from _contract import Matrix
from sk_rqvae.datasets import load_wordnet_nouns

UNSEEN_SHARE = 0.1


def load_matrices(
    paths: list[Path], array: str | None, n_rows: int | None
) -> dict[str, Matrix]:
    """The matrices of files, or of the package's own data where there are none.

    Parameters
    ----------
    paths : list of Path
        ``.npy`` and ``.npz`` files.
    array : str or None
        Which array of an archive; None takes its only floating-point matrix.
    n_rows : int or None
        Take that many rows, drawn at random, of those that have more.
    """
    if paths:
        matrices = {path.name: _read(path, array) for path in paths}
    else:
        matrices = {"load_wordnet_nouns()": load_wordnet_nouns().data}
    return {name: sample_rows(X, n_rows) for name, X in matrices.items()}


def sample_rows(X: Matrix, n_rows: int | None, seed: int = 0) -> Matrix:
    if n_rows is None or n_rows >= len(X):
        return X
    return X[np.random.default_rng(seed).choice(len(X), n_rows, replace=False)]


def split_rows(X: Matrix, seed: int) -> tuple[Matrix, Matrix]:
    """Rows to fit on and rows held out, both contiguous."""
    fitted, unseen = train_test_split(X, test_size=UNSEEN_SHARE, random_state=seed)
    return np.ascontiguousarray(fitted), np.ascontiguousarray(unseen)


def _read(path: Path, array: str | None) -> Matrix:
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        found = content
    else:
        with content as archive:
            arrays = {name: archive[name] for name in archive}
        found = arrays[_array_name(path, arrays, array)]
    if not _is_matrix(found):
        raise SystemExit(
            f"{path} must hold a floating-point matrix. Got {found.dtype} of shape "
            f"{found.shape}."
        )
    return found.astype(np.float32)


def _array_name(path: Path, arrays: dict[str, Any], wanted: str | None) -> str:
    names = [wanted] if wanted else [n for n, a in arrays.items() if _is_matrix(a)]
    if len(names) != 1 or names[0] not in arrays:
        raise SystemExit(
            f"--array must name the matrix in {path}, one of {sorted(arrays)}. "
            f"Got {wanted}."
        )
    return names[0]


def _is_matrix(array: Any) -> bool:
    return array.ndim == 2 and array.dtype.kind == "f"

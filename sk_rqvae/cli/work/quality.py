"""Measure IDs while they are written, in little memory.

The explained variance is that of `sk_rqvae.metrics`, in one pass over a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae import RQVAETransformer
from sk_rqvae._checks.codes import IntArray, n_distinct, row_keys
from sk_rqvae.cli.work.last_line import Measures


class Quality:
    """Explained variance and distinct IDs of rows that come in blocks.

    Parameters
    ----------
    model : RQVAETransformer
        Fitted.
    """

    def __init__(self, model: RQVAETransformer) -> None:
        self.model = model
        self._n_rows = 0
        self._ids: list[IntArray] = []
        self._shift: NDArray[np.float64] | None = None
        self._sum: Any = 0.0
        self._sum_of_squares = 0.0
        self._unexplained = 0.0

    def add(self, rows: NDArray[Any], codes: IntArray, ids: IntArray) -> None:
        """Measure some rows, the codes of their reconstruction, and their IDs."""
        block = rows.astype(np.float64)
        if self._shift is None:
            # Squares of deviations from a value near the mean lose no digits.
            self._shift = block.mean(axis=0)
        centred = block - self._shift
        gap = block - self.model.inverse_transform(codes)
        # Squares of the largest numbers overflow; the result is then not shown.
        with np.errstate(over="ignore", invalid="ignore"):
            self._sum = self._sum + centred.sum(axis=0)
            self._sum_of_squares += float(np.square(centred).sum())
            self._unexplained += float(np.square(gap).sum())
        self._n_rows += len(rows)
        self._ids.append(_compact(ids))

    def measures(self) -> Measures:
        """Of all rows so far."""
        ids = np.concatenate(self._ids).astype(np.int64)
        explained = self._explained_variance()
        return Measures(self._n_rows, n_distinct(row_keys(ids)), explained)

    def _explained_variance(self) -> float:
        """``1 - SSE / SST`` of the reconstructions, at most 1; NaN if unknown."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = (
                self._sum_of_squares - float(np.square(self._sum).sum()) / self._n_rows
            )
        if not np.isfinite(total) or total <= 0:
            return float("nan")
        return 1 - self._unexplained / total


def _compact(ids: IntArray) -> NDArray[Any]:
    return ids.astype(np.min_scalar_type(int(ids.max())))

"""Residual k-means, from scikit-learn's KMeans."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from _codebooks import nearest_codes, sum_of_codes
from _contract import Matrix, Quantizer, Task

_QUICK_ITERATIONS = 5


def fit_residual_kmeans(
    X: Matrix, task: Task, weights: NDArray[np.float64] | None = None
) -> Quantizer:
    """Cluster the rows, then the residuals of each level.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    task : Task
    weights : ndarray of shape (n,), default=None
        Weights of the rows. None is equal weights.
    """
    left = X.copy()
    codebooks = []
    for level in range(task.n_layers):
        kmeans = KMeans(task.n_codes, random_state=task.seed + level)
        if task.quick:
            kmeans.set_params(max_iter=_QUICK_ITERATIONS)
        left -= kmeans.fit(left, sample_weight=weights).cluster_centers_[kmeans.labels_]
        codebooks.append(kmeans.cluster_centers_)
    return Quantizer(
        partial(nearest_codes, codebooks),
        partial(sum_of_codes, codebooks),
        decodes_prefixes=True,
    )

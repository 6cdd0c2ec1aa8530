"""The RQVAE and RQKMeans of semantic-id."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import torch

from _contract import Codes, Matrix, Quantizer, Task

_QUICK_ITERATIONS = 5


def fit_semantic_id_rqvae(
    X: Matrix, task: Task, *, epochs: int = 100, **parameters: Any
) -> Quantizer:
    """Fit semantic-id's RQVAE, at its defaults but for the bits and `parameters`.

    After training it restores the epoch with the fewest collisions among 2048 rows.
    With its default ``verbose=False`` it counts none: all epochs tie at zero, and the
    weights of the first are restored.
    """
    from semantic_id import RQVAE

    torch.manual_seed(task.seed)
    model = RQVAE(
        in_dim=X.shape[1],
        num_emb_list=[task.n_codes] * task.n_layers,
        epochs=task.epochs(epochs),
        **parameters,
    )
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        model.fit(X)
    model.verbose = False

    def encode(rows: Matrix) -> Codes:
        return model.encode(rows).astype(np.int64)

    return Quantizer(encode, model.decode, decodes_prefixes=False)


def fit_semantic_id_rqkmeans(X: Matrix, task: Task) -> Quantizer:
    """Fit semantic-id's RQKMeans, at its defaults but for the bits."""
    from semantic_id import RQKMeans

    model = RQKMeans(
        n_levels=task.n_layers, n_clusters=task.n_codes, random_state=task.seed
    )
    if task.quick:
        model.n_init = 1
        model.max_iter = _QUICK_ITERATIONS
    model.fit(X)

    def encode(rows: Matrix) -> Codes:
        return model.encode(rows).astype(np.int64)

    return Quantizer(encode, model.decode, decodes_prefixes=True)

"""This package's transformer."""

from __future__ import annotations

from typing import Any

import torch

from _contract import QUICK_EPOCHS, Matrix, Quantizer, Task
from sk_rqvae import RQVAEModule, RQVAETransformer
from sk_rqvae.metrics import explained_variance

_NO_RATE = 1e-30


def fit_transformer(X: Matrix, task: Task, **parameters: Any) -> Quantizer:
    """Fit with the defaults, but for the bits and `parameters`."""
    transformer = RQVAETransformer(
        n_layers=task.n_layers,
        codebook_size=task.n_codes,
        random_state=task.seed,
        device=task.device,
        **parameters,
    )
    if task.quick:
        transformer.set_params(max_epochs=QUICK_EPOCHS)
    transformer.fit(X)
    return Quantizer(
        transformer.transform, transformer.inverse_transform, decodes_prefixes=True
    )


def fit_initial(X: Matrix, task: Task) -> Quantizer:
    """Initialise, and train one epoch at a rate that changes nothing."""
    return fit_transformer(
        X, task, max_epochs=1, lr=_NO_RATE, restart_dead_codes=False, rerank=False
    )


def variance_of(module: RQVAEModule, X: Matrix) -> float:
    """Explained variance of rows, as `transform` would encode them."""
    was_training = module.training
    module.eval()
    with torch.no_grad():
        rows = module.standardize(torch.from_numpy(X).double())
        restored = module.reconstruct(module.assign(rows))
    module.train(was_training)
    return explained_variance(rows.numpy(), restored.numpy())

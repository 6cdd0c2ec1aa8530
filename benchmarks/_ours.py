"""This package's transformer."""

from __future__ import annotations

from typing import Any

from _contract import QUICK_EPOCHS, Matrix, Quantizer, Task
from sk_rqvae import RQVAETransformer


def fit_transformer(X: Matrix, task: Task, **parameters: Any) -> Quantizer:
    """Fit with the defaults, but for the bits and `parameters`."""
    transformer = RQVAETransformer(
        n_layers=task.n_layers,
        codebook_size=task.n_codes,
        random_state=task.seed,
        **parameters,
    )
    if task.quick:
        transformer.set_params(max_epochs=QUICK_EPOCHS)
    transformer.fit(X)
    return Quantizer(
        transformer.transform, transformer.inverse_transform, decodes_prefixes=True
    )

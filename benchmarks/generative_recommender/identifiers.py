"""Ways to give items IDs, all of the same form: as many levels, codes and a suffix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from _contract import Codes, Matrix, Task
from _residual_kmeans import fit_residual_kmeans
from sk_rqvae import RQVAETransformer, SemanticIDIndex

N_LAYERS = 3
CODEBOOK_SIZE = 32


def rqvae_codes(X: Matrix, seed: int) -> Codes:
    """Codes of our transformer, at its defaults but for the sizes."""
    rqvae = RQVAETransformer(
        n_layers=N_LAYERS,
        codebook_size=CODEBOOK_SIZE,
        hidden_dims=(512,),
        device="cpu",
        random_state=seed,
    )
    return rqvae.fit_transform(X)


def kmeans_codes(X: Matrix, seed: int) -> Codes:
    """Codes of k-means on rows, then on what is left of them, and so on."""
    return fit_residual_kmeans(X, Task(N_LAYERS, CODEBOOK_SIZE, seed)).encode(X)


def random_codes(X: Matrix, seed: int) -> Codes:
    """Codes that say nothing about the items."""
    rng = np.random.default_rng(seed)
    return rng.integers(CODEBOOK_SIZE, size=(len(X), N_LAYERS))


def index_of(codes: Codes) -> SemanticIDIndex:
    """Give each item an ID of its own, with a suffix as in TIGER."""
    return SemanticIDIndex(policy="suffix").fit(codes)


IDENTIFIERS: dict[str, Callable[[Matrix, int], Codes]] = {
    "rqvae": rqvae_codes,
    "kmeans": kmeans_codes,
    "random": random_codes,
}

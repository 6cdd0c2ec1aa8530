"""Print hashes of what small fits give, to see whether a change moves a single bit.

Each line is a configuration and three hashes: of the weights, of the codes and of the
reconstructions. Run it before and after a change that should not change results, on one
machine and with the same number of threads, and compare::

    python benchmarks/fingerprints.py > before.txt
    python benchmarks/fingerprints.py | diff before.txt -

Rows are random and the fits are short: the hashes say nothing about quality.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae import RQVAETransformer

Rows = NDArray[np.float32]

SMALL: dict[str, Any] = {
    "n_layers": 3,
    "codebook_size": 32,
    "hidden_dims": (64,),
    "max_epochs": 4,
    "random_state": 0,
    "device": "cpu",
    "mixed_precision": "no",
}


def some_rows() -> Rows:
    """Rows in clusters, with components of falling variance."""
    n_rows, n_features = 1500, 24
    rng = np.random.default_rng(0)
    scales = np.arange(1, n_features + 1) ** -0.7
    centres = rng.normal(size=(40, n_features))
    rows = centres[rng.integers(40, size=n_rows)] + rng.normal(
        size=(n_rows, n_features)
    )
    return (rows * scales).astype(np.float32)


def fitted(X: Rows, **changes: Any) -> RQVAETransformer:
    return RQVAETransformer(**(SMALL | changes)).fit(X)


def streamed(X: Rows) -> RQVAETransformer:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, X)
        return fitted(np.load(path, mmap_mode="r"), resident_mb=0.01)


def with_binary_columns(X: Rows) -> RQVAETransformer:
    return fitted(binary_columns(X), n_cat_features=4)


def binary_columns(X: Rows) -> Rows:
    return np.hstack([X[:, :20], X[:, 20:] > 0]).astype(np.float32)


def warm_started(X: Rows) -> RQVAETransformer:
    estimator = fitted(X[:1000], warm_start=True)
    return estimator.set_params(lr=1e-3).fit(X)


def partially_fitted(X: Rows) -> RQVAETransformer:
    estimator = RQVAETransformer(**SMALL)
    return estimator.partial_fit(X[:1000]).partial_fit(X[500:])


CONFIGURATIONS: dict[str, Callable[[Rows], RQVAETransformer]] = {
    "gumbel_softmax": lambda X: fitted(X, codebook_mode="gumbel_softmax"),
    "ste": fitted,
    "rotation_trick": lambda X: fitted(X, codebook_mode="rotation_trick"),
    "sinkhorn": lambda X: fitted(X, codebook_mode="sinkhorn"),
    "one mode per level": lambda X: fitted(
        X, codebook_mode=["sinkhorn", "ste", "gumbel_softmax"]
    ),
    "one size per level": lambda X: fitted(X, codebook_size=(8, 16, 64)),
    "random codebooks": lambda X: fitted(X, codebook_kmeans_init=False),
    "normalised": lambda X: fitted(X, codebook_normalize=True),
    "SimVQ": lambda X: fitted(X, codebook_sim_vq=True),
    "no linear path": lambda X: fitted(X, linear_path=False, embed_dim=8),
    "deep, dropout": lambda X: fitted(X, hidden_dims=(64, 32), dropout=0.1),
    "greedy": lambda X: fitted(X, n_beams=1, rerank=False),
    "all IDs apart": lambda X: fitted(X, separate_ids=True, codebook_size=8),
    "binary columns": with_binary_columns,
    "streamed": streamed,
    "warm start": warm_started,
    "partial fits": partially_fitted,
    "default epochs": lambda X: fitted(X[:300], max_epochs=None),
}


def digest(*arrays: Any) -> str:
    """The first 12 hex digits of the SHA-256 of the arrays' bytes."""
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:12]


def fingerprint(estimator: RQVAETransformer, X: Rows) -> str:
    state = estimator.net_.module_.state_dict()
    weights = digest(*(state[name].numpy() for name in sorted(state)))
    codes = estimator.transform(X)
    return f"{weights} {digest(codes)} {digest(estimator.inverse_transform(codes))}"


def main() -> int:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    X = some_rows()
    width = max(map(len, CONFIGURATIONS))
    for name, fit in CONFIGURATIONS.items():
        rows = binary_columns(X) if name == "binary columns" else X
        print(f"{name:<{width}} {fingerprint(fit(X), rows)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

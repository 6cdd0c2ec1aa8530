"""What faiss and k-means reach on the data sets, kept beside the data.

`ablation.py` may run where faiss is missing, so `prepare_data.py` computes these.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from _contract import Matrix, Task
from _data import split_rows
from _datasets import load
from _faiss import fit_faiss
from _records import Records
from sk_rqvae.metrics import reconstruction_error

N_BEAMS = (1, 5)


@dataclass(frozen=True)
class Reference:
    """Figures of one split.

    Attributes
    ----------
    faiss, unseen_faiss : float
        Mean squared error of faiss's residual quantizer, the better of 1 and 5 beams.
    kmeans, unseen_kmeans : float
        Mean squared error of k-means with as many clusters as a codebook has codes.
    power, unseen_power : float
        Mean squared error of the column means.
    """

    faiss: float
    unseen_faiss: float
    kmeans: float
    unseen_kmeans: float
    power: float
    unseen_power: float

    def first_share(self, error: float) -> float:
        """Variance that first codes explain over that which k-means explains."""
        return (self.power - error) / (self.power - self.kmeans)

    def unseen_first_share(self, error: float) -> float:
        """Likewise of unseen rows."""
        return (self.unseen_power - error) / (self.unseen_power - self.unseen_kmeans)


def prepare_reference(
    data: str, seed: int, n_layers: int, n_codes: int, cache: Path
) -> None:
    """Compute the reference of a split, unless it is there."""
    records = Records(_path(cache))
    what = {"data": data, "seed": seed}
    if records.get(**what) is not None:
        return
    fitted, unseen = split_rows(load(data, cache), seed)
    reference = measured_reference(fitted, unseen, Task(n_layers, n_codes, seed))
    records.add(asdict(reference), **what)
    print(f"{data}, seed {seed}: {reference}", file=sys.stderr, flush=True)


def measured_reference(fitted: Matrix, unseen: Matrix, task: Task) -> Reference:
    """Fit faiss and k-means, and measure them on both parts of a split."""
    quantizers = [fit_faiss(fitted, task, n_beams=n_beams) for n_beams in N_BEAMS]
    errors = [
        [
            reconstruction_error(X, quantizer.decode(quantizer.encode(X)))
            for X in (fitted, unseen)
        ]
        for quantizer in quantizers
    ]
    best, unseen_best = np.min(errors, axis=0).tolist()
    kmeans = KMeans(task.n_codes, random_state=task.seed).fit(fitted)
    centre_errors = [
        float(reconstruction_error(X, kmeans.cluster_centers_[kmeans.predict(X)]))
        for X in (fitted, unseen)
    ]
    powers = [float(np.square(X - X.mean(0)).mean()) for X in (fitted, unseen)]
    return Reference(best, unseen_best, *centre_errors, *powers)


def read_references(cache: Path) -> dict[tuple[str, int], Reference]:
    """The references there are, by data set and seed."""
    return {
        (what["data"], what["seed"]): Reference(**result)
        for what, result in Records(_path(cache))
    }


def _path(cache: Path) -> Path:
    return cache / "references.jsonl"

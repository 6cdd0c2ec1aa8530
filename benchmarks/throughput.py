"""Rows that one core transforms in a second, and what a billion rows would take.

Models are fitted for one epoch to the package's nouns, as how long they were trained
does not change how long a row takes. Times are CPU times of one thread, so that waiting
for other programs does not count; the best of several rounds in which models alternate.

    python benchmarks/throughput.py --dollars 0.04
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns

BILLION = 1_000_000_000
MODELS: dict[str, dict[str, Any]] = {
    "default": {},
    "default, greedy": {"n_beams": 1},
    "rerank=False": {"rerank": False},
    "papers' widths": {"hidden_dims": (512, 256, 128), "embed_dim": 32},
}


def fitted(X: np.ndarray, **parameters: Any) -> RQVAETransformer:
    return RQVAETransformer(
        max_epochs=1, init_sample_size=1024, random_state=0, device="cpu", **parameters
    ).fit(X)


def seconds(model: RQVAETransformer, X: np.ndarray) -> float:
    start = time.process_time()
    model.transform(X)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--dollars", type=float, default=0.04, help="price of a core for an hour"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    X = load_wordnet_nouns().data
    models = {name: fitted(X, **parameters) for name, parameters in MODELS.items()}
    rounds = [
        {name: seconds(model, X) for name, model in models.items()}
        for _ in range(options.rounds)
    ]
    print(mark_of_this_run(), end="\n\n")
    print(f"{X.shape[1]} columns, {X.dtype}, 3 x 256 codes; best of {options.rounds}")
    print(f"{'a billion rows:':29} {'core-hours':>10} {'dollars':>8}")
    for name in models:
        rate = len(X) / min(times[name] for times in rounds)
        hours = BILLION / rate / 3600
        print(
            f"{name:18} {rate:6.0f} rows/s {hours:10.0f} {options.dollars * hours:8.2f}"
        )
    print(f"read: {BILLION * X[0].nbytes / 1e12:.2f} TB; ", end="")
    print(f"codes: {BILLION * 3 * 8 / 1e9:.0f} GB as int64, 3 GB as uint8")


if __name__ == "__main__":
    main()

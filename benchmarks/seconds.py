"""Seconds of `fit` and `transform` by rows and columns, at the default parameters.

Rows are random: clusters of clusters with components of falling variance. So the times
are those of real embeddings of that size, and the scores mean nothing. For example::

    python benchmarks/seconds.py 10800x384 1000000x768
    OMP_NUM_THREADS=2 python benchmarks/seconds.py 10000x384 60000x384 --device cpu

Each size prints one line when it is done, so that a run that is cut short has shown the
sizes before.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer

ROWS_AT_ONCE = 50_000


def made_rows(n_rows: int, n_features: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    scales = np.arange(1, n_features + 1, dtype=np.float32) ** -0.5
    centres = rng.standard_normal((2000, n_features), dtype=np.float32)
    rows = np.empty((n_rows, n_features), dtype=np.float32)
    for start in range(0, n_rows, ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        part[:] = centres[rng.integers(len(centres), size=len(part))]
        part += rng.standard_normal(part.shape, dtype=np.float32)
        part *= scales
    return rows


def seconds_of(function: Callable[..., Any], *arguments: Any) -> float:
    _wait()
    start = time.perf_counter()
    function(*arguments)
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def size(text: str) -> tuple[int, int]:
    n_rows, _, n_features = text.partition("x")
    return int(n_rows), int(n_features)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="+", type=size, metavar="ROWSxCOLUMNS")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("needs a CUDA device, or --device cpu", file=sys.stderr)
        return 1
    warnings.simplefilter("ignore")
    print(mark_of_this_run(), end="\n\n")
    if options.device == "cuda":
        machine = torch.cuda.get_device_name()
    else:
        machine = f"CPU, {torch.get_num_threads()} threads"
    print(f"{machine}, torch {torch.__version__}")
    new_model = partial(RQVAETransformer, random_state=0, device=options.device)
    new_model(max_epochs=1).fit(made_rows(2000, 64))  # warm up
    for n_rows, n_features in options.sizes:
        X = made_rows(n_rows, n_features)
        model = new_model()
        fit_time = seconds_of(model.fit, X)
        transform_time = seconds_of(model.transform, X)
        model.net_.module_.rerank = False
        greedy_time = seconds_of(model.transform, X)
        print(
            f"{n_rows} x {n_features}: fit {fit_time:.1f} s, {model.n_iter_} epochs; "
            f"transform {transform_time:.1f} s, {n_rows / transform_time:.0f} rows/s, "
            f"with rerank=False {n_rows / greedy_time:.0f} rows/s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

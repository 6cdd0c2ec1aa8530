"""What `transform` costs and reconstructs with each value of `rerank`, beside faiss.

One model a seed is fitted with the defaults. Times are processor times of this
process, the best of several turns in which the methods alternate, so that other
programs on the machine matter little. The unit is `compute_codes` of faiss's
ResidualQuantizer with five beams, for the same rows and threads. For example::

    python benchmarks/reranking.py --seeds 0 1 2
    python benchmarks/reranking.py rows.npy --threads 2
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from _arguments import add_data, heading, new_parser
from _contract import Codes, Matrix, Task
from _data import load_matrices, split_rows
from _faiss import fit_faiss
from _stopwatch import processor_seconds
from _table import markdown_table, mean_and_spread
from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer
from sk_rqvae.metrics import explained_variance

RERANK = (True, False)
FAISS = "faiss, 5 beams"
HEADER = ("method", "rows a second over faiss's", "fitted", "unseen", "fit, s")
Encode = Callable[[Matrix], Codes]


def encode_with(model: RQVAETransformer, rerank: bool, rows: Matrix) -> Codes:
    module = model.net_.module_
    fitted_with = module.rerank
    module.rerank = rerank
    try:
        return model.transform(rows)
    finally:
        module.rerank = fitted_with


def measure(X: Matrix, task: Task, n_turns: int) -> dict[str, list[float]]:
    """Speed over faiss's, explained variances and seconds of the fit, by method."""
    fitted, unseen = split_rows(X, task.seed)
    start = time.process_time()
    faiss = fit_faiss(fitted, task, n_beams=5)
    faiss_fit = time.process_time() - start
    start = time.process_time()
    model = RQVAETransformer(
        n_layers=task.n_layers,
        codebook_size=task.n_codes,
        max_epochs=2 if task.quick else None,
        random_state=task.seed,
        device="cpu",
    ).fit(fitted)
    own_fit = time.process_time() - start
    methods: dict[str, Encode] = {
        f"rerank={value!r}": partial(encode_with, model, value) for value in RERANK
    }
    methods[FAISS] = faiss.encode
    rows = np.ascontiguousarray(fitted[: len(unseen)])
    both = np.concatenate([rows, unseen])
    times = [
        {
            name: processor_seconds(partial(encode, both))
            for name, encode in methods.items()
        }
        for _ in range(n_turns)
    ]
    best = {name: min(turn[name] for turn in times) for name in methods}
    decode = dict.fromkeys(methods, model.inverse_transform) | {FAISS: faiss.decode}
    return {
        name: [
            best[FAISS] / best[name],
            *(
                explained_variance(part, decode[name](encode(part)))
                for part in (rows, unseen)
            ),
            faiss_fit if name == FAISS else own_fit,
        ]
        for name, encode in methods.items()
    }


def main() -> None:
    parser = new_parser(__doc__)
    add_data(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    import faiss

    faiss.omp_set_num_threads(arguments.threads)
    matrices = load_matrices(arguments.files, arguments.array, arguments.rows)
    for name, X in matrices.items():
        found = [
            measure(
                X,
                Task(arguments.layers, arguments.codes, seed, arguments.quick),
                arguments.turns,
            )
            for seed in arguments.seeds
        ]
        lines = []
        for method in found[0]:
            speed, *variances, fit = zip(*(each[method] for each in found), strict=True)
            lines.append(
                (
                    method,
                    mean_and_spread(speed, 3),
                    *(mean_and_spread(values, 4) for values in variances),
                    mean_and_spread(fit, 0),
                )
            )
        print(heading(name, X, arguments))
        print()
        print(mark_of_this_run(), end="\n\n")
        print(markdown_table(HEADER, lines))
        print(flush=True)


if __name__ == "__main__":
    main()

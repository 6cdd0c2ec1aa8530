"""What `transform` costs and reconstructs with each value of `rerank`, beside faiss.

One model a seed is fitted with the defaults. Times are processor times of this
process, the best of several turns in which the methods alternate, so that other
programs on the machine matter little. The unit is one call of `compute_codes` of
faiss's ResidualQuantizer with five beams, for the same rows and threads. Rows are
either the unseen ones alone, or all. For example::

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
# faiss takes longer for a row in one large call than in many small ones.
FAISS_IN_PARTS = "faiss, 256 rows a call"
ROWS_OF_A_CALL = 256
HEADER = ("method", "speed, unseen rows", "all rows", "fitted", "unseen", "fit, s")
Encode = Callable[[Matrix], Codes]


def encode_with(model: RQVAETransformer, rerank: bool, rows: Matrix) -> Codes:
    module = model.net_.module_
    fitted_with = module.rerank
    module.rerank = rerank
    try:
        return model.transform(rows)
    finally:
        module.rerank = fitted_with


def encode_in_parts(encode: Encode, rows: Matrix) -> Codes:
    starts = range(0, len(rows), ROWS_OF_A_CALL)
    parts = [encode(rows[start : start + ROWS_OF_A_CALL]) for start in starts]
    return np.concatenate(parts)


def shortest_times(
    methods: dict[str, Encode], rows: Matrix, n_turns: int
) -> dict[str, float]:
    """Processor seconds that each method takes for the rows, the best of all turns."""
    turns = [
        {
            name: processor_seconds(partial(encode, rows))
            for name, encode in methods.items()
        }
        for _ in range(n_turns)
    ]
    return {name: min(turn[name] for turn in turns) for name in methods}


def measure(X: Matrix, task: Task, n_turns: int) -> dict[str, list[float]]:
    """Speeds over faiss's, explained variances and seconds of the fit, by method."""
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
    methods[FAISS_IN_PARTS] = partial(encode_in_parts, faiss.encode)
    times = [shortest_times(methods, rows, n_turns) for rows in (unseen, X)]
    # As many fitted rows as unseen ones are enough for their explained variance.
    parts = (np.ascontiguousarray(fitted[: len(unseen)]), unseen)
    found = {}
    for name, encode in methods.items():
        is_ours = not name.startswith("faiss")
        decode = model.inverse_transform if is_ours else faiss.decode
        speeds = [of_rows[FAISS] / of_rows[name] for of_rows in times]
        variances = [explained_variance(part, decode(encode(part))) for part in parts]
        found[name] = [*speeds, *variances, own_fit if is_ours else faiss_fit]
    return found


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
            small, large, *variances, fit = zip(
                *(each[method] for each in found), strict=True
            )
            lines.append(
                (
                    method,
                    mean_and_spread(small, 3),
                    mean_and_spread(large, 3),
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

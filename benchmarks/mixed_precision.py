"""What training in bfloat16 does to what is explained, beside what a seed does.

Trains the package's nouns in float32 and in mixed precision from the same seeds. For
example::

    python benchmarks/mixed_precision.py --seeds 0 1 2 --epochs 20
"""

from __future__ import annotations

from time import perf_counter

import torch

from _arguments import conditions, new_parser
from _data import split_rows
from _table import markdown_table, mean_and_spread
from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns

HEADER = ("mixed_precision", "explained variance", "unseen", "seconds")


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    X = load_wordnet_nouns().data
    figures: dict[str, list[tuple[float, ...]]] = {"no": [], "bf16": []}
    for seed in arguments.seeds:
        fitted, unseen = split_rows(X, seed)
        for precision, found in figures.items():
            transformer = RQVAETransformer(
                max_epochs=2 if arguments.quick else arguments.epochs,
                mixed_precision=precision,
                random_state=seed,
            )
            start = perf_counter()
            transformer.fit(fitted)
            took = perf_counter() - start
            found.append((transformer.score(fitted), transformer.score(unseen), took))
    print(f"{arguments.epochs} epochs; {conditions(arguments)}", end="\n\n")
    rows = [
        [name, *(mean_and_spread(column) for column in zip(*found, strict=True))]
        for name, found in figures.items()
    ]
    print(mark_of_this_run(), end="\n\n")
    print(markdown_table(HEADER, rows))


if __name__ == "__main__":
    main()

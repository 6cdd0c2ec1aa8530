"""What a narrower decoder costs and reconstructs.

Fits the defaults and decoders of other widths on the same rows, and prints the
processor time of `fit` and `transform` relative to the defaults. For example::

    python benchmarks/decoder_width.py --widths 1024 4096 --seeds 0 1 2
    python benchmarks/decoder_width.py rows.npy
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch

from _arguments import add_data, heading, new_parser
from _contract import Matrix
from _data import load_matrices, split_rows
from _stopwatch import processor_seconds
from _table import markdown_table, mean_and_spread
from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer
from sk_rqvae.metrics import collision_rate, explained_variance

DEFAULT = "default"
HEADER = ("decoder width", "fit", "transform", "fitted", "unseen", "distinct IDs")


def measure(X: Matrix, width: int | None, seed: int, arguments: Any) -> list[float]:
    """Seconds of `fit` and `transform`, explained variances, share of distinct IDs."""
    fitted, unseen = split_rows(X, seed)
    model = RQVAETransformer(
        n_layers=arguments.layers,
        codebook_size=arguments.codes,
        decoder_hidden_dims=None if width is None else (width,),
        max_epochs=2 if arguments.quick else None,
        random_state=seed,
        device="cpu",
    )
    fit = processor_seconds(lambda: model.fit(fitted))
    transform = processor_seconds(lambda: model.transform(fitted))
    codes, unseen_codes = model.transform(fitted), model.transform(unseen)
    return [
        fit,
        transform,
        explained_variance(fitted, model.inverse_transform(codes)),
        explained_variance(unseen, model.inverse_transform(unseen_codes)),
        1 - collision_rate(codes),
    ]


def main() -> None:
    parser = new_parser(__doc__)
    add_data(parser)
    parser.add_argument("--widths", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name, X in load_matrices(
        arguments.files, arguments.array, arguments.rows
    ).items():
        found = {
            DEFAULT if width is None else str(width): [
                measure(X, width, seed, arguments) for seed in arguments.seeds
            ]
            for width in (*arguments.widths, None)
        }
        units = [fmean(each[column] for each in found[DEFAULT]) for column in range(2)]
        lines = []
        for width, rows in found.items():
            fit, transform, *shares = zip(*rows, strict=True)
            lines.append(
                (
                    width,
                    f"{fmean(fit) / units[0]:.2f}",
                    f"{fmean(transform) / units[1]:.2f}",
                    *(mean_and_spread(values) for values in shares),
                )
            )
        print(heading(name, X, arguments), mark_of_this_run(), sep="\n\n", end="\n\n")
        print(markdown_table(HEADER, lines), flush=True)


if __name__ == "__main__":
    main()

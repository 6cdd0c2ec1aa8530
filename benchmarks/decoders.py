"""What decoders with fewer experts, or with none, cost and reconstruct.

Fits the defaults, other numbers of experts, and decoders of one hidden layer without
experts on the same rows. Prints the processor time of `fit` and `transform` relative
to the defaults. For example::

    python benchmarks/decoders.py --experts 0 8 64 --widths 1024 8192 --seeds 0 1 2
    python benchmarks/decoders.py rows.npy
"""

from __future__ import annotations

from collections.abc import Mapping
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
HEADER = ("decoder", "fit", "transform", "fitted", "unseen", "distinct IDs")


def measure(
    X: Matrix, decoder: Mapping[str, Any], seed: int, arguments: Any
) -> list[float]:
    """Seconds of `fit` and `transform`, explained variances, share of distinct IDs."""
    fitted, unseen = split_rows(X, seed)
    model = RQVAETransformer(
        n_layers=arguments.layers,
        codebook_size=arguments.codes,
        max_epochs=2 if arguments.quick else None,
        random_state=seed,
        device="cpu",
        **decoder,
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
    parser.add_argument("--experts", type=int, nargs="*", default=[0, 8])
    parser.add_argument("--widths", type=int, nargs="*", default=[8192])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    decoders: dict[str, dict[str, Any]] = {
        **{f"{n} experts": {"n_experts": n} for n in arguments.experts},
        **{
            f"one layer of {width}": {"decoder_hidden_dims": (width,)}
            for width in arguments.widths
        },
        DEFAULT: {},
    }
    for name, X in load_matrices(
        arguments.files, arguments.array, arguments.rows
    ).items():
        # What is loaded on first use is no cost of the first decoder.
        measure(X[: 2 * arguments.codes], {}, 0, arguments)
        found = {
            decoder: [
                measure(X, parameters, seed, arguments) for seed in arguments.seeds
            ]
            for decoder, parameters in decoders.items()
        }
        units = [fmean(each[column] for each in found[DEFAULT]) for column in range(2)]
        lines = []
        for decoder, rows in found.items():
            fit, transform, *shares = zip(*rows, strict=True)
            lines.append(
                (
                    decoder,
                    f"{fmean(fit) / units[0]:.2f}",
                    f"{fmean(transform) / units[1]:.2f}",
                    *(mean_and_spread(values) for values in shares),
                )
            )
        print(heading(name, X, arguments), mark_of_this_run(), sep="\n\n", end="\n\n")
        print(markdown_table(HEADER, lines), flush=True)


if __name__ == "__main__":
    main()

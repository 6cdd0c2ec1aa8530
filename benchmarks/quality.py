"""Compare our transformer with other ways to the same number of bits.

Prints one Markdown table a data set. For example::

    python benchmarks/quality.py
    python benchmarks/quality.py embeddings.npy --seeds 0 --methods ours faiss

Packages other than this one and its dependencies come with the extra `bench`. See
``python benchmarks/quality.py --help``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from _arguments import add_data, heading, new_parser
from _contract import Matrix, Method, Task
from _data import load_matrices, split_rows
from _measures import Measures, error_ratios, measure
from _methods import FAISS, choose_methods, obstacle
from _table import NOTHING, markdown_table, mean_and_spread, means

HEADER = (
    "method",
    "explained variance",
    "unseen",
    "MSE / faiss",
    "unseen",
    "by prefix",
    "usage",
    "perplexity",
    "unique",
    "recall@10",
    "seconds",
)
CAPTION = """\
Explained variance is 1 - SSE/SST, of the rows fitted on and of unseen ones. MSE is over
that of the better faiss beam of the same split. "By prefix" is the explained variance
of fitted rows from their first 1, 2, ... codes, where the method offers it. Usage is
the share of codes used, of the worst level; perplexity is of each level; unique is the
share of distinct IDs; recall@10 is of neighbours by the distance of reconstructions;
seconds are those of fitting. With several seeds, means and standard deviations."""

Runs = dict[str, list[Measures]]


def main() -> None:
    arguments = _parse()
    task = Task(arguments.layers, arguments.codes, seed=0, quick=arguments.quick)
    methods = _without_obstacles(choose_methods(arguments.methods), task)
    matrices = load_matrices(arguments.files, arguments.array, arguments.rows)
    for name, X in matrices.items():
        runs = _run(methods, X, arguments)
        print(heading(name, X, arguments), end="\n\n")
        print(markdown_table(HEADER, _table_rows(runs)), end="\n\n")
    print(CAPTION, end="\n\n")
    for method in methods:
        print(f"- `{method.name}`: {method.description}.")


def _parse() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_data(parser)
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="PREFIX",
        help="beginnings of methods' names; default: all but random-*",
    )
    return parser.parse_args()


def _without_obstacles(methods: Sequence[Method], task: Task) -> list[Method]:
    """The methods that can run; a line for each reason that others cannot."""
    reasons = {method.name: obstacle(method, task) for method in methods}
    for reason in dict.fromkeys(filter(None, reasons.values())):
        names = [name for name, why in reasons.items() if why == reason]
        print(f"Left out {', '.join(names)}: {reason}.", file=sys.stderr)
    return [method for method in methods if reasons[method.name] is None]


def _run(methods: Sequence[Method], X: Matrix, arguments: argparse.Namespace) -> Runs:
    runs: Runs = {method.name: [] for method in methods}
    for seed in arguments.seeds:
        fitted, unseen = split_rows(X, seed)
        if len(fitted) < arguments.codes:
            raise SystemExit(
                f"--codes must be at most the number of fitted rows, {len(fitted)}. "
                f"Got {arguments.codes}."
            )
        task = Task(arguments.layers, arguments.codes, seed, arguments.quick)
        for method in methods:
            measures = measure(method, fitted, unseen, task)
            runs[method.name].append(measures)
            print(
                f"seed {seed}, {method.name}: {measures.variance:.4f} fitted, "
                f"{measures.unseen_variance:.4f} unseen, {measures.seconds:.1f} s",
                file=sys.stderr,
            )
    return runs


def _table_rows(runs: Runs) -> list[list[str]]:
    references = [run for name, run in runs.items() if name.startswith(FAISS)]
    by_seed = list(zip(*references, strict=True))
    return [_table_row(name, run, by_seed) for name, run in runs.items()]


def _table_row(
    name: str, run: list[Measures], references: Sequence[Sequence[Measures]]
) -> list[str]:
    return [
        name,
        mean_and_spread([each.variance for each in run]),
        mean_and_spread([each.unseen_variance for each in run]),
        *_ratio_cells(run, references),
        means([each.prefix_variances for each in run]),
        mean_and_spread([each.usage for each in run]),
        means([each.perplexity for each in run], digits=0),
        mean_and_spread([each.unique for each in run]),
        mean_and_spread([each.recall for each in run]),
        mean_and_spread([each.seconds for each in run], digits=1),
    ]


def _ratio_cells(
    run: list[Measures], references: Sequence[Sequence[Measures]]
) -> list[str]:
    if not references:
        return [NOTHING, NOTHING]
    pairs = [error_ratios(*each) for each in zip(run, references, strict=True)]
    return [mean_and_spread(ratios) for ratios in zip(*pairs, strict=True)]


if __name__ == "__main__":
    main()

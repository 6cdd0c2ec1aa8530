"""Compare our transformer with other ways to the same number of bits.

Prints one Markdown table a data set. For example::

    python benchmarks/quality.py --data nouns histories --seeds 0 1 2
    python benchmarks/quality.py embeddings.npy --seeds 0 --methods ours faiss

The data sets are those of `_datasets.py`, which `prepare_data.py` makes. Packages other
than this one and its dependencies come with the extra `bench`.

Results are kept in a file as they come, and the next call continues. Those of this
package are kept with a hash of its sources. The methods of this package may run on
another machine: append the file that it wrote to the one here, and call this script
with the same `--device`, and with `--code` if the sources have changed since.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans

from _arguments import add_data, heading, new_parser
from _contract import Matrix, Method, Task
from _data import load_matrices, sample_rows, split_rows
from _datasets import CACHE, DATA_SETS, load, origin
from _measures import Measures, error_ratios, measure
from _methods import FAISS, choose_methods, obstacle
from _records import Records, Result, code_version
from _table import NOTHING, markdown_table, mean_and_spread, means
from measured import mark_of_this_run
from sk_rqvae.metrics import explained_variance

OUR_NAMES = ("ours", "random")

HEADER = (
    "method",
    "explained variance",
    "unseen",
    "MSE / faiss",
    "unseen",
    "by prefix",
    "first code / k-means",
    "unseen",
    "usage",
    "perplexity",
    "unique",
    "recall@10",
    "seconds",
)
CAPTION = """\
Explained variance is 1 - SSE/SST, of the rows fitted on and of unseen ones. MSE is over
that of the better faiss beam of the same split. "By prefix" is the explained variance
of fitted rows from their first 1, 2, ... codes, where the method offers it. "First code
/ k-means" is the explained variance from the first code over that of k-means with as
many clusters as a codebook has codes. Usage is the share of codes used, of the worst
level; perplexity is of each level; unique is the share of distinct IDs; recall@10 is of
neighbours by the distance of reconstructions; seconds are those of fitting. With
several seeds, means and standard deviations."""

Runs = dict[str, list[Measures]]


@dataclass(frozen=True)
class Data:
    """A matrix under a name; `read` reads it when it is needed."""

    name: str
    read: Callable[[], Matrix]
    origin: str


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    task = Task(options.layers, options.codes, seed=0, quick=options.quick)
    methods = _without_obstacles(choose_methods(options.methods), task)
    records = Records(options.records)
    for data in _data(options):
        splits = [Split(data, seed, records, options) for seed in options.seeds]
        runs = _run(methods, splits)
        if options.no_table:
            continue
        kmeans = [split.kmeans() for split in splits]
        print(heading(data.name, data.read(), options), end="\n\n")
        print(f"It is {data.origin}. Ours ran on {options.device!r}.", end="\n\n")
        print(mark_of_this_run(), end="\n\n")
        print(markdown_table(HEADER, _table_rows(runs, kmeans)), end="\n\n")
    if options.no_table:
        return
    print(CAPTION, end="\n\n")
    for method in methods:
        print(f"- `{method.name}`: {method.description}.")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_data(parser)
    parser.add_argument(
        "--data", nargs="+", choices=DATA_SETS, default=["nouns"], help="without FILE"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="PREFIX",
        help="beginnings of methods' names; default: all but random-*",
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="of this package; default: CUDA, if there is a device",
    )
    parser.add_argument(
        "--records",
        type=Path,
        default=CACHE / "quality.jsonl",
        help="file of results; default: %(default)s",
    )
    parser.add_argument(
        "--no-table",
        action="store_true",
        help="keep results, for a table that is printed elsewhere",
    )
    parser.add_argument(
        "--code",
        default=code_version(),
        help="which sources this package's results are of; default: those here",
    )
    return parser.parse_args(arguments)


def _data(options: argparse.Namespace) -> list[Data]:
    if options.files:
        matrices = load_matrices(options.files, options.array, options.rows)
        return [Data(name, lambda X=X: X, "a file") for name, X in matrices.items()]
    return [
        Data(
            name,
            lambda name=name: sample_rows(load(name), options.rows),
            origin(name),
        )
        for name in options.data
    ]


def _without_obstacles(methods: Sequence[Method], task: Task) -> list[Method]:
    """The methods that can run; a line for each reason that others cannot."""
    reasons = {method.name: obstacle(method, task) for method in methods}
    for reason in dict.fromkeys(filter(None, reasons.values())):
        names = [name for name, why in reasons.items() if why == reason]
        print(f"Left out {', '.join(names)}: {reason}.", file=sys.stderr)
    return [method for method in methods if reasons[method.name] is None]


def _run(methods: Sequence[Method], splits: Sequence[Split]) -> Runs:
    """Measures of each method, by seed."""
    runs: Runs = {method.name: [] for method in methods}
    for split in splits:
        for method in methods:
            measures = split.measures(method)
            runs[method.name].append(measures)
            print(
                f"{split.data.name}, seed {split.seed}, {method.name}: "
                f"{measures.variance:.4f} fitted, {measures.unseen_variance:.4f} "
                f"unseen, {measures.seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    return runs


@dataclass
class Split:
    """One split of a matrix, and what is known of it."""

    data: Data
    seed: int
    records: Records
    options: argparse.Namespace

    @property
    def task(self) -> Task:
        """The bits and the seed of every method."""
        bits = self.options.layers, self.options.codes
        return Task(*bits, self.seed, self.options.quick, self.options.device)

    def measures(self, method: Method) -> Measures:
        """Those of a method, from the records or from a fit."""
        is_ours = method.name.startswith(OUR_NAMES)
        what = self._what(method.name)
        if is_ours:
            what |= {"code": self.options.code, "device": self.task.device}
        found = self.records.get(**what)
        if found is None:
            if is_ours and self.options.code != code_version():
                raise SystemExit(f"The records have no {what}, and the sources differ.")
            found = asdict(measure(method, *self._rows(), self.task))
            self.records.add(found, **what)
        return Measures(**found)

    def kmeans(self) -> Result:
        """Variance of both parts that k-means on the first explains."""
        what = self._what("kmeans")
        found = self.records.get(**what)
        if found is None:
            fitted, unseen = self._rows()
            model = KMeans(self.task.n_codes, random_state=self.task.seed).fit(fitted)
            centres = model.cluster_centers_
            explained = [
                explained_variance(X, centres[model.predict(X)])
                for X in (fitted, unseen)
            ]
            names = ("variance", "unseen_variance")
            found = dict(zip(names, explained, strict=True))
            self.records.add(found, **what)
        return found

    def _what(self, method: str) -> dict[str, object]:
        return {
            "data": self.data.name,
            "rows": self.options.rows,
            "method": method,
            "layers": self.task.n_layers,
            "codes": self.task.n_codes,
            "seed": self.task.seed,
            "quick": self.task.quick,
        }

    def _rows(self) -> tuple[Matrix, Matrix]:
        fitted, unseen = split_rows(self.data.read(), self.task.seed)
        if len(fitted) < self.task.n_codes:
            raise SystemExit(
                f"--codes must be at most the number of fitted rows, {len(fitted)}. "
                f"Got {self.task.n_codes}."
            )
        return fitted, unseen


def _table_rows(runs: Runs, kmeans: Sequence[Result]) -> list[list[str]]:
    references = [run for name, run in runs.items() if name.startswith(FAISS)]
    by_seed = list(zip(*references, strict=True))
    return [_table_row(name, run, by_seed, kmeans) for name, run in runs.items()]


def _table_row(
    name: str,
    run: list[Measures],
    references: Sequence[Sequence[Measures]],
    kmeans: Sequence[Result],
) -> list[str]:
    return [
        name,
        mean_and_spread([each.variance for each in run]),
        mean_and_spread([each.unseen_variance for each in run]),
        *_ratio_cells(run, references),
        means([each.prefix_variances for each in run]),
        *_first_code_cells(run, kmeans),
        mean_and_spread([each.usage for each in run]),
        means([each.perplexity for each in run], digits=0),
        mean_and_spread([each.unique for each in run]),
        mean_and_spread([each.recall for each in run]),
        mean_and_spread([each.seconds for each in run], digits=1),
    ]


def _first_code_cells(run: list[Measures], kmeans: Sequence[Result]) -> list[str]:
    if math.isnan(run[0].unseen_first_variance):
        return [NOTHING, NOTHING]
    shares = [
        (
            each.prefix_variances[0] / of_kmeans["variance"],
            each.unseen_first_variance / of_kmeans["unseen_variance"],
        )
        for each, of_kmeans in zip(run, kmeans, strict=True)
    ]
    return [mean_and_spread(each) for each in np.transpose(shares)]


def _ratio_cells(
    run: list[Measures], references: Sequence[Sequence[Measures]]
) -> list[str]:
    if not references:
        return [NOTHING, NOTHING]
    pairs = [error_ratios(*each) for each in zip(run, references, strict=True)]
    return [mean_and_spread(ratios) for ratios in zip(*pairs, strict=True)]


if __name__ == "__main__":
    main()

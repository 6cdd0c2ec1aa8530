"""Draw the pictures of the pages on the model and on quality from real runs.

Trains on the package's nouns, a tenth of them unseen, prints what the pictures show and
writes them to ``docs/_static``. Needs the extras ``bench`` and ``plot``. For example::

    python benchmarks/pictures.py --seeds 0 1

Training is shorter than by default, so that all of it takes minutes: 20 epochs, in
float32.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch

from _arguments import conditions, new_parser
from _contract import Matrix, Quantizer, Task
from _data import split_rows
from _drawing import Line, Panel, averaged, draw
from _faiss import fit_faiss
from _measures import prefix_variances
from _ours import fit_transformer
from _residual_kmeans import fit_residual_kmeans
from _table import markdown_table
from measured import mark_of_this_run
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.metrics import explained_variance

OUT = Path(__file__).parents[1] / "docs" / "_static"
SHORT: dict[str, Any] = {"max_epochs": 20, "mixed_precision": "no"}
N_LAYERS, N_CODES = 3, 256
FAISS = "faiss, 5 beams"
KMEANS = "residual k-means"
# Levels and codes that make IDs of as many bits.
SHAPES = {
    18: ((2, 512), (3, 64), (6, 8), (9, 4)),
    24: ((3, 256), (4, 64), (6, 16), (8, 8), (12, 4)),
}
FITTED = "explained variance, fitted rows"
UNSEEN = "explained variance, unseen rows"


class Split(NamedTuple):
    """Rows to fit on, rows held out, and how to fit."""

    fitted: Matrix
    unseen: Matrix
    seed: int
    quick: bool

    def task(self, n_layers: int = N_LAYERS, n_codes: int = N_CODES) -> Task:
        return Task(n_layers, n_codes, self.seed, self.quick)

    def ours(self, task: Task, **parameters: Any) -> Quantizer:
        return fit_transformer(self.fitted, task, **SHORT, **parameters)

    def variances(self, quantizer: Quantizer) -> tuple[float, float]:
        """Explained variance of fitted and of unseen rows."""
        fitted, unseen = (
            explained_variance(X, quantizer.decode(quantizer.encode(X)))
            for X in (self.fitted, self.unseen)
        )
        return fitted, unseen


def by_depth(split: Split) -> list[Panel]:
    """What the first codes of an ID explain: ours, faiss, residual k-means."""
    task = split.task()
    fits = {
        "ours": split.ours(task),
        FAISS: fit_faiss(split.fitted, task, n_beams=5),
        KMEANS: fit_residual_kmeans(split.fitted, task),
    }

    def panel(title: str, X: Matrix) -> Panel:
        return Panel(
            title,
            "codes of the ID",
            [str(depth) for depth in range(1, N_LAYERS + 1)],
            [
                Line(name, prefix_variances(fit, X, fit.encode(X)), colour)
                for colour, (name, fit) in enumerate(fits.items())
            ],
        )

    return [panel(FITTED, split.fitted), panel(UNSEEN, split.unseen)]


def by_shape(split: Split) -> list[Panel]:
    """What IDs of as many bits explain, of few large or many small codebooks."""

    def panel(n_bits: int) -> Panel:
        tasks = [split.task(*shape) for shape in SHAPES[n_bits]]
        ours = [split.variances(split.ours(task)) for task in tasks]
        theirs = [
            split.variances(fit_residual_kmeans(split.fitted, task)) for task in tasks
        ]
        ticks = [f"{task.n_layers} x {task.n_codes}" for task in tasks]
        lines = [
            Line(f"{name}, {rows}", values, colour, dashed=rows == "unseen")
            for colour, (name, pairs) in enumerate(
                {"ours": ours, KMEANS: theirs}.items()
            )
            for rows, values in zip(
                ("fitted", "unseen"), zip(*pairs, strict=True), strict=True
            )
        ]
        title = f"explained variance, {n_bits} bits"
        return Panel(title, "levels x codes", ticks, lines)

    return [panel(n_bits) for n_bits in SHAPES]


PICTURES: dict[str, Callable[[Split], list[Panel]]] = {
    "explained_by_depth": by_depth,
    "levels_or_codes": by_shape,
}


def table(panel: Panel) -> str:
    columns = zip(*(line.values for line in panel.lines), strict=True)
    return markdown_table(
        [panel.axis, *(line.name for line in panel.lines)],
        [
            [tick, *(f"{value:.3f}" for value in values)]
            for tick, values in zip(panel.ticks, columns, strict=True)
        ],
    )


def main() -> None:
    arguments = _parse()
    torch.set_num_threads(1)
    X = load_wordnet_nouns().data
    splits = [
        Split(*split_rows(X, seed), seed, arguments.quick) for seed in arguments.seeds
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(mark_of_this_run(), end="\n\n")
    print(conditions(arguments), end="\n\n")
    for name in arguments.only or PICTURES:
        start = perf_counter()
        panels = averaged([PICTURES[name](split) for split in splits])
        draw(panels, arguments.out / f"{name}.svg")
        print(f"{name}: {perf_counter() - start:.0f} s", file=sys.stderr)
        for panel in panels:
            print(f"**{name}**: {panel.title}\n\n{table(panel)}", end="\n\n")


def _parse() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the SVGs")
    parser.add_argument("--only", nargs="+", choices=PICTURES, help="draw but these")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""``sk-rqvae transform``: the IDs of a matrix's rows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._sklearn.progress_bars import progress_bar
from sk_rqvae.cli._blocks import Source
from sk_rqvae.cli._ids import check_id_path, open_ids
from sk_rqvae.cli._options import (
    add_force,
    add_items,
    add_model,
    opened_items,
    read_model,
    refuse_to_overwrite,
)

SUMMARY = "write the IDs of a matrix's rows"
DESCRIPTION = """\
Write the semantic IDs of the rows of a matrix.

A table of IDs has the column item_id, which is the key that --item-column names or else
the number of the row, and a column for each level: level_1, level_2 and so on. From
Python, SemanticIDIndex.from_table reads it. An .npy file has the codes alone, an .npz
file has them under the name codes. Rows are read and written in blocks, in little
memory, and the file is there when it is complete."""
EXAMPLES = """\
examples:
  sk-rqvae transform model items.npy -o ids.parquet
  sk-rqvae transform model items.parquet --item-column asin -o ids.csv
  sk-rqvae transform model items.npy | head            CSV, without -o"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.usage = "%(prog)s MODEL ITEMS [-o FILE] [--force] [options]"
    add_model(parser)
    add_items(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help=".npy, .npz, .parquet or .csv file; without it, CSV to standard output",
    )
    add_force(parser)


def run(options: argparse.Namespace) -> None:
    """Write IDs."""
    check_id_path(options.output)
    refuse_to_overwrite(options.output, options.force)
    model = read_model(options).set_params(verbose=0)
    # On a terminal, the IDs themselves show how far it is.
    shown = options.output is not None or not sys.stdout.isatty()
    with (
        opened_items(options) as source,
        progress_bar("transforming", source.n_rows, shown=shown) as advance,
        open_ids(options.output, len(model.codebooks_)) as append,
    ):
        n_done = 0
        for items, rows in _numbered(source):
            append(items, model.transform(rows))
            n_done += len(rows)
            advance(len(rows), f"{n_done} rows")


def _numbered(source: Source) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Blocks of rows with the keys of their items, or else their numbers."""
    n_before = 0
    for items, rows in source.blocks():
        numbers = np.arange(n_before, n_before + len(rows))
        yield numbers if items is None else items, rows
        n_before += len(rows)

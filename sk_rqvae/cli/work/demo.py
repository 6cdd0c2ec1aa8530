"""Train on nouns, or on a matrix, and print what the IDs are like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sk_rqvae import RQVAETransformer
from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae.cli.id_files.destination import open_ids
from sk_rqvae.cli.id_files.rows import Layout
from sk_rqvae.cli.matrix_files.mapped import mapped
from sk_rqvae.cli.matrix_files.opening import open_source
from sk_rqvae.cli.matrix_files.source import Reading
from sk_rqvae.cli.standard_streams import output_errors
from sk_rqvae.cli.work.fit import unfitted
from sk_rqvae.cli.work.progress import bars_unless
from sk_rqvae.datasets import load_wordnet_nouns

_NOUN_EPOCHS = 25  # of 54 by default, to finish in a few seconds
_PREFIXES_SHOWN = 8
_NOUNS_SHOWN = 6


def demo(
    items: Path | None, output: Path | None, parameters: dict[str, Any], *, quiet: bool
) -> None:
    """Train, print tables, and write IDs if there is a file for them.

    Parameters
    ----------
    items : Path or None
        The file of rows. None is 4000 nouns.
    output : Path or None
        ``.npy`` file for the IDs, which was checked.
    parameters : dict
        Of the transformer.
    quiet : bool
        Whether to show no progress.
    """
    with bars_unless(quiet):
        if items is None:
            nouns = load_wordnet_nouns()
            words = [text.split(":")[0].split(",")[0] for text in nouns.text]
            model = unfitted({"max_epochs": _NOUN_EPOCHS, **parameters})
            _show(model, nouns.data, words, output)
        else:
            model = unfitted(parameters)
            with (
                open_source(items, Reading()) as source,
                mapped(source) as (rows, _),
            ):
                _show(model, rows, None, output)


def _show(
    model: RQVAETransformer,
    rows: NDArray[Any],
    words: Sequence[str] | None,
    output: Path | None,
) -> None:
    console = Console(highlight=False)
    codes = model.fit_transform(rows)
    if output is not None:
        with open_ids(output, ".npy", Layout(codes.shape[1])) as append:
            append(np.arange(len(codes)), codes)
    report = model.report(rows)
    with output_errors():
        console.print(report, "")
        if words is not None:
            console.print(_by_prefix(codes, words))
        if output is not None:
            console.print(f"{len(codes)} IDs written to {output}", markup=False)


def _by_prefix(codes: IntArray, words: Sequence[str]) -> Table:
    """The longest lists of words that share a prefix, from different first codes.

    The prefix has two codes, or the only one.
    """
    shared = "the first two codes" if codes.shape[1] > 1 else "a code"
    table = Table(title=f"Nouns that share {shared}")
    table.add_column("prefix", justify="right")
    table.add_column("nouns")
    keys = row_keys(codes[:, :2])
    _, first_rows, counts = np.unique(keys, return_index=True, return_counts=True)
    shown: set[int] = set()
    for group in np.argsort(-counts, kind="stable"):
        prefix = codes[first_rows[group], :2]
        if len(shown) == _PREFIXES_SHOWN:
            break
        if int(prefix[0]) in shown:
            continue
        shown.add(int(prefix[0]))
        members = np.flatnonzero(keys == keys[first_rows[group]])
        listed = ", ".join(words[member] for member in members[:_NOUNS_SHOWN])
        more = len(members) - _NOUNS_SHOWN
        table.add_row(
            ", ".join(map(str, prefix.tolist())),
            listed + (f" and {more} more" if more > 0 else ""),
        )
    return table

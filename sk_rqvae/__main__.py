"""Train on embeddings and look at the semantic IDs: ``python -m sk_rqvae``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae._sklearn.progress_bars import bars_asked_for
from sk_rqvae._transformer import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns

_NOUN_EPOCHS = 25  # fewer than the default, to be done within a minute
_PREFIXES_SHOWN = 8
_NOUNS_SHOWN = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        rows, nouns = _load(options.items)
        model = RQVAETransformer(
            n_layers=options.n_layers,
            codebook_size=options.codebook_size,
            max_epochs=_NOUN_EPOCHS if options.items is None else None,
            random_state=options.seed,
        )
        output = _output(options.items, options.output)
        with bars_asked_for():
            codes = model.fit_transform(rows)
            if output is not None:
                np.save(output, codes)
            report = model.report(rows)
    except (OSError, TypeError, ValueError) as error:
        sys.stderr.write(f"sk_rqvae: {error}\n")
        return 2
    console.print(report, "")
    if nouns is not None:
        console.print(_by_prefix(codes, nouns))
    if output is not None:
        console.print(f"{len(codes)} IDs written to {output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sk_rqvae",
        description="Learn semantic IDs of embeddings and show what they are like.",
    )
    parser.add_argument(
        "items",
        nargs="?",
        type=Path,
        help=".npy file of an (n_items, dim) matrix; without it, 4000 WordNet nouns",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help=".npy file for the IDs; for items.npy the default is items-ids.npy",
    )
    parser.add_argument("--n-layers", type=int, default=3, help="codes an ID")
    parser.add_argument("--codebook-size", type=int, default=256, help="codes a layer")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _load(items: Path | None) -> tuple[NDArray[Any], list[str] | None]:
    if items is None:
        nouns = load_wordnet_nouns()
        return nouns.data, [text.split(":")[0].split(",")[0] for text in nouns.text]
    return np.load(items, mmap_mode="r", allow_pickle=False), None


def _output(items: Path | None, output: Path | None) -> Path | None:
    if output is None and items is not None:
        return items.with_name(f"{items.stem}-ids.npy")
    return output


def _by_prefix(codes: IntArray, nouns: Sequence[str]) -> Table:
    """The longest lists of nouns that share two codes, from different first codes."""
    table = Table(title="Nouns that share the first two codes")
    table.add_column("prefix", justify="right")
    table.add_column("nouns")
    keys = row_keys(codes[:, :2])
    _, first_rows, counts = np.unique(keys, return_index=True, return_counts=True)
    shown: set[int] = set()
    for place in np.argsort(-counts, kind="stable"):
        prefix = codes[first_rows[place], :2]
        if len(shown) == _PREFIXES_SHOWN:
            break
        if int(prefix[0]) in shown:
            continue
        shown.add(int(prefix[0]))
        members = np.flatnonzero(keys == keys[first_rows[place]])
        words = ", ".join(nouns[member] for member in members[:_NOUNS_SHOWN])
        more = len(members) - _NOUNS_SHOWN
        table.add_row(
            f"{prefix[0]}, {prefix[1]}",
            words + (f" and {more} more" if more > 0 else ""),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

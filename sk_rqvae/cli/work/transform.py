"""Write the IDs of the rows of a file."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sk_rqvae import RQVAETransformer
from sk_rqvae._sklearn.progress_bars import progress_bar
from sk_rqvae.cli.id_files.destination import open_ids
from sk_rqvae.cli.id_files.rows import Layout
from sk_rqvae.cli.matrix_files.fitted_columns import in_fitted_order
from sk_rqvae.cli.matrix_files.mapped import Mapped, mapped
from sk_rqvae.cli.matrix_files.opening import open_source
from sk_rqvae.cli.matrix_files.source import ROWS_AT_ONCE, Reading, Source
from sk_rqvae.cli.reading_models import read_model, without_names
from sk_rqvae.cli.work.last_line import say_result
from sk_rqvae.cli.work.progress import bars_unless
from sk_rqvae.cli.work.quality import Quality
from sk_rqvae.index import SemanticIDIndex


@dataclass(frozen=True)
class Wanted:
    """What is written.

    Attributes
    ----------
    policy : str
        ``"none"``, ``"suffix"`` or ``"reassign"``: what happens to rows that share an
        ID.
    as_tokens : bool
        Whether IDs are text.
    kind : str
        Format of the file, such as ``".csv"``.
    output : Path or None
        None is standard output.
    """

    policy: str
    as_tokens: bool
    kind: str
    output: Path | None


def transform(
    folder: Path,
    items: Path,
    reading: Reading,
    wanted: Wanted,
    *,
    device: str | None,
    quiet: bool,
) -> None:
    """Write IDs.

    With the policy ``"none"`` rows pass through in blocks, in little memory. Other
    policies need the codes of all rows at once.
    """
    started = time.monotonic()
    model = read_model(folder, device)
    layout = Layout(len(model.codebooks_), wanted.policy == "suffix", wanted.as_tokens)
    quality = None if quiet else Quality(without_names(model))
    # IDs on a terminal show the progress themselves.
    is_shown = wanted.output is None and sys.stdout.isatty()
    with bars_unless(quiet or is_shown), open_source(items, reading) as source:
        source = in_fitted_order(source, model)
        model = without_names(model)
        if wanted.policy == "none":
            _write_blocks(model, source, wanted, layout, quality)
        else:
            with mapped(source, keep_keys=True) as matrix:
                _write_unique(model, matrix, wanted, layout, quality)
    if quality is not None:
        seconds = time.monotonic() - started
        say_result("transformed", quality.measures(), seconds, wanted.output)


def _write_blocks(
    model: RQVAETransformer,
    source: Source,
    wanted: Wanted,
    layout: Layout,
    quality: Quality | None,
) -> None:
    n_rows = 0
    with (
        progress_bar("transforming", source.n_rows, shown=False) as on_progress,
        open_ids(wanted.output, wanted.kind, layout) as append,
    ):
        for block in source.read():
            codes = model.transform(block.rows)
            if quality is not None:
                quality.add(block.rows, codes, codes)
            keys = block.keys
            if keys is None:
                keys = np.arange(n_rows, n_rows + len(codes))
            append(keys, codes)
            n_rows += len(codes)
            on_progress(len(codes), f"{n_rows} rows")


def _write_unique(
    model: RQVAETransformer,
    matrix: Mapped,
    wanted: Wanted,
    layout: Layout,
    quality: Quality | None,
) -> None:
    rows, keys = matrix
    codes = model.transform(rows)
    needs: dict[str, Any] = {}
    if wanted.policy == "reassign":
        needs = {"X": rows, "model": model}
    index = SemanticIDIndex(policy=wanted.policy).fit(codes, keys, **needs)
    with open_ids(wanted.output, wanted.kind, layout) as append:
        for first in range(0, len(rows), ROWS_AT_ONCE):
            block = slice(first, first + ROWS_AT_ONCE)
            ids = index.ids_[block]
            if quality is not None:
                quality.add(rows[block], ids[:, : layout.n_layers], ids)
            append(index.item_ids_[block], ids)

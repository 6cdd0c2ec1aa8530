"""Print how well IDs describe the rows of a file."""

from __future__ import annotations

from pathlib import Path

from sk_rqvae.cli.json_text import json_text
from sk_rqvae.cli.matrix_files.fitted_columns import in_fitted_order
from sk_rqvae.cli.matrix_files.item_tables import Items, read_affinity
from sk_rqvae.cli.matrix_files.mapped import mapped
from sk_rqvae.cli.matrix_files.opening import open_source
from sk_rqvae.cli.matrix_files.source import Reading
from sk_rqvae.cli.reading_models import read_model, without_names
from sk_rqvae.cli.standard_streams import write_out
from sk_rqvae.cli.work.progress import bars_unless


def report(
    folder: Path,
    items: Path,
    reading: Reading,
    *,
    affinity: Path | None,
    device: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the table, or its columns as JSON."""
    model = read_model(folder, device)
    with (
        bars_unless(quiet),
        open_source(items, reading) as source,
        mapped(in_fitted_order(source, model), keep_keys=affinity is not None) as (
            rows,
            keys,
        ),
    ):
        pairs = None
        if affinity is not None:
            pairs = read_affinity(affinity, Items(keys, len(rows)))
        table = without_names(model).report(rows, pairs)
    columns = {name: column.tolist() for name, column in table.to_dict().items()}
    write_out(f"{json_text(columns) if as_json else table}\n")

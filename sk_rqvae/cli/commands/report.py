"""``sk-rqvae report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sk_rqvae.cli.grouped_command import GroupedCommand
from sk_rqvae.cli.options import (
    PATH,
    config_option,
    device_option,
    items_argument,
    model_argument,
    quiet_option,
    reading_options,
    text_format_option,
)
from sk_rqvae.cli.signals import clean_up_on_signals

if TYPE_CHECKING:
    from sk_rqvae.cli.matrix_files.source import Reading

_EXAMPLES = (
    "sk-rqvae report model items.npy",
    "sk-rqvae report model unseen.parquet --item-column asin",
    "sk-rqvae report model items.npy --affinity pairs.csv",
    "sk-rqvae report model items.npy --format json | python -m json.tool",
)


@click.command(
    "report",
    cls=GroupedCommand,
    examples=_EXAMPLES,
    short_help="Show how well the IDs describe a matrix's rows.",
)
@model_argument
@items_argument
@click.option(
    "--affinity",
    metavar="FILE",
    type=PATH,
    help="Pairs that belong together, as for fit. Adds the affinity lift.",
)
@text_format_option
@device_option
@config_option
@quiet_option
@reading_options
def report(
    model: Path,
    items: Path,
    affinity: Path | None,
    reading: Reading,
    format_name: str,
    device: str | None,
    quiet: bool,
) -> None:
    """Show how well the IDs of a matrix's rows describe them, level by level.

    Explained variance is 1 - SSE / SST of the rows reconstructed from the first codes
    of their IDs; it is at most 1. Usage is the share of a level's codes that some row
    has. Perplexity is the effective number of codes. Distinct counts different
    prefixes. Affinity lift is how much more often items that belong together share a
    prefix than all items do. JSON has one list per column.
    """
    from sk_rqvae.cli.matrix_files.item_tables import check_item_table
    from sk_rqvae.cli.matrix_files.opening import check_reading
    from sk_rqvae.cli.reading_models import check_model

    check_model(model, items, command="report")
    check_reading(items, reading)
    check_item_table("--affinity", affinity)
    from sk_rqvae.cli.work.report import report as run

    clean_up_on_signals()
    run(
        model,
        items,
        reading,
        affinity=affinity,
        device=device,
        as_json=format_name == "json",
        quiet=quiet,
    )

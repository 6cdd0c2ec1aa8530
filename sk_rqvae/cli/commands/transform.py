"""``sk-rqvae transform``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sk_rqvae.cli.grouped_command import GroupedCommand
from sk_rqvae.cli.options import (
    config_option,
    device_option,
    force_option,
    format_option,
    items_argument,
    model_argument,
    output_option,
    quiet_option,
    reading_options,
    tokens_option,
)
from sk_rqvae.cli.signals import clean_up_on_signals

if TYPE_CHECKING:
    from sk_rqvae.cli.matrix_files.source import Reading

_EXAMPLES = (
    "sk-rqvae transform model items.npy -o ids.parquet",
    "sk-rqvae transform model items.csv --item-column asin -o ids.csv",
    "sk-rqvae transform model items.npy --policy suffix --tokens -o ids.json",
    "sk-rqvae transform model items.npy | head",
)


@click.command(
    "transform",
    cls=GroupedCommand,
    examples=_EXAMPLES,
    short_help="Write the IDs of a matrix's rows.",
)
@model_argument
@items_argument
@output_option
@format_option
@click.option(
    "--policy",
    type=click.Choice(["none", "suffix", "reassign"]),
    default="none",
    help="Make IDs unique: suffix appends a number, reassign takes another ID that is "
    "free.  [none]",
)
@tokens_option
@force_option
@device_option
@config_option
@quiet_option
@reading_options
def transform(
    model: Path,
    items: Path,
    reading: Reading,
    output: Path | None,
    format_name: str | None,
    policy: str,
    tokens: bool,
    force: bool,
    device: str | None,
    quiet: bool,
) -> None:
    """Write the semantic IDs of the rows of a matrix.

    A table has the columns item_id, level_1, level_2 and so on. The item_id is the
    key that --item-column names, or the number of the row. An array has the codes
    alone. The file appears when it is complete.
    """
    from sk_rqvae.cli.id_files.destination import id_format
    from sk_rqvae.cli.matrix_files.opening import check_reading
    from sk_rqvae.cli.overwriting import check_output_file
    from sk_rqvae.cli.reading_models import check_model, files_of_model

    kind = id_format(output, format_name, as_tokens=tokens)
    check_model(model, items, command="transform")
    check_reading(items, reading)
    if output is not None:
        inputs = (items, *files_of_model(model))
        check_output_file(output, force=force, inputs=inputs)
    from sk_rqvae.cli.work.transform import Wanted
    from sk_rqvae.cli.work.transform import transform as run

    wanted = Wanted(policy, tokens, kind, output)
    clean_up_on_signals()
    run(model, items, reading, wanted, device=device, quiet=quiet)

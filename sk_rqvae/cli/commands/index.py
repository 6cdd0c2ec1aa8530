"""``sk-rqvae index``: the IDs of a catalogue in a file, and what is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sk_rqvae.cli.grouped_command import (
    DescribedArgument,
    GroupedCommand,
    GroupedProgram,
)
from sk_rqvae.cli.options import (
    PATH,
    device_option,
    force_option,
    format_option,
    items_argument,
    model_argument,
    output_option,
    quiet_option,
    reading_options,
    text_format_option,
    tokens_option,
)
from sk_rqvae.cli.signals import clean_up_on_signals

if TYPE_CHECKING:
    from sk_rqvae.cli.matrix_files.source import Reading

_EXAMPLES = (
    "sk-rqvae index build model items.parquet --item-column sku -o catalogue.index",
    "sk-rqvae index add catalogue.index model new.parquet --item-column sku",
    "sk-rqvae index lookup catalogue.index 12,3,250,0",
    "sk-rqvae index export catalogue.index --tokens -o ids.json",
    "sk-rqvae index realign catalogue.index new_model items.npy -o named_model",
)

_index_argument = click.argument(
    "index_path",
    metavar="INDEX",
    type=PATH,
    cls=DescribedArgument,
    description="File that index build has written.",
)


@click.group(
    "index",
    cls=GroupedProgram,
    examples=_EXAMPLES,
    short_help="Keep the IDs of a catalogue: build, add, remove, look up.",
)
def index() -> None:
    """Keep the IDs of a catalogue in one file.

    Every item has an ID of its own, and an ID never changes. A command either
    succeeds or leaves the file as it was.
    """


@index.command(
    "build",
    cls=GroupedCommand,
    examples=_EXAMPLES[:1],
    options_metavar="-o FILE [OPTIONS]",
    short_help="Make an index of a matrix's rows.",
)
@model_argument
@items_argument
@click.option(
    "-o", "--output", metavar="FILE", type=PATH, required=True, help="The index."
)
@click.option(
    "--policy",
    type=click.Choice(["none", "suffix", "reassign"]),
    default="suffix",
    help="How items with the same codes get IDs: suffix appends a number, reassign "
    "takes another ID that is free, none lets them share one.  [suffix]",
)
@force_option
@device_option
@quiet_option
@reading_options
def build(
    model: Path,
    items: Path,
    output: Path,
    reading: Reading,
    policy: str,
    force: bool,
    device: str | None,
    quiet: bool,
) -> None:
    """Give every row of a matrix an ID and write the index to a file.

    Items are known by the key that --item-column names, or by the number of the row.
    """
    from sk_rqvae.cli.matrix_files.opening import check_reading
    from sk_rqvae.cli.overwriting import check_output_file
    from sk_rqvae.cli.reading_models import check_model, files_of_model

    check_model(model, items, command="index build")
    check_reading(items, reading)
    inputs = (items, *files_of_model(model))
    check_output_file(output, force=force, inputs=inputs)
    from sk_rqvae.cli.work.index_growth import build_index

    clean_up_on_signals()
    build_index(model, items, reading, output, policy, device=device, quiet=quiet)


@index.command(
    "add",
    cls=GroupedCommand,
    examples=_EXAMPLES[1:2],
    short_help="Give new items IDs.",
)
@_index_argument
@model_argument
@items_argument
@click.option("--skip-known", is_flag=True, help="Leave out items that have an ID.")
@device_option
@quiet_option
@reading_options
def add(
    index_path: Path,
    model: Path,
    items: Path,
    reading: Reading,
    skip_known: bool,
    device: str | None,
    quiet: bool,
) -> None:
    """Give the rows of a matrix IDs in an index. No ID that exists changes.

    Without --item-column, all rows are new items and get the next numbers.
    """
    from sk_rqvae.cli.matrix_files.opening import check_reading
    from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
    from sk_rqvae.cli.reading_models import check_model

    check_regular_file(index_path)
    check_model(model, items, command=f"index add {index_path}")
    check_reading(items, reading)
    from sk_rqvae.cli.work.index_growth import add_to_index

    clean_up_on_signals()
    add_to_index(
        index_path,
        model,
        items,
        reading,
        skip_known=skip_known,
        device=device,
        quiet=quiet,
    )


@index.command(
    "remove",
    cls=GroupedCommand,
    examples=(
        "sk-rqvae index remove catalogue.index B00012 B00013",
        "cut -f1 sold_out.tsv | sk-rqvae index remove catalogue.index - --skip-unknown",
    ),
    short_help="Remove items.",
)
@_index_argument
@click.argument(
    "keys",
    metavar="KEY...",
    nargs=-1,
    required=True,
    cls=DescribedArgument,
    description="Keys of items; - reads a key a line from standard input.",
)
@click.option("--reuse", is_flag=True, help="Let other items have the IDs later.")
@click.option(
    "--skip-unknown", is_flag=True, help="Leave out keys that INDEX does not have."
)
@quiet_option
def remove(
    index_path: Path,
    keys: tuple[str, ...],
    reuse: bool,
    skip_unknown: bool,
    quiet: bool,
) -> None:
    """Remove items from an index, so that lookups no longer find them."""
    from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
    from sk_rqvae.cli.work.index_queries import remove_items

    check_regular_file(index_path)
    clean_up_on_signals()
    remove_items(index_path, keys, reuse=reuse, skip_unknown=skip_unknown, quiet=quiet)


@index.command(
    "lookup",
    cls=GroupedCommand,
    examples=(
        "sk-rqvae index lookup catalogue.index 12,3,250,0",
        "sk-rqvae index lookup catalogue.index --by prefix 12,3",
        "sk-rqvae index lookup catalogue.index --by key B00012 B00013",
    ),
    short_help="Find items by their IDs, or IDs by their items.",
)
@_index_argument
@click.argument(
    "wanted",
    metavar="WANTED...",
    nargs=-1,
    required=True,
    cls=DescribedArgument,
    description="IDs as 12,3 or <a_12><b_3>, or keys; - reads one a line.",
)
@click.option(
    "--by",
    type=click.Choice(["id", "prefix", "key"]),
    default="id",
    help="What WANTED are.  [id]",
)
@tokens_option
@format_option
def lookup(
    index_path: Path,
    wanted: tuple[str, ...],
    by: str,
    tokens: bool,
    format_name: str | None,
) -> None:
    """Print items and their IDs, in the order of WANTED."""
    from sk_rqvae.cli.id_files.destination import id_format
    from sk_rqvae.cli.matrix_files.regular_file import check_regular_file

    kind = id_format(None, format_name, as_tokens=tokens)
    check_regular_file(index_path)
    from sk_rqvae.cli.work.index_queries import look_up

    clean_up_on_signals()
    look_up(index_path, wanted, by, kind, as_tokens=tokens)


@index.command(
    "export",
    cls=GroupedCommand,
    examples=_EXAMPLES[3:4],
    short_help="Write all items and their IDs to a table or JSON.",
)
@_index_argument
@output_option
@format_option
@tokens_option
@force_option
@quiet_option
def export(
    index_path: Path,
    output: Path | None,
    format_name: str | None,
    tokens: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Write all items and their IDs, as transform does."""
    from sk_rqvae.cli.id_files.destination import id_format
    from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
    from sk_rqvae.cli.overwriting import check_output_file

    kind = id_format(output, format_name, as_tokens=tokens)
    check_regular_file(index_path)
    if output is not None:
        check_output_file(output, force=force, inputs=(index_path,))
    from sk_rqvae.cli.work.index_queries import export_index

    clean_up_on_signals()
    export_index(index_path, output, kind, as_tokens=tokens, quiet=quiet)


@index.command(
    "realign",
    cls=GroupedCommand,
    examples=(
        "sk-rqvae index realign catalogue.index new_model items.npy -o named_model",
        "sk-rqvae index build named_model items.npy -o new.index",
    ),
    options_metavar="-o FOLDER [OPTIONS]",
    short_help="Rename the codes of a new model so that most IDs are kept.",
)
@_index_argument
@model_argument
@items_argument
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    type=PATH,
    required=True,
    help="The model with renamed codes.",
)
@force_option
@quiet_option
@reading_options
def realign(
    index_path: Path,
    model: Path,
    items: Path,
    output: Path,
    reading: Reading,
    force: bool,
    quiet: bool,
) -> None:
    """Rename the codes of a new model so that most items keep their leading codes.

    Which code has which number is arbitrary, so a model that was trained anew gives all
    items other IDs. Build an index with the renamed model. INDEX stays as it is.
    """
    from sk_rqvae.cli.matrix_files.opening import check_reading
    from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
    from sk_rqvae.cli.overwriting import check_output_folder
    from sk_rqvae.cli.reading_models import check_model

    check_regular_file(index_path)
    check_model(model, items, command=f"index realign {index_path}")
    check_reading(items, reading)
    check_output_folder(output, force=force, inputs=(model,))
    from sk_rqvae.cli.work.index_realignment import realign_model

    clean_up_on_signals()
    realign_model(index_path, model, items, reading, output, quiet=quiet)


@index.command(
    "churn",
    cls=GroupedCommand,
    examples=("sk-rqvae index churn catalogue.index new.index",),
    short_help="Count the IDs that differ between two indexes.",
)
@click.argument(
    "before",
    metavar="BEFORE",
    type=PATH,
    cls=DescribedArgument,
    description="File that index build has written.",
)
@click.argument(
    "after",
    metavar="AFTER",
    type=PATH,
    cls=DescribedArgument,
    description="A later one, of the same items.",
)
@text_format_option
def churn(before: Path, after: Path, format_name: str) -> None:
    """Count what changes for those who use the IDs.

    Lists have a figure for the first code, for the first two, and so on.
    SemanticIDIndex.churn describes the figures.
    """
    from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
    from sk_rqvae.cli.work.index_queries import print_churn

    for path in (before, after):
        check_regular_file(path)
    clean_up_on_signals()
    print_churn(before, after, as_json=format_name == "json")


@index.command(
    "summary",
    cls=GroupedCommand,
    examples=("sk-rqvae index summary catalogue.index",),
    short_help="Show how many items and collisions there are.",
)
@_index_argument
@text_format_option
def summary(index_path: Path, format_name: str) -> None:
    """Show how many items an index has, and how many shared their codes."""
    from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
    from sk_rqvae.cli.work.index_queries import summarize

    check_regular_file(index_path)
    clean_up_on_signals()
    summarize(index_path, as_json=format_name == "json")

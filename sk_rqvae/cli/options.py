"""Arguments and options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sk_rqvae.cli.grouped_command import DescribedArgument, GroupedOption
from sk_rqvae.cli.parameter_types import Names, OneOf
from sk_rqvae.cli.settings_file import read_settings

_Function = TypeVar("_Function", bound=Callable[..., Any])
_READING = "Options for reading ITEMS"


class _Path(click.Path):
    """A path that is not empty, which would be the current folder."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The path."""
        if value == "":
            self.fail("A path must not be empty.", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)

model_argument = click.argument(
    "model",
    type=PATH,
    cls=DescribedArgument,
    description="Folder that fit has written.",
)
items_argument = click.argument(
    "items",
    type=PATH,
    cls=DescribedArgument,
    description="Matrix with a row an item: .npy, .npz, .csv or .parquet.",
)
device_option = click.option(
    "--device",
    help="Where to compute: cpu or cuda.  [as in fit]",
)
force_option = click.option(
    "--force", is_flag=True, help="Replace what -o names, if it exists."
)
output_option = click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=PATH,
    help=".csv, .parquet, .json, .npy or .npz file.  [standard output]",
)
format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice(["csv", "json", "npy", "npz", "parquet"]),
    help="Format of the output.  [by the ending of FILE, else csv]",
)
text_format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Format of the output: text, or one JSON object.  [text]",
)
tokens_option = click.option(
    "--tokens", is_flag=True, help="Write IDs as text, such as <a_12><b_3>."
)
quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Show no progress and no last line."
)
config_option = click.option(
    "--config",
    metavar="FILE",
    type=PATH,
    is_eager=True,
    expose_value=False,
    callback=read_settings,
    help="TOML file with options, which the command line overrides.",
)


def reading_options(function: _Function) -> _Function:
    """Add the options for reading a file of rows, passed on as `reading`."""

    @functools.wraps(function)
    def with_reading(
        item_column: str | None,
        columns: tuple[str, ...] | None,
        array: str | None,
        header: bool | None,
        unpack_limit: float | None,
        **others: Any,
    ) -> Any:
        from sk_rqvae.cli.matrix_files.source import Reading

        reading = Reading(item_column, columns, array, header, unpack_limit)
        return function(reading=reading, **others)

    for option in reversed(_READING_OPTIONS):
        with_reading = option(with_reading)
    return with_reading  # type: ignore[return-value]


_READING_OPTIONS = (
    click.option(
        "--item-column",
        metavar="NAME",
        cls=GroupedOption,
        group=_READING,
        help="Column of a table with the items' keys.",
    ),
    click.option(
        "--columns",
        type=Names(),
        cls=GroupedOption,
        group=_READING,
        help="Columns of a table with the numbers.  [all but the keys]",
    ),
    click.option(
        "--header/--no-header",
        default=None,
        cls=GroupedOption,
        group=_READING,
        help="Whether the first line of a CSV file has names.  [found out]",
    ),
    click.option(
        "--array",
        metavar="NAME",
        cls=GroupedOption,
        group=_READING,
        help="Array of an .npz file.  [its only one]",
    ),
    click.option(
        "--unpack-limit",
        metavar="MIB",
        type=OneOf(float),
        cls=GroupedOption,
        group=_READING,
        help="Most that .npz and .parquet files may unpack to.  [20 times the file, "
        "at least 100]",
    ),
)

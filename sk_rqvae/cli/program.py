"""The program: its commands, and what its exit status says."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from sk_rqvae import __version__
from sk_rqvae.cli.commands.completion import COMPLETE_VARIABLE, completion
from sk_rqvae.cli.commands.demo import demo
from sk_rqvae.cli.commands.explore import explore
from sk_rqvae.cli.commands.fit import fit
from sk_rqvae.cli.commands.index import index
from sk_rqvae.cli.commands.report import report
from sk_rqvae.cli.commands.transform import transform
from sk_rqvae.cli.failures import INTERRUPTED, described, exit_status, is_expected
from sk_rqvae.cli.grouped_command import GroupedProgram
from sk_rqvae.cli.matrix_files.csv_lines import long_fields
from sk_rqvae.cli.signals import exit_on_signals
from sk_rqvae.cli.standard_streams import (
    abandon_standard_output,
    closed_streams_are_null,
    output_errors,
)
from sk_rqvae.cli.terminal import PROGRAM, one_line_warnings, say

_EXAMPLES = (
    "sk-rqvae demo                                       see it work on nouns",
    "sk-rqvae fit items.npy -o model                     learn from all rows",
    "sk-rqvae report model items.npy                     see how good the IDs are",
    "sk-rqvae transform model items.npy -o ids.parquet   write an ID for each row",
)
_READER_IS_GONE = 1


@click.group(
    PROGRAM,
    cls=GroupedProgram,
    examples=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, message="%(version)s")
def program() -> None:
    """Learn semantic IDs of items from their embeddings.

    A semantic ID is a short tuple of codes; items that share a prefix are similar.
    Embeddings are a matrix with a row an item, in a .npy, .npz, .csv or .parquet file.
    """


for _command in (fit, transform, report, explore, index, demo, completion):
    program.add_command(_command)


@closed_streams_are_null()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments : sequence of str, default=None
        What was typed after the program's name. None is that of this process.

    Returns
    -------
    int
        The exit status: 0, 1 for a failure, 2 for a command line that is wrong, 130
        after Ctrl-C.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with exit_on_signals(), one_line_warnings(), long_fields():
            return _run(typed)
    except BrokenPipeError:
        # Who read the output, such as head, has enough.
        abandon_standard_output()
        return _READER_IS_GONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as missing:
        sys.stderr.write(f"{missing.format_message()}\n")
        return exit_status(missing)
    except Exception as error:
        if not (isinstance(error, click.UsageError) or is_expected(error)):
            raise
        say(f"error: {described(error)}")
        return exit_status(error)


def _run(typed: list[str]) -> int:
    instruction = os.environ.get(COMPLETE_VARIABLE)
    if instruction is not None:
        with output_errors():
            return shell_complete(program, {}, PROGRAM, COMPLETE_VARIABLE, instruction)
    try:
        # click itself prints the help and the version, while it reads the options.
        with output_errors():
            ctx = program.make_context(PROGRAM, typed)
        with ctx:
            program.invoke(ctx)
    except click.exceptions.Exit as done:
        return done.exit_code
    return 0

"""The program and its commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sk_rqvae import __version__
from sk_rqvae.cli import _fit, _report, _transform
from sk_rqvae.cli._terminal import one_line_warnings, say
from sk_rqvae.exceptions import DivergenceError

_PROGRAM = "sk-rqvae"
_COMMANDS: dict[str, Any] = {"fit": _fit, "transform": _transform, "report": _report}
_DESCRIPTION = """\
Learn semantic IDs of items from their embeddings: short tuples of codes in which items
that share a prefix are alike."""
_EXAMPLES = """\
a first session:
  sk-rqvae fit items.npy -o model                      learn from all rows
  sk-rqvae report model items.npy                      see what the IDs are worth
  sk-rqvae transform model items.npy -o ids.parquet    write an ID for each row
  sk-rqvae transform model items.npy | head            or look at some

items.npy has a row of numbers an item; .npz, .parquet and .csv files are read too.
sk-rqvae fit --help says more of each command."""
_ERROR = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with one_line_warnings(_PROGRAM):
            options.run(options)
    except BrokenPipeError:
        # Who read the output, head perhaps, has enough. Python would complain again
        # when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else error
        return _failed(message)
    except (DivergenceError, ImportError, MemoryError, TypeError, ValueError) as error:
        return _failed(error)
    return 0


def _failed(message: object) -> int:
    say(_PROGRAM, f"error: {message}")
    return _ERROR


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30)


class _Parser(argparse.ArgumentParser):
    """A parser that keeps the breaks of its texts, and has errors of one line."""

    def __init__(self, **how: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_formatter, **how)

    def error(self, message: str) -> NoReturn:
        say(self.prog, f"error: {message}; see {self.prog} --help")
        self.exit(_ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROGRAM, description=_DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        one = commands.add_parser(
            name,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            epilog=command.EXAMPLES,
        )
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser

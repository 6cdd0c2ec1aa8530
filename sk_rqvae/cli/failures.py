"""Errors as one line for a person, and as an exit status for a script."""

from __future__ import annotations

import difflib

import click

from sk_rqvae._persistence.atomic import DISK_IS_FULL
from sk_rqvae.exceptions import DivergenceError

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130

# How `_training/out_of_memory.py`, which imports torch, begins its advice, and the
# parameters that it names.
_HAS_ADVICE = "The device has not enough memory"
_LOWER = (
    "batch_size, resident_mb, hidden_dims, init_sample_size, n_beams, codebook_size, "
    "n_layers, embed_dim, decoder_hidden_dims, n_experts"
)
_OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")


class UsageError(ValueError):
    """The command line itself is wrong, whatever the files hold."""


def is_expected(error: BaseException) -> bool:
    """Whether an error is printed as one line. Others are defects with a traceback."""
    kinds = (DivergenceError, ImportError, KeyError, MemoryError, OSError, TypeError)
    return isinstance(error, (*kinds, ValueError)) or _is_out_of_memory(error)


def described(error: BaseException) -> str:
    """The message of an error: the cause and, if known, the remedy."""
    if isinstance(error, click.UsageError):
        return _usage(error)
    if _is_out_of_memory(error):
        return _memory(error)
    if isinstance(error, OSError) and error.strerror:
        return _system(error)
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__


def exit_status(error: BaseException) -> int:
    """2 if the command line is wrong, otherwise 1."""
    return WRONG_USAGE if isinstance(error, click.UsageError | UsageError) else FAILED


def _usage(error: click.UsageError) -> str:
    command = "sk-rqvae" if error.ctx is None else error.ctx.command_path
    return f"{_mistake(error)} See {command} --help."


def _mistake(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        # click suggests several, in alphabetical order.
        near = difflib.get_close_matches(
            error.option_name, error.possibilities or (), 1
        )
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"There is no option {error.option_name}.{hint}"
    message = error.format_message()
    return message if message.endswith((".", "?")) else f"{message}."


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        part in text for part in _OUT_OF_MEMORY
    )


def _memory(error: BaseException) -> str:
    message = str(error)
    if _HAS_ADVICE in message:
        return message
    return (
        f"Out of memory. Lower one of these parameters of fit: {_LOWER}. {message}"
    ).rstrip()


def _system(error: OSError) -> str:
    message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.errno in DISK_IS_FULL and not error.filename:
        return f"{message}. The variable TMPDIR names the folder of temporary files"
    return message

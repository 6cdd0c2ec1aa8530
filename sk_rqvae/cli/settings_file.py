"""Options from a TOML file."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

import click

from sk_rqvae.cli.matrix_files.regular_file import check_regular_file


def read_settings(
    ctx: click.Context, param: click.Parameter, path: Path | None
) -> None:
    """Let the table of a file that is named after the command give its options.

    Raises
    ------
    click.BadParameter
        If there is no such file, it is not TOML, or an option is unknown.
    """
    if path is None:
        return
    try:
        check_regular_file(path)
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{path} is not valid TOML: {error}") from error
    command = str(ctx.info_name)
    commands = set(ctx.parent.command.commands) if ctx.parent is not None else {command}  # type: ignore[attr-defined]
    for name, table in content.items():
        if name not in commands or not isinstance(table, dict):
            raise click.BadParameter(
                f"{path} must have a table for each command, such as [{command}]. Got "
                f"{name!r}."
            )
    ctx.default_map = _options(path, content.get(command, {}), ctx.command)


def _options(
    path: Path, table: dict[str, Any], command: click.Command
) -> dict[str, Any]:
    known = _names(command)
    options = {}
    for name, value in table.items():
        option = name.replace("-", "_")
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.BadParameter(f"{path} has the unknown option {name!r}.{hint}")
        options[known[option]] = value
    return options


def _names(command: click.Command) -> dict[str, str]:
    """The names that parameters have in click, by those that the user knows."""
    return {
        typed.removeprefix("--").replace("-", "_"): str(param.name)
        for param in command.params
        for typed in param.opts
        if (typed.startswith("--") or isinstance(param, click.Argument))
        and param.name not in ("config", "help")
    }

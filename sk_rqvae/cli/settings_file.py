"""Options from a TOML file."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

import click

from sk_rqvae.cli.matrix_files.regular_file import check_regular_file

SETTINGS = "sk_rqvae.settings"  # where a context has the path of the file
_TEXTS = (click.Path, click.Choice, click.types.StringParamType)
_NUMBERS = (click.types.IntParamType, click.types.FloatParamType)


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
    ctx.meta[SETTINGS] = path
    ctx.default_map = _options(path, content.get(command, {}), ctx.command)


def _options(
    path: Path, table: dict[str, Any], command: click.Command
) -> dict[str, Any]:
    known = _parameters(command)
    options = {}
    for name, value in table.items():
        option = name.replace("-", "_")
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.BadParameter(f"{path} has the unknown option {name!r}.{hint}")
        param = known[option]
        expected = _expected(param, value)
        if expected is not None:
            raise click.BadParameter(
                f"{path}, option {name!r} must be {expected}. Got {value!r}."
            )
        options[str(param.name)] = value
    return options


def _expected(param: click.Parameter, value: Any) -> str | None:
    """What a value must be, if it is of another type; texts are as if typed."""
    if isinstance(value, str):
        return None
    if isinstance(param.type, click.types.BoolParamType):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(param.type, _TEXTS):
        return "text"
    if isinstance(param.type, _NUMBERS) and not _is_number(value):
        return "a number"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parameters(command: click.Command) -> dict[str, click.Parameter]:
    """The parameters by the names that the user knows."""
    return {
        typed.removeprefix("--").replace("-", "_"): param
        for param in command.params
        for typed in param.opts
        if (typed.startswith("--") or isinstance(param, click.Argument))
        and param.name not in ("config", "help")
    }

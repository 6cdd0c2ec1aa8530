"""Options of the command line that are parameters of the transformer.

Names, kinds, defaults and descriptions are read from the transformer, so that they are
written in one place.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Sequence
from functools import partial
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from sk_rqvae._transformer import RQVAETransformer

# Objects of Python; what prints tables where IDs go; what needs an earlier model.
_NOT_OPTIONS = ("callbacks", "module", "verbose", "warm_start")
_READABLE = (NoneType, int, float, str)


class _Kind(NamedTuple):
    """What an option may stand for: one of some types, a sequence of some, or both."""

    alone: tuple[type, ...]
    in_sequence: tuple[type, ...]


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add an option for every parameter; those that are not given are not set."""
    group = parser.add_argument_group(
        "parameters of the model and its training",
        "Several numbers are written with commas, as in --hidden-dims 512,256,128,\n"
        "and none as in --hidden-dims=. The default is in brackets.",
    )
    described = _descriptions(inspect.getdoc(RQVAETransformer) or "")
    hints = get_type_hints(RQVAETransformer.__init__)
    for name, parameter in _parameters().items():
        text = f"{described.get(name, '')} [{_written(parameter.default)}]"
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            default=argparse.SUPPRESS,
            help=text.strip().replace("%", "%%"),
            **_reading(hints[name]),
        )


def given_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The parameters among the options that were given."""
    return {name: getattr(options, name) for name in _parameters() if name in options}


def _parameters() -> dict[str, inspect.Parameter]:
    signature = inspect.signature(RQVAETransformer)
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name not in _NOT_OPTIONS
    }


def _reading(hint: Any) -> dict[str, Any]:
    """How argparse reads the text of an option."""
    if hint is bool or bool in get_args(hint):
        return {"action": argparse.BooleanOptionalAction}
    kind = _kind(hint)
    return {"type": partial(_read, kind=kind), "metavar": _metavar(kind)}


def _kind(hint: Any) -> _Kind:
    if hint is Any:
        hint = str | Sequence[str]
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    sequences = [part for part in parts if get_origin(part) is Sequence]
    return _Kind(
        tuple(kind for kind in _READABLE if kind in parts),
        tuple(
            kind for kind in _READABLE for part in sequences if kind in part.__args__
        ),
    )


def _read(text: str, kind: _Kind) -> Any:
    if kind.in_sequence and ("," in text or not kind.alone):
        parts = text.split(",") if text else []
        return tuple(_read_one(part, kind.in_sequence) for part in parts)
    return _read_one(text, kind.alone)


def _read_one(text: str, kinds: tuple[type, ...]) -> Any:
    for kind in kinds:
        if kind is NoneType:
            if text.lower() == "none":
                return None
            continue
        try:
            return kind(text)
        except ValueError:
            continue
    expected = " or ".join(_name(kind) for kind in kinds)
    raise argparse.ArgumentTypeError(f"must be {expected}. Got {text!r}.")


def _metavar(kind: _Kind) -> str:
    name = _name((kind.alone or kind.in_sequence)[-1]).upper()
    return f"{name}[,{name}]" if kind.in_sequence else name


def _name(kind: type) -> str:
    return {NoneType: "none", str: "text"}.get(kind, kind.__name__)


def _written(default: Any) -> str:
    """A default as it would be given."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "none" if default is None else str(default)


def _descriptions(docstring: str) -> dict[str, str]:
    """What a docstring in numpydoc's format says of each parameter."""
    section = docstring.partition("Parameters\n")[2].partition("\n\n")[0]
    found = re.findall(r"^(\w+) : (.*)\n((?:    .*\n?)+)", section, re.MULTILINE)
    return {name: _plain(kind, text) for name, kind, text in found}


def _plain(kind: str, text: str) -> str:
    """A description without markup, after the choices that there are."""
    choices = re.match(r"\{([^}]*)\}", kind)
    lead = f"One of {choices[1]}. " if choices else ""
    return lead.replace('"', "") + " ".join(text.replace("`", "").split())

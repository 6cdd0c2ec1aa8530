"""Texts that can be printed, drawn and encoded."""

from __future__ import annotations

import unicodedata
from typing import Any


def printable(value: Any) -> str:
    """Convert a value to one line of text without control characters.

    Line breaks, tabs and control characters become single spaces. Lone surrogates,
    which no encoding can write, become U+FFFD.
    """
    return " ".join("".join(map(_printable, str(value))).split())


def _printable(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if category == "Cs" else character

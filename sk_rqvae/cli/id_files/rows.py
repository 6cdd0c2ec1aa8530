"""The layout of IDs in files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.formats.tokens import token_rows
from sk_rqvae.index.items import ITEM_COLUMN

TOKEN_COLUMN = "tokens"

# Writes the keys of some items and their IDs.
AppendIDs = Callable[[NDArray[Any], IntArray], None]


@dataclass(frozen=True)
class Layout:
    """The form in which IDs are written.

    Attributes
    ----------
    n_layers : int
        Codes that the model gives.
    has_suffix : bool
        Whether a suffix follows the codes.
    as_tokens : bool
        Whether an ID is text, such as ``<a_12><b_3>``, and not one number per column.
    """

    n_layers: int
    has_suffix: bool = False
    as_tokens: bool = False

    @property
    def n_columns(self) -> int:
        """Codes in an ID."""
        return self.n_layers + self.has_suffix

    def columns(self) -> list[str]:
        """The names of a table's columns."""
        if self.as_tokens:
            return [ITEM_COLUMN, TOKEN_COLUMN]
        levels = [f"level_{level + 1}" for level in range(self.n_layers)]
        return [ITEM_COLUMN, *levels, *(["suffix"] if self.has_suffix else [])]

    def fields(self, ids: IntArray) -> list[tuple[Any, ...]]:
        """The fields of a table for each ID: its codes, or one text."""
        if self.as_tokens:
            return [("".join(tokens),) for tokens in token_rows(ids)]
        return [tuple(codes) for codes in ids.tolist()]

    def elements(self, ids: IntArray) -> list[list[Any]]:
        """The elements of each ID: its tokens, or its codes."""
        if self.as_tokens:
            return [list(tokens) for tokens in token_rows(ids)]
        return ids.tolist()

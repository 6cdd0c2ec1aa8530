"""IDs as text: one token per code, with one letter per level."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence

import numpy as np

from sk_rqvae._checks.codes import IntArray

_CODE = r"(0|[1-9][0-9]{0,18})"


def level_name(level: int) -> str:
    """Name a level: a to z, then aa, ab and so on."""
    name = ""
    level += 1
    while level:
        level, letter = divmod(level - 1, 26)
        name = string.ascii_lowercase[letter] + name
    return name


def token(level: int, code: int) -> str:
    """Name a code at a level, such as ``<b_3>``."""
    return f"<{level_name(level)}_{code}>"


def level_tokens(level: int, width: int) -> list[str]:
    """List the tokens of all codes below `width` at a level."""
    name = level_name(level)
    return [f"<{name}_{code}>" for code in range(width)]


def token_rows(ids: IntArray) -> list[tuple[str, ...]]:
    """Split every ID into its tokens."""
    columns = []
    for level, column in enumerate(ids.T):
        codes, inverse = np.unique(column, return_inverse=True)
        names = np.array([token(level, code) for code in codes], dtype=object)
        columns.append(names[inverse].tolist())
    return list(zip(*columns, strict=True))


def parsed(texts: Iterable[str], n_columns: int) -> IntArray:
    """Read IDs from the texts of their tokens.

    Raises
    ------
    TypeError
        If one is not a string.
    ValueError
        If one is not `n_columns` tokens, one for each level in order, or a code does
        not fit in 64 bits.
    """
    pattern = re.compile(
        "".join(f"<{level_name(level)}_{_CODE}>" for level in range(n_columns))
    )
    rows = [_parsed_one(text, pattern, n_columns) for text in texts]
    return np.array(rows, dtype=np.int64).reshape(len(rows), n_columns)


def _parsed_one(text: str, pattern: re.Pattern[str], n_columns: int) -> Sequence[int]:
    if not isinstance(text, str):
        raise TypeError(f"tokens must be strings. Got {text!r}.")
    match = pattern.fullmatch(text)
    if match is None:
        expected = "".join(token(level, 0) for level in range(n_columns))
        raise ValueError(
            f"tokens must name one code per level. Got {text!r}, expected the form "
            f"{expected!r}."
        )
    codes = [int(code) for code in match.groups()]
    if max(codes) >= 2**63:
        raise ValueError(f"tokens must have codes below 2**63. Got {text!r}.")
    return codes

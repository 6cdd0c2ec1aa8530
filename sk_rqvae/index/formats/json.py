"""IDs as JSON: ``{item: ["<a_1>", "<b_2>", ...]}``."""

from __future__ import annotations

import json
import re
from typing import Any

from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae._persistence.regular_files import read_regular_file
from sk_rqvae.index.formats.native import PathLike
from sk_rqvae.index.formats.tokens import parsed, token_rows

_ROWS_AT_ONCE = 65536
# JSON writes characters beyond 16 bits as such a pair.
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def write_json(path: PathLike, ids: IntArray, items: NDArray[Any]) -> None:
    """Write ``{item: [token, ...]}``, one item per line.

    Raises
    ------
    ValueError
        If `read_json` would not give back the same items, or there is none.
    """
    if len(ids) == 0:
        raise ValueError(
            "the index must have at least one item to be written as JSON, which has no "
            "other place for the number of levels. Got none."
        )
    with atomic_write(path) as file:
        lead = "{\n"
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            block = slice(start, start + _ROWS_AT_ONCE)
            lines = [
                f"{_key(item)}: {json.dumps(tokens)}"
                for item, tokens in zip(
                    items[block].tolist(), token_rows(ids[block]), strict=True
                )
            ]
            file.write((lead + ",\n".join(lines)).encode())
            lead = ",\n"
        file.write(b"\n}\n")


def read_json(path: PathLike) -> tuple[IntArray, list[str]]:
    """Read IDs and items from ``{item: [token, ...]}``."""
    content = read_regular_file(path)
    try:
        # Some editors begin UTF-8 with a mark.
        text = content.decode("utf-8-sig")
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(pairs, _Pairs):
        raise ValueError(
            f"{path} must hold an object of items. Got {type(pairs).__name__}."
        )
    if not pairs:
        raise ValueError(f"{path} must hold at least one item. Got none.")
    for item, tokens in pairs:
        if not isinstance(tokens, list) or not all(isinstance(t, str) for t in tokens):
            raise ValueError(
                f"{path} must give every item a list of tokens. Got {tokens!r} for "
                f"item {item!r}."
            )
    n_columns = len(pairs[0][1])
    for item, tokens in pairs:
        if len(tokens) != n_columns:
            raise ValueError(
                f"{path} must give all items as many tokens. Got {len(tokens)} for "
                f"item {item!r}, expected {n_columns}."
            )
    try:
        ids = parsed(("".join(tokens) for _, tokens in pairs), n_columns)
    except ValueError as error:
        raise ValueError(f"{path} has other tokens than IDs: {error}") from error
    return ids, [item for item, _ in pairs]


def _key(item: str | int) -> str:
    name = str(item)
    if _PAIR.search(name):
        raise ValueError(
            "items must not have a high surrogate before a low one to be written as "
            f"JSON. Got {name!r}, which JSON gives back as "
            f"{json.loads(json.dumps(name))!r}."
        )
    return json.dumps(name)


class _Pairs(list[tuple[str, Any]]):
    """The pairs of a JSON object, repeated keys included."""

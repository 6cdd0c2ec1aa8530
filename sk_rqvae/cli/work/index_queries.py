"""Work on an index that needs no model and does not import torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae.cli.id_files.destination import open_ids
from sk_rqvae.cli.id_files.rows import Layout
from sk_rqvae.cli.json_text import json_text
from sk_rqvae.cli.matrix_files.source import ROWS_AT_ONCE
from sk_rqvae.cli.standard_streams import lines_of_standard_input, write_out
from sk_rqvae.cli.terminal import say
from sk_rqvae.cli.work.index_keys import check_known, keys_like, known_items
from sk_rqvae.cli.work.index_saving import save_changes, what_became_of
from sk_rqvae.index import SemanticIDIndex
from sk_rqvae.index.formats.tokens import parsed

_STANDARD_INPUT = "-"
_CODES = re.compile(r"\d{1,18}(?:,\d{1,18})*", re.ASCII)


def remove_items(
    path: Path, keys: Sequence[str], *, reuse: bool, skip_unknown: bool, quiet: bool
) -> None:
    """Remove items and write the index anew, unless there is nothing to remove."""
    index = SemanticIDIndex.load(path)
    words = _words(keys)
    if skip_unknown:
        words = list(dict.fromkeys(words))
        wanted = known_items(index, words)
    else:
        wanted = keys_like(index, np.array(words, dtype=object))
        check_known(index, wanted, path)
    if len(wanted):
        index.remove(wanted, reuse=reuse)
        save_changes(index, path)
    if not quiet:
        skipped = f", skipped {len(words) - len(wanted)}" if skip_unknown else ""
        say(
            f"removed {len(wanted)} items{skipped}, {len(index)} remain, "
            f"{what_became_of(path, changed=len(wanted) > 0)}"
        )


def look_up(
    path: Path, wanted: Sequence[str], by: str, kind: str, *, as_tokens: bool
) -> None:
    """Print items and their IDs.

    Parameters
    ----------
    path : Path
    wanted : sequence of str
        IDs, prefixes or keys.
    by : {"id", "prefix", "key"}
    kind : str
        Format of what is printed; see `id_format`.
    as_tokens : bool
        Whether IDs are printed as text.
    """
    index = SemanticIDIndex.load(path, mmap_mode="r")
    layout = _layout(index, as_tokens)
    words = _words(wanted)
    if not words:
        raise ValueError("Standard input must have a line. Got none.")
    if by == "key":
        keys = keys_like(index, np.array(words, dtype=object))
    elif by == "prefix":
        found = [index.items_with_prefix(_codes(word)) for word in words]
        keys = np.concatenate(found)
    else:
        keys = _items_of(index, [_codes(word) for word in words], layout.n_columns)
    with open_ids(None, kind, layout) as append:
        for first in range(0, len(keys), ROWS_AT_ONCE):
            block = keys[first : first + ROWS_AT_ONCE]
            append(block, index.ids_of(block))


def export_index(
    path: Path, output: Path | None, kind: str, *, as_tokens: bool, quiet: bool
) -> None:
    """Write all items and their IDs."""
    index = SemanticIDIndex.load(path, mmap_mode="r")
    keys, ids = index.item_ids_, index.ids_
    with open_ids(output, kind, _layout(index, as_tokens)) as append:
        # An empty block gives the keys of an empty table their type.
        for first in range(0, max(len(keys), 1), ROWS_AT_ONCE):
            block = slice(first, first + ROWS_AT_ONCE)
            append(keys[block], ids[block])
    if output is not None and not quiet:
        say(f"{len(keys)} items written to {output}")


def summarize(path: Path, *, as_json: bool) -> None:
    """Print the figures of an index, one a line."""
    index = SemanticIDIndex.load(path)
    _print_figures({**index.summary(), "revision": index.revision_}, as_json=as_json)


def print_churn(before: Path, after: Path, *, as_json: bool) -> None:
    """Print how the IDs of two indexes differ, one figure a line."""
    earlier, later = (SemanticIDIndex.load(path) for path in (before, after))
    _print_figures({**earlier.churn(later)}, as_json=as_json)


def _print_figures(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        text = json_text(figures)
    else:
        width = max(map(len, figures))
        text = "\n".join(f"{name:{width}}  {_shown(v)}" for name, v in figures.items())
    write_out(f"{text}\n")


def _words(typed: Sequence[str]) -> list[str]:
    """The arguments, with the lines of standard input in place of ``-``."""
    words: list[str] = []
    for word in typed:
        if word == _STANDARD_INPUT:
            words.extend(filter(None, lines_of_standard_input()))
        else:
            words.append(word)
    return words


def _codes(word: str) -> list[int]:
    """The codes of an ID or a prefix, typed as numbers or as tokens."""
    if _CODES.fullmatch(word):
        return [int(code) for code in word.split(",")]
    tokens = re.findall(r"<[^<>]*>", word)
    if tokens and "".join(tokens) == word:
        return parsed([word], len(tokens))[0].tolist()
    raise ValueError(f"An ID must be codes, such as 12,3, or tokens. Got {word!r}.")


def _items_of(index: SemanticIDIndex, ids: list[list[int]], width: int) -> NDArray[Any]:
    for codes in ids:
        if len(codes) != width:
            raise ValueError(
                f"An ID of this index has {width} codes. Got {len(codes)}: for items "
                "with a prefix, pass --by prefix."
            )
    found = index.lookup(np.array(ids))
    return np.concatenate(found) if isinstance(found, list) else found


def _layout(index: SemanticIDIndex, as_tokens: bool) -> Layout:
    return Layout(index.n_layers_, index.policy == "suffix", as_tokens)


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)

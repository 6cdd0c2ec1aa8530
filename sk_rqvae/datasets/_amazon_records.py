"""The lines of the Amazon review data, in the forms that they come in."""

from __future__ import annotations

import ast
import gzip
import html
import json
import math
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_KEY_OF_ITEM = re.compile(r"""asin['"]\s*:\s*['"]([^'"]*)['"]""")
_DOLLARS = re.compile(r"\$\s*(\d[\d,]*(?:\.\d+)?)")


class Item(NamedTuple):
    """What is known of an item, as clean text."""

    title: str = ""
    description: str = ""
    brand: str = ""
    price: float = math.nan
    categories: tuple[tuple[str, ...], ...] = ()


class Reviews(NamedTuple):
    """Who reviewed what, and when; each array has one entry a review."""

    users: NDArray[Any]
    items: NDArray[Any]
    times: NDArray[np.int64]


def read_reviews(path: Path) -> Reviews:
    """Read a ``reviews_*.json.gz``.

    Raises
    ------
    ValueError
        If a line is not a review.
    """
    users, items, times = [], [], []
    for place, line in _lines(path):
        record = parse_record(line, place)
        users.append(_required(record, "reviewerID", str, place))
        items.append(_required(record, "asin", str, place))
        times.append(_required(record, "unixReviewTime", int, place))
    if not users:
        raise ValueError(f"{path} must have at least one review. Got none.")
    return Reviews(np.array(users), np.array(items), np.array(times, dtype=np.int64))


def read_items(path: Path, wanted: AbstractSet[str]) -> dict[str, Item]:
    """Read the lines of a ``meta_*.json.gz`` that are about the items in `wanted`.

    Raises
    ------
    ValueError
        If such a line is not an item.
    """
    items = {}
    for place, line in _lines(path):
        # Most lines are about items without five reviews, and parsing takes long.
        keys = _KEY_OF_ITEM.findall(line)
        if keys and wanted.isdisjoint(keys):
            continue
        record = parse_record(line, place)
        key = _required(record, "asin", str, place)
        if key in wanted:
            items[key] = clean_item(record)
    return items


def parse_record(line: str, place: str) -> dict[str, Any]:
    """A line as a dictionary: JSON, or a literal of Python as in the data of 2014.

    Raises
    ------
    ValueError
        If it is neither.
    """
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        try:
            record = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(
                f"{place} must be JSON or a Python literal. Got {line[:60]!r}."
            ) from error
    if not isinstance(record, dict):
        raise ValueError(f"{place} must be an object. Got {line[:60]!r}.")
    return record


def clean_item(record: dict[str, Any]) -> Item:
    """The fields of an item, under the names of 2014 or of later releases."""
    return Item(
        title=_clean_text(record.get("title")),
        description=_clean_text(record.get("description")),
        brand=_clean_text(record.get("brand")),
        price=clean_price(record.get("price")),
        categories=_paths(record.get("categories", record.get("category"))),
    )


def clean_price(value: Any) -> float:
    """Dollars: a number, or the first of a text such as ``"$1,299.00 - $1,499.00"``."""
    if isinstance(value, int | float):
        return float(value)
    found = _DOLLARS.match(value.strip()) if isinstance(value, str) else None
    return float(found[1].replace(",", "")) if found else math.nan


def _clean_text(value: Any) -> str:
    """Text without HTML's escapes and line breaks; a list is joined."""
    if isinstance(value, list):
        return " ".join(filter(None, map(_clean_text, value)))
    return " ".join(html.unescape(value).split()) if isinstance(value, str) else ""


def _paths(value: Any) -> tuple[tuple[str, ...], ...]:
    """Paths of categories, from the root; later releases have one path an item."""
    if not isinstance(value, list) or not value:
        return ()
    paths = value if isinstance(value[0], list) else [value]
    return tuple(tuple(map(_clean_text, path)) for path in paths)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines that are not blank, after what to call them."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{path}, line {number}", line


def _required(record: dict[str, Any], key: str, kind: type, place: str) -> Any:
    value = record.get(key)
    if not isinstance(value, kind):
        raise ValueError(
            f"{place} must have {key!r} of type {kind.__name__}. Got {value!r}."
        )
    return value

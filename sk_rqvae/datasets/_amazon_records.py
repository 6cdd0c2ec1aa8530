"""Parse the lines of the Amazon review data, in the formats of all releases."""

from __future__ import annotations

import ast
import gzip
import html
import json
import math
import re
import zlib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.texts import printable

_ITEM_KEY = re.compile(r"""asin['"]\s*:\s*['"]([^'"]*)['"]""")
_DOLLARS = re.compile(r"\$\s*(\d[\d,]*(?:\.\d+)?)")
# Far above every line of the data. A line is kept in memory.
_MAX_LINE_BYTES = 16 * 2**20
_INT64_RANGE = range(-(2**63), 2**63)


class Item(NamedTuple):
    """The known fields of an item, as clean text."""

    title: str = ""
    description: str = ""
    brand: str = ""
    price: float = math.nan
    categories: tuple[tuple[str, ...], ...] = ()


class Reviews(NamedTuple):
    """User, item and time of each review."""

    users: NDArray[Any]
    items: NDArray[Any]
    times: NDArray[np.int64]


def read_reviews(path: Path) -> Reviews:
    """Read a ``reviews_*.json.gz``.

    Raises
    ------
    ValueError
        If a line is not a review, or the file is not a complete gzip file.
    """
    users, items, times = [], [], []
    for location, line in _lines(path):
        record = parse_record(line, location)
        users.append(_required(record, "reviewerID", str, location))
        items.append(_required(record, "asin", str, location))
        times.append(_time(record, location))
    if not users:
        raise ValueError(f"{path} must have at least one review. Got none.")
    return Reviews(np.array(users), np.array(items), np.array(times, dtype=np.int64))


def read_items(path: Path, wanted: AbstractSet[str]) -> dict[str, Item]:
    """Read the lines of a ``meta_*.json.gz`` that describe the items in `wanted`.

    Raises
    ------
    ValueError
        If such a line is not an item, or the file is not a complete gzip file.
    """
    items = {}
    for location, line in _lines(path):
        # Parsing is slow, and most lines describe items with fewer than five reviews.
        keys = _ITEM_KEY.findall(line)
        if keys and wanted.isdisjoint(keys):
            continue
        record = parse_record(line, location)
        key = _required(record, "asin", str, location)
        if key in wanted:
            items[key] = clean_item(record)
    return items


def parse_record(line: str, location: str) -> dict[str, Any]:
    """Parse a line as JSON, or as a Python literal as in the release of 2014.

    Parameters
    ----------
    line : str
    location : str
        File and line number, for the error message.

    Raises
    ------
    ValueError
        If the line is neither, or not an object.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        try:
            record = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(
                f"{location} must be JSON or a Python literal. Got {line[:60]!r}."
            ) from error
    if not isinstance(record, dict):
        raise ValueError(f"{location} must be an object. Got {line[:60]!r}.")
    return record


def clean_item(record: dict[str, Any]) -> Item:
    """Extract the fields of an item, with the names of 2014 or of later releases."""
    return Item(
        title=clean_text(record.get("title")),
        description=clean_text(record.get("description")),
        brand=clean_text(record.get("brand")),
        price=clean_price(record.get("price")),
        categories=_paths(record.get("categories", record.get("category"))),
    )


def clean_price(value: Any) -> float:
    """Convert a price to dollars.

    A price is a number or a text such as ``"$1,299.00 - $1,499.00"``, which gives the
    first of its numbers. Everything else gives NaN.
    """
    if isinstance(value, str):
        found = _DOLLARS.match(value.strip())
        return float(found[1].replace(",", "")) if found else math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        price = float(value)
    except OverflowError:
        return math.nan
    return price if math.isfinite(price) else math.nan


def clean_text(value: Any) -> str:
    """Resolve HTML escapes, and drop line breaks and control characters.

    The entries of a list are joined. Lone surrogates, which no encoding can write,
    become U+FFFD. Other types give an empty text.
    """
    if isinstance(value, list):
        return " ".join(filter(None, map(clean_text, value)))
    if not isinstance(value, str):
        return ""
    return printable(html.unescape(value))


def _paths(value: Any) -> tuple[tuple[str, ...], ...]:
    """Category paths from the root. Later releases have one path per item."""
    if not isinstance(value, list) or not value:
        return ()
    paths = [path for path in value if isinstance(path, list)] or [value]
    return tuple(tuple(map(clean_text, path)) for path in paths)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the location and the text of each line that is not blank."""
    number = 0
    try:
        with gzip.open(path) as lines:
            while line := lines.readline(_MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > _MAX_LINE_BYTES:
                    raise ValueError(
                        f"{path}, line {number} must have at most {_MAX_LINE_BYTES} "
                        "bytes. Got more."
                    )
                if line.strip():
                    yield f"{path}, line {number}", _decoded(line, path, number)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a complete gzip file. It cannot be read after line "
            f"{number}: {error}."
        ) from error


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, line {number} must be UTF-8: {error}.") from error


def _time(record: dict[str, Any], location: str) -> int:
    time: int = _required(record, "unixReviewTime", int, location)
    if isinstance(time, bool) or time not in _INT64_RANGE:
        raise ValueError(
            f"{location} must have a 'unixReviewTime' that fits in 64 bits."
        )
    return time


def _required(record: dict[str, Any], key: str, kind: type, location: str) -> Any:
    value = record.get(key)
    if not isinstance(value, kind):
        raise ValueError(
            f"{location} must have {key!r} of type {kind.__name__}. Got {value!r}."
        )
    return value

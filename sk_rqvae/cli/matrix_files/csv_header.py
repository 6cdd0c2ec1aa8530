"""Decide whether the first line of a CSV file has names or numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sk_rqvae.cli.matrix_files.source import Reading

# Stricter than float(), which takes 2_019 for a number.
_NUMBER = re.compile(
    r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)\s*",
    re.ASCII | re.IGNORECASE,
)
_COUNT = re.compile(r"\d+", re.ASCII)
# pandas writes the first, and reads it as the second.
_UNNAMED = ("", "Unnamed: 0")


def is_number(text: str) -> bool:
    """Whether a field is a number, written as other programs write numbers.

    Examples
    --------
    >>> is_number("-1.5e3"), is_number("2_019"), is_number("")
    (True, False, False)
    """
    return _NUMBER.fullmatch(text) is not None


def is_unnamed(name: str) -> bool:
    """Whether the name of a first column says that it labels the rows."""
    return name in _UNNAMED


def has_header(
    path: Path,
    first: Sequence[str],
    following: Sequence[Sequence[str]],
    reading: Reading,
) -> bool:
    """Whether the first line has names.

    It has if no field is a number, or if the numbers in it are 0, 1, 2 and so on, as in
    the headers that pandas makes of matrices, and the rows below are of another kind.

    Parameters
    ----------
    path : Path
        For error messages.
    first : sequence of str
        Fields of the first line.
    following : sequence of sequences of str
        Fields of some lines after it.
    reading : Reading

    Raises
    ------
    ValueError
        If the line can be read both ways.
    """
    if reading.has_header is not None:
        return reading.has_header
    asked = {reading.key_column, *(reading.columns or ())} - {None}
    if any(name in first and not is_number(str(name)) for name in asked):
        return True
    is_labelled = len(first) > 1 and is_unnamed(first[0])
    fields = first[1:] if is_labelled else first
    numbers = [field for field in fields if is_number(field)]
    if not numbers:
        return True
    if not all(map(_COUNT.fullmatch, numbers)):
        return False
    if is_labelled or len(numbers) < len(fields):
        below = [field for line in following for field in line if is_number(field)]
        if _is_numbering(numbers) or not all(map(_COUNT.fullmatch, below)):
            return True
        raise _can_be_both(path)
    return _counts_are_names(path, fields, following)


def _counts_are_names(
    path: Path, counts: Sequence[str], following: Sequence[Sequence[str]]
) -> bool:
    """Decide for a line of nothing but integers that are not negative."""
    if len(set(counts)) < len(counts):
        return False
    below = [field for line in following for field in line]
    are_others_counts = all(map(_COUNT.fullmatch, below))
    is_numbering = _is_numbering(counts)
    if is_numbering and not are_others_counts:
        return True
    if not is_numbering and are_others_counts:
        return False
    raise _can_be_both(path)


def _is_numbering(counts: Sequence[str]) -> bool:
    return list(counts) == [str(number) for number in range(len(counts))]


def _can_be_both(path: Path) -> ValueError:
    return ValueError(
        f"{path}, line 1 can be names or numbers. Pass --header or --no-header."
    )

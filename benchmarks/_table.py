"""Figures and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

NOTHING = "-"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns line up; the first is aligned left, the others right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    first, *others = (_line(row, widths) for row in cells)
    return "\n".join([first, _line(rule, widths), *others])


def mean_and_spread(values: Sequence[float], digits: int = 3) -> str:
    """The mean and, of several values, their standard deviation."""
    values = [float(value) for value in values]  # stdev fails on NumPy's floats
    mean = f"{fmean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {stdev(values):.{digits}f}"


def means(values: Sequence[Sequence[float]], digits: int = 3) -> str:
    """Means of several series, side by side."""
    series = zip(*values, strict=True)
    return " / ".join(f"{fmean(each):.{digits}f}" for each in series) or NOTHING


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    padded = [first.ljust(widths[0])]
    padded += [c.rjust(w) for c, w in zip(others, widths[1:], strict=True)]
    return f"| {' | '.join(padded)} |"

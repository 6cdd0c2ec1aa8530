"""A table of how well semantic IDs describe items, level by level."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.sparse import coo_array

from sk_rqvae._checks.codes import IntArray, n_distinct, row_keys
from sk_rqvae.metrics import codebook_perplexity, codebook_usage
from sk_rqvae.metrics._affinity import lift_of_pairs

FloatArray = NDArray[np.float64]

_HEADINGS = (
    "codes of the ID",
    "explained variance",
    "usage",
    "perplexity",
    "distinct",
)
_LIFT = "affinity lift"
_GAP = "  "


@dataclass(frozen=True, eq=False, repr=False)
class SemanticIDReport:
    """How well a model's semantic IDs describe some items, level by level.

    Returned by `RQVAETransformer.report`. It is shown as a table in a terminal and in a
    notebook.

    Attributes
    ----------
    n_items : int
        Number of items.
    codebook_size : ndarray of shape (n_layers,), int64
        Codes per level.
    explained_variance : ndarray of shape (n_layers,)
        ``1 - SSE / SST`` of the reconstruction from the first code, the first two codes
        and so on; at most 1. The last entry equals the model's `score`. It is of the
        rows alone, also if the model was fitted with `affinity`.
    usage : ndarray of shape (n_layers,)
        Share of the level's codes used by at least one item, in [0, 1]; see
        `metrics.codebook_usage`.
    perplexity : ndarray of shape (n_layers,)
        Effective number of codes, from 1 to `codebook_size`; see
        `metrics.codebook_perplexity`.
    n_distinct : ndarray of shape (n_layers,), int64
        Number of distinct prefixes of 1, 2, ... codes. The last entry counts distinct
        IDs.
    affinity_lift : ndarray of shape (n_layers,) or None
        How much more often items that belong together share a prefix than all items
        do; see `metrics.affinity_lift`. None if no affinity was given.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> X = np.random.default_rng(0).normal(size=(400, 4))
    >>> rq = RQVAETransformer(n_layers=2, codebook_size=8, max_epochs=5, random_state=0)
    >>> report = rq.fit(X).report(X)
    >>> print(report)
    codes of the ID  explained variance   usage  perplexity  distinct
            first 1               0...  100.0%    ... of 8         8
            first 2               0...  100.0%    ... of 8        ...
    ... different IDs for 400 items.
    >>> bool(report.explained_variance[-1] == rq.score(X))
    True
    """

    n_items: int
    codebook_size: IntArray
    explained_variance: FloatArray
    usage: FloatArray
    perplexity: FloatArray
    n_distinct: IntArray
    affinity_lift: FloatArray | None = None

    @property
    def n_unique(self) -> int:
        """Number of distinct IDs."""
        return int(self.n_distinct[-1])

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """The columns of the table, with one entry per level.

        Returns
        -------
        dict of str to ndarray of shape (n_layers,)
            `depth`, from 1, and the attributes that have one entry per level.
        """
        columns = {
            "depth": np.arange(1, len(self.usage) + 1),
            "explained_variance": self.explained_variance,
            "usage": self.usage,
            "perplexity": self.perplexity,
            "codebook_size": self.codebook_size,
            "n_distinct": self.n_distinct,
        }
        if self.affinity_lift is not None:
            columns["affinity_lift"] = self.affinity_lift
        return columns

    def to_frame(self) -> Any:
        """The table as a data frame.

        Returns
        -------
        pandas.DataFrame
            The columns of `to_dict`, with `depth` as the index.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install pandas.") from error
        return pd.DataFrame(self.to_dict()).set_index("depth")

    def __str__(self) -> str:
        headings, cells = table_of(self)
        lines = [headings, *cells]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            _GAP.join(
                cell.rjust(width) for cell, width in zip(line, widths, strict=True)
            )
            for line in lines
        ]
        return "\n".join([*texts, caption_of(self)])

    __repr__ = __str__

    def __rich__(self) -> Table:
        table = Table(caption=caption_of(self), caption_justify="left")
        headings, cells = table_of(self)
        for heading in headings:
            table.add_column(heading, justify="right")
        for line in cells:
            table.add_row(*line)
        return table

    def _repr_html_(self) -> str:
        headings, cells = table_of(self)
        head = _html_row("th", headings)
        body = "".join(_html_row("td", line) for line in cells)
        return (
            f"<table><caption>{escape(caption_of(self))}</caption>"
            f"<thead>{head}</thead><tbody>{body}</tbody></table>"
        )


def caption_of(report: SemanticIDReport) -> str:
    """How many different IDs there are, for how many items."""
    return f"{report.n_unique} different IDs for {report.n_items} items."


def table_of(report: SemanticIDReport) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the table, as texts."""
    headings = list(_HEADINGS)
    lines = [
        [
            f"first {depth}",
            f"{explained:.3f}",
            f"{usage:.1%}",
            f"{perplexity:.1f} of {size}",
            str(n_distinct),
        ]
        for depth, explained, usage, perplexity, size, n_distinct in zip(
            range(1, len(report.usage) + 1),
            report.explained_variance,
            report.usage,
            report.perplexity,
            report.codebook_size,
            report.n_distinct,
            strict=True,
        )
    ]
    if report.affinity_lift is not None:
        headings.append(_LIFT)
        for line, lift in zip(lines, report.affinity_lift, strict=True):
            line.append(f"{lift:.2f}")
    return headings, lines


def summarise(
    codes: IntArray,
    sizes: list[int],
    explained_variance: FloatArray,
    pairs: coo_array | None = None,
) -> SemanticIDReport:
    """Compute the report of some codes.

    Parameters
    ----------
    codes : ndarray of shape (n_items, n_layers), int64
    sizes : list of int
        Codes per level.
    explained_variance : ndarray of shape (n_layers,)
        Explained variance of the reconstructions from prefixes of each length.
    pairs : coo_array of shape (n_items, n_items), default=None
        Which items belong together, as `weighted_pairs` gives them.

    Returns
    -------
    SemanticIDReport
    """
    depths = range(1, len(sizes) + 1)
    distinct = [n_distinct(row_keys(codes[:, :depth])) for depth in depths]
    return SemanticIDReport(
        n_items=len(codes),
        codebook_size=np.array(sizes, dtype=np.int64),
        explained_variance=explained_variance,
        usage=codebook_usage(codes, sizes),
        perplexity=codebook_perplexity(codes, sizes),
        n_distinct=np.array(distinct, dtype=np.int64),
        affinity_lift=None if pairs is None else lift_of_pairs(codes, pairs),
    )


def _html_row(tag: str, cells: list[str]) -> str:
    inner = "".join(
        f'<{tag} style="text-align: right">{escape(cell)}</{tag}>' for cell in cells
    )
    return f"<tr>{inner}</tr>"

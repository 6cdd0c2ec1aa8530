"""Write the ID tree as one interactive HTML page without a server."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._checks.texts import printable

_FOLDER = "tree_page"
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
# Characters that could end the script element or begin a comment inside it.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def tree_html(
    codes: IntArray,
    names: Sequence[str] | None,
    labels: NDArray[Any] | None,
    title: str,
) -> str:
    """Insert items, style and script into the page.

    Parameters
    ----------
    codes : ndarray of shape (n_items, n_layers), int64
    names : sequence of str or None
        None numbers the items.
    labels : ndarray of shape (n_items,) or None
        Floats are shown as means, other labels as majorities.
    title : str

    Returns
    -------
    str
    """
    parts = {
        "title": html.escape(printable(title)),
        "style": _read("tree.css"),
        "script": _read("tree.js"),
        "data": _json(_items(codes, names, labels)),
    }
    # In one pass, so that a name such as {{script}} is not replaced.
    return _PLACEHOLDER.sub(lambda found: parts[found[1]], _read("tree.html"))


def _items(
    codes: IntArray, names: Sequence[str] | None, labels: NDArray[Any] | None
) -> dict[str, Any]:
    """Items sorted by ID, so that every prefix is a range of them."""
    order = np.lexsort(codes.T[::-1])
    items: dict[str, Any] = {
        "codes": [column.tolist() for column in codes[order].T],
        "rows": order.tolist(),
    }
    if names is not None:
        items["names"] = [printable(names[row]) for row in order.tolist()]
    if labels is not None and labels.dtype.kind == "f":
        # As many digits as a float32 has.
        items["values"] = [float(f"{value:.7g}") for value in labels[order].tolist()]
    elif labels is not None:
        distinct, label = np.unique(labels[order], return_inverse=True)
        items["labelNames"] = [printable(name) for name in distinct.tolist()]
        items["labels"] = label.tolist()
    return items


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&]", lambda found: _ESCAPES[found[0]], text)


def _read(name: str) -> str:
    return files(__package__).joinpath(_FOLDER, name).read_text(encoding="utf-8")

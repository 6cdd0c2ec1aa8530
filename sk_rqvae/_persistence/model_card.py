"""The model card: a README.md that says what a saved model is and how to load it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sk_rqvae
from sk_rqvae._inference.report import SemanticIDReport, caption_of, table_of
from sk_rqvae._persistence.json_values import plain_history
from sk_rqvae._persistence.regular_files import read_regular_file

CARD_NAME = "README.md"
ANY_NAME = "folder or user/name"

_FRONT_MATTER = """\
---
library_name: sk_rqvae
tags:
- semantic-ids
- rq-vae
- residual-quantization
- embeddings
- scikit-learn
---
"""
_MARK = "<!-- save_pretrained replaces this file while it is unchanged: sha256 {} -->"
_MARKED = re.compile(_MARK.format("([0-9a-f]{64})"))
_LONGEST_VALUE = 80


def model_card(
    estimator: Any, report: SemanticIDReport | None, name: str = ANY_NAME
) -> str:
    """Describe a fitted transformer in Markdown, with YAML front matter.

    Parameters
    ----------
    estimator : RQVAETransformer
        Fitted.
    report : SemanticIDReport or None
        Adds the table of the report.
    name : str, default="folder or user/name"
        What to load.

    Returns
    -------
    str
        Its last line has a checksum of the others, by which `is_own_card` knows it.
    """
    sizes = [len(codebook) for codebook in estimator.codebooks_]
    dim = estimator.codebooks_[0].shape[1]
    n_features = estimator.n_features_in_
    parts = [
        _FRONT_MATTER,
        "# Semantic IDs of embeddings\n",
        "A residual-quantised autoencoder (RQ-VAE) that turns an embedding of "
        f"{n_features} numbers into a semantic ID of {len(sizes)} codes. It was "
        f"trained with sk_rqvae {sk_rqvae.__version__}.\n",
        "## How to load it\n",
        _usage(estimator, name),
        "## Model\n",
        _table(
            ("", ""),
            {
                "Columns of the input": n_features,
                "Codes per level": ", ".join(map(str, sizes)),
                "Width of the latents": dim,
                "Epochs": estimator.n_iter_,
            }.items(),
        ),
        *_training(plain_history(estimator.net_.history)),
        *_report(report),
        "## Parameters\n",
        _table(("parameter", "value"), _parameters(estimator)),
    ]
    text = "\n".join(parts)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}\n{_MARK.format(digest)}\n"


def is_own_card(path: Path) -> bool:
    """Whether a file may be replaced by a card: there is none, or an unchanged card."""
    try:
        text = read_regular_file(path).decode()
    except FileNotFoundError:
        return True
    except UnicodeDecodeError:
        return False
    text, _, last = text[:-1].rpartition("\n")
    mark = _MARKED.fullmatch(last)
    return mark is not None and mark[1] == hashlib.sha256(text.encode()).hexdigest()


def _usage(estimator: Any, name: str) -> str:
    module, extra = estimator.net_.module, ""
    if not module.__module__.startswith("sk_rqvae."):
        extra = f", module={module.__name__}"
    return f"""\
```python
from sk_rqvae import RQVAETransformer

rq = RQVAETransformer.from_pretrained("{name}"{extra})
codes = rq.transform(X)  # X: float array of shape (n, {estimator.n_features_in_})
```
"""


def _training(history: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """The last row of the history."""
    if not history:
        return []
    entries = {
        name: _number(value)
        for name, value in history[-1].items()
        if isinstance(value, int | float | list) and name not in ("batches", "dur")
        if not name.endswith("_best") and not name.startswith("event_")
    }
    return ["## Last epoch of the training\n", _table(("", ""), entries.items())]


def _report(report: SemanticIDReport | None) -> Iterable[str]:
    if report is None:
        return []
    return [
        "## Report\n",
        _table(*table_of(report)),
        f"{caption_of(report)}\n",
    ]


def _parameters(estimator: Any) -> Iterable[tuple[str, str]]:
    for name, value in sorted(estimator.get_params(deep=False).items()):
        if name == "module":
            text = value.__qualname__
        elif name == "callbacks":
            text = "None"  # they are not saved
        else:
            text = repr(value)
        if len(text) > _LONGEST_VALUE:
            text = f"{text[:_LONGEST_VALUE]}..."
        yield name, f"`{text}`"


def _number(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_number, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(names: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    heads = list(names)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", r"\|").split())

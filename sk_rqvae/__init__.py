"""Semantic IDs from embeddings: a residual-quantised autoencoder for scikit-learn."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sk_rqvae._inference.report import SemanticIDReport
    from sk_rqvae._model.modes import QuantizeForwardMode
    from sk_rqvae._model.module import RQVAEModule
    from sk_rqvae._model.output import RQVAEOutput
    from sk_rqvae._transformer import RQVAETransformer
    from sk_rqvae.exceptions import (
        CollapseWarning,
        DivergenceError,
        IndexConflictError,
    )
    from sk_rqvae.index import SemanticIDIndex
    from sk_rqvae.preprocessing import BlockScaler

__version__ = "0.1.0.dev0"

__all__ = [
    "BlockScaler",
    "CollapseWarning",
    "DivergenceError",
    "IndexConflictError",
    "QuantizeForwardMode",
    "RQVAEModule",
    "RQVAEOutput",
    "RQVAETransformer",
    "SemanticIDIndex",
    "SemanticIDReport",
]

# Where each name is defined. They are imported when they are first used (PEP 562), so
# that a program that only looks IDs up does not wait for torch.
_HOMES = {
    "BlockScaler": "sk_rqvae.preprocessing",
    "CollapseWarning": "sk_rqvae.exceptions",
    "DivergenceError": "sk_rqvae.exceptions",
    "IndexConflictError": "sk_rqvae.exceptions",
    "QuantizeForwardMode": "sk_rqvae._model.modes",
    "RQVAEModule": "sk_rqvae._model.module",
    "RQVAEOutput": "sk_rqvae._model.output",
    "RQVAETransformer": "sk_rqvae._transformer",
    "SemanticIDIndex": "sk_rqvae.index",
    "SemanticIDReport": "sk_rqvae._inference.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(_HOMES[name])
    except AttributeError as error:  # which would read as if the name did not exist
        raise ImportError(f"{_HOMES[name]} cannot be imported: {error}") from error
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

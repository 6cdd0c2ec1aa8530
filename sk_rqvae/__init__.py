"""Semantic IDs from embeddings: a residual-quantised autoencoder for scikit-learn."""

from sk_rqvae._index import SemanticIDIndex
from sk_rqvae._modes import QuantizeForwardMode
from sk_rqvae._module import CoarseOutput, RQVAEModule, RQVAEOutput
from sk_rqvae._report import SemanticIDReport
from sk_rqvae._transformer import RQVAETransformer
from sk_rqvae.exceptions import CollapseWarning, DivergenceError

__version__ = "0.1.0"

__all__ = [
    "CoarseOutput",
    "CollapseWarning",
    "DivergenceError",
    "QuantizeForwardMode",
    "RQVAEModule",
    "RQVAEOutput",
    "RQVAETransformer",
    "SemanticIDIndex",
    "SemanticIDReport",
]

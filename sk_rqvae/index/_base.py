"""What all parts of the index share."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae._sklearn.doc_link import DocLink
from sk_rqvae.index._contents import Contents


class IndexBase(DocLink, BaseEstimator):
    """Parameters, contents and checks of `SemanticIDIndex`."""

    _contents: Contents

    def __init__(self, *, policy: str = "suffix", codebook_size: Any = None) -> None:
        self.policy = policy
        self.codebook_size = codebook_size

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_contents")

    def _fitted(self) -> Contents:
        try:
            return self._contents
        except AttributeError:
            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet. Call fit, load or "
                "from_json first."
            ) from None

    def _checked_ids(self, ids: ArrayLike) -> IntArray:
        ids = check_codes(ids, name="ids")
        expected = self._fitted().store.n_columns
        if ids.shape[1] != expected:
            raise ValueError(
                f"ids must have {expected} columns. Got {ids.shape[1]} columns."
            )
        return ids

    def _checked_codes(self, ids: ArrayLike) -> IntArray:
        ids = self._checked_ids(ids)
        store = self._fitted().store
        if store.sizes is not None:
            check_codes(ids[:, : store.n_layers], store.sizes, name="ids")
        return ids

"""How good a set of semantic IDs is, measured without training a recommender.

Every function takes NumPy arrays (or anything `numpy.asarray` turns into one) and
never sees an estimator. `X` is the matrix that was quantised, `X_rec` its
reconstruction, `codes` the ``(n_items, n_layers)`` matrix of IDs.
"""

from __future__ import annotations

from sk_rqvae.metrics._collisions import (
    colliding_share,
    collision_rate,
    duplicate_rate,
    worst_bucket_size,
)
from sk_rqvae.metrics._distances import (
    decoded_distance_correlation,
    prefix_distance_correlation,
)
from sk_rqvae.metrics._labels import prefix_label_agreement
from sk_rqvae.metrics._neighbors import (
    decoded_neighbor_recall,
    prefix_neighbor_recall,
)
from sk_rqvae.metrics._reconstruction import explained_variance, reconstruction_error
from sk_rqvae.metrics._usage import (
    codebook_entropy,
    codebook_gini,
    codebook_perplexity,
    codebook_usage,
)

__all__ = [
    "codebook_entropy",
    "codebook_gini",
    "codebook_perplexity",
    "codebook_usage",
    "colliding_share",
    "collision_rate",
    "decoded_distance_correlation",
    "decoded_neighbor_recall",
    "duplicate_rate",
    "explained_variance",
    "prefix_distance_correlation",
    "prefix_label_agreement",
    "prefix_neighbor_recall",
    "reconstruction_error",
    "worst_bucket_size",
]

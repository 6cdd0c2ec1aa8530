"""Metrics of semantic IDs.

Every function takes arrays, or anything that ``numpy.asarray`` converts to one, and no
estimator. `X` holds the rows that were quantised, `X_rec` their reconstructions, and
`codes` their IDs, of shape ``(n_items, n_layers)``. The package needs neither torch nor
skorch.
"""

from __future__ import annotations

from sk_rqvae.metrics._affinity import affinity_lift
from sk_rqvae.metrics._churn import id_churn
from sk_rqvae.metrics._codebook_usage import (
    codebook_entropy,
    codebook_gini,
    codebook_perplexity,
    codebook_usage,
)
from sk_rqvae.metrics._collisions import (
    colliding_share,
    collision_rate,
    duplicate_rate,
    worst_bucket_size,
)
from sk_rqvae.metrics._distance_correlation import (
    decoded_distance_correlation,
    prefix_distance_correlation,
)
from sk_rqvae.metrics._generated_ids import GeneratedIDScores, score_generated_ids
from sk_rqvae.metrics._label_agreement import prefix_label_agreement
from sk_rqvae.metrics._neighbor_recall import (
    decoded_neighbor_recall,
    prefix_neighbor_recall,
)
from sk_rqvae.metrics._popularity import popularity_groups
from sk_rqvae.metrics._reconstruction import explained_variance, reconstruction_error

__all__ = [
    "GeneratedIDScores",
    "affinity_lift",
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
    "id_churn",
    "popularity_groups",
    "prefix_distance_correlation",
    "prefix_label_agreement",
    "prefix_neighbor_recall",
    "reconstruction_error",
    "score_generated_ids",
    "worst_bucket_size",
]

"""Figures that say how good the IDs of an index are."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae.index.policies.duplicates import n_repeated
from sk_rqvae.index.policies.moves import Moves


class IndexSummary(TypedDict):
    """What `SemanticIDIndex.summary` returns; described there."""

    policy: str
    n_items: int
    n_unique: int
    colliding_share: float
    worst_bucket: int
    exact_duplicates: int | None
    suffix_codes: int | None
    n_moved: int
    moved_at_level: list[int]
    added_error: float | None


def summarized(
    policy: str, codes: IntArray, moves: Moves, digests: IntArray | None
) -> IndexSummary:
    """Summarise items that have `codes`, ``(n, n_layers)``, after `moves`."""
    n_items = len(codes)
    keys = np.sort(row_keys(moves.undone(codes)))
    borders = np.flatnonzero(np.diff(keys)) + 1
    buckets = np.diff(borders, prepend=0, append=n_items) if n_items else borders
    worst = int(buckets.max(initial=0))
    return IndexSummary(
        policy=policy,
        n_items=n_items,
        n_unique=len(buckets),
        colliding_share=float(buckets[buckets > 1].sum() / max(1, n_items)),
        worst_bucket=worst,
        exact_duplicates=None if digests is None else n_repeated(digests),
        suffix_codes=worst if policy == "suffix" else None,
        n_moved=len(moves.rows),
        moved_at_level=moves.by_level(codes),
        added_error=_added_error(moves, n_items),
    )


def _added_error(moves: Moves, n_items: int) -> float | None:
    if np.isnan(moves.added_errors).any():
        return None
    return float(moves.added_errors.sum() / max(1, n_items))

"""Figures that describe the IDs of an index."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from sk_rqvae._checks.codes import row_keys
from sk_rqvae.index.policies.duplicates import n_repeated
from sk_rqvae.index.policies.moves import moves_by_level
from sk_rqvae.index.state import IndexState


class IndexSummary(TypedDict):
    """The report of `SemanticIDIndex.summary`, described there."""

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


def summarized(state: IndexState) -> IndexSummary:
    """Summarise the items that are not removed."""
    rows = state.store.live_rows()
    ids = state.store.ids_of(rows)
    codes = ids[:, : state.store.n_layers]
    moved = state.moves.of(rows)
    given = state.moves.given(rows, codes)
    _, buckets = np.unique(row_keys(given), return_counts=True)
    numbered = state.rules.policy == "suffix"
    digests = state.digests
    errors = moved.added_errors
    return IndexSummary(
        policy=state.rules.policy,
        n_items=len(ids),
        n_unique=len(buckets),
        colliding_share=float(buckets[buckets > 1].sum() / max(1, len(ids))),
        worst_bucket=int(buckets.max(initial=0)),
        exact_duplicates=None if digests is None else n_repeated(digests.values[rows]),
        suffix_codes=int(ids[:, -1].max(initial=-1)) + 1 if numbered else None,
        n_moved=len(moved.rows),
        moved_at_level=moves_by_level(moved, codes),
        added_error=(
            None if np.isnan(errors).any() else float(errors.sum() / max(1, len(ids)))
        ),
    )

"""Displays in the style of scikit-learn: what a model learned, to look at.

Each has ``from_estimator``, for a fitted transformer or a Pipeline that has one in it,
and a constructor for data that are there already. They need matplotlib, which the extra
``plot`` installs. Colours stand out on light and on dark backgrounds.
"""

from __future__ import annotations

from sk_rqvae.plotting._codebook_usage import CodebookUsageDisplay
from sk_rqvae.plotting._id_tree import IDTreeDisplay
from sk_rqvae.plotting._item_map import ItemMapDisplay
from sk_rqvae.plotting._training_history import TrainingHistoryDisplay

__all__ = [
    "CodebookUsageDisplay",
    "IDTreeDisplay",
    "ItemMapDisplay",
    "TrainingHistoryDisplay",
]

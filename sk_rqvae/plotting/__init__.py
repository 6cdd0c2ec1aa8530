"""Plots of what a model learned, in the style of scikit-learn's displays.

Each display has ``from_estimator``, for a fitted transformer or a Pipeline that
contains one, and ``from_codes`` or ``from_history`` for existing data. They need
matplotlib, which the extra ``plot`` installs. Colours are readable on light and on dark
backgrounds.
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

"""Amazon reviews of 2014, which TIGER reports on. Needs a network."""

from __future__ import annotations

from pathlib import Path

from generative_recommender.interactions import Interactions
from sk_rqvae.datasets import fetch_amazon_items


def load_amazon(category: str, cache: Path, **options: object) -> Interactions:
    """Read the items of a category and the sequences of reviewers.

    Parameters
    ----------
    category : str
        See `fetch_amazon_items`.
    cache : Path
        Where the files are kept.
    options : dict
        Further arguments of `fetch_amazon_items`.
    """
    items = fetch_amazon_items(category, data_home=cache, **options)
    return Interactions(items.text.tolist(), items.sequences)

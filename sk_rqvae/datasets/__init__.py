"""Data sets for examples, tests and benchmarks. Loading needs no torch."""

from __future__ import annotations

from ._amazon import fetch_amazon_items
from ._wordnet import load_wordnet_nouns

__all__ = ["fetch_amazon_items", "load_wordnet_nouns"]

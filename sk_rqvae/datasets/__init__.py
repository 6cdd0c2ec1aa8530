"""Data sets that come with the package, for examples and tests."""

from __future__ import annotations

from ._wordnet import load_wordnet_nouns

__all__ = ["load_wordnet_nouns"]

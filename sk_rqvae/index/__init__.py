"""Semantic IDs of a catalogue: lookup, changes, files and constrained decoding."""

from __future__ import annotations

from sk_rqvae.index.decoding.trie import IDTrie
from sk_rqvae.index.realignment import RealignedModel
from sk_rqvae.index.semantic_id_index import SemanticIDIndex

__all__ = ["IDTrie", "RealignedModel", "SemanticIDIndex"]

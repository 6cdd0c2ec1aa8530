"""Semantic IDs in use."""

from __future__ import annotations

from sk_rqvae.index.semantic_id_index import SemanticIDIndex

__all__ = ["SemanticIDIndex"]

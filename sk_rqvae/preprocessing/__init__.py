"""Transformers that prepare rows for a quantizer. Needs no torch."""

from __future__ import annotations

from sk_rqvae.preprocessing._block_scaler import BlockScaler

__all__ = ["BlockScaler"]

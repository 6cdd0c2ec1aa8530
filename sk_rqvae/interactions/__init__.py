"""From what users did to which items belong together. Needs no torch."""

from __future__ import annotations

from sk_rqvae.interactions._cooccurrence import cooccurrence

__all__ = ["cooccurrence"]

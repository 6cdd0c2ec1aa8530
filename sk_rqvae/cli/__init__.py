"""The command line program, ``sk-rqvae``."""

from __future__ import annotations

from sk_rqvae.cli.program import main

__all__ = ["main"]

"""The command line, ``sk-rqvae``."""

from __future__ import annotations

from sk_rqvae.cli._main import main

__all__ = ["main"]

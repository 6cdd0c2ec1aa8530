"""What the configuration of a saved model is called, for readers without torch."""

from __future__ import annotations

CONFIG_NAME = "config.json"
FORMAT = "sk_rqvae"

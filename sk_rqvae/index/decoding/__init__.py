"""Decoding that is constrained to the IDs that exist."""

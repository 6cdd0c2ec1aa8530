"""Validation of parameters, rows and codes."""

"""Checks of parameters, rows and codes."""

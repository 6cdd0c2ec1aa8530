"""Sorted keys: the structures that every query goes through."""

"""Policies for items whose codes are taken."""

"""Ties to scikit-learn and to the terminal: callbacks, Pipelines, progress bars."""

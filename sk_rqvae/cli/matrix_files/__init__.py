"""Matrices in files: NumPy arrays, CSV and Parquet tables."""

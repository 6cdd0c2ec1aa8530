"""Files of semantic IDs: NumPy arrays, CSV and Parquet tables, JSON."""

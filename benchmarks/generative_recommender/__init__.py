"""Which IDs recommend better: data, IDs, recommenders, records and tables."""

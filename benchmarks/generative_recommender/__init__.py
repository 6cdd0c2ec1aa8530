"""A small generative recommender on semantic IDs, end to end."""

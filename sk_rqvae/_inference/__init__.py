"""Apply a trained model to rows, and report how well its IDs describe them."""

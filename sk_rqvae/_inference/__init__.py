"""Apply a model to rows, and describe the result."""

"""Training: the four steps of a fit, and what they are made of."""

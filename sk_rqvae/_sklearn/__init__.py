"""Integration with scikit-learn and the terminal."""

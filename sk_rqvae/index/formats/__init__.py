"""Files of IDs and IDs as text."""

"""What happens to an item whose codes are taken."""

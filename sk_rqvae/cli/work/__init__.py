"""What the commands do, once they are told what to do."""

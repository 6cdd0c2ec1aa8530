"""What can be typed. These modules import nothing that makes the help slow."""

"""The work of the commands, after their arguments are parsed."""

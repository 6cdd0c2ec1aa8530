"""The commands. These modules import nothing that makes the help slow."""

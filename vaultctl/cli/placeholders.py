"""What stands, among the candidates of a completion, for names that are only known when they are asked for."""

FILES = ":files"
"""Stands for the names of files, which the shell knows better."""

CONTEXTS = ":contexts"
"""Stands for the names of contexts, which are looked up."""

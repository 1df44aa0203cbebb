"""The command line: a file for each noun, and printing. It talks to a vault through the SDK and nothing else.

On the way to ``--help`` and to a completion nothing of the vault is imported, hence the imports inside functions.
"""

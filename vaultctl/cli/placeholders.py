"""What stands, among the candidates of a completion, for names that are only known when they are asked for."""

FILES = ":files"
"""Stands for the names of files, which the shell knows better."""

CONTEXTS = ":contexts"
PROFILES = ":profiles"
TENANTS = ":tenants"
CREDENTIALS = ":credentials"
PEOPLE = ":people"
AGENTS = ":agents"
TOKENS = ":tokens"
SESSIONS = ":sessions"
LEASES = ":leases"

LOOKED_UP = (CONTEXTS, PROFILES, TENANTS, CREDENTIALS, PEOPLE, AGENTS, TOKENS, SESSIONS, LEASES)
"""Those that :mod:`vaultctl.client.names` knows, by the word behind the colon."""

VARIABLES = ":variables"
"""Stands for ``VARIABLE=CREDENTIAL``."""

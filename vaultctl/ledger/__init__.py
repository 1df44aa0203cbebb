"""The append-only log of a tenant: what an entry's bytes are. Pure; it reads and writes nothing."""

"""The append-only log of a tenant: entries, Merkle tree, tiles, checkpoints. Pure; it reads and writes nothing."""

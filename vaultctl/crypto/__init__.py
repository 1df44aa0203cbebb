"""Sealing, the places where the root key is kept, and the secrets of tokens. Knows nothing of stores."""

"""HMAC-SHA256 over the rows that grant authority: writing to the database grants nothing."""

import hmac
from collections.abc import Sequence

import msgspec


def row_mac(key: bytes, table: str, values: Sequence[str | int | bytes | None]) -> bytes:
    """The authentication code of a row: table name and column values in order, unambiguously encoded."""
    return hmac.digest(key, msgspec.msgpack.encode((table, values)), "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Whether two codes are equal, in constant time. What is no code at all, as a database may hold, equals none."""
    return isinstance(one, bytes) and isinstance(other, bytes) and hmac.compare_digest(one, other)

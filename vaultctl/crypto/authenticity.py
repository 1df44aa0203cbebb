"""HMAC-SHA256 over the rows that grant authority: writing to the database grants nothing."""

import hmac

import msgspec

_ENCODER = msgspec.msgpack.Encoder()


def row_mac(key: bytes, table: str, row: object) -> bytes:
    """The authentication code of a row: the table's name and the row, unambiguously encoded as MessagePack."""
    return hmac.digest(key, _ENCODER.encode((table, row)), "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Whether two codes are equal, in constant time. What is no code at all, as a database may hold, equals none."""
    return isinstance(one, bytes) and isinstance(other, bytes) and hmac.compare_digest(one, other)

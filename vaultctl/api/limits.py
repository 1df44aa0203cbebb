"""How much and how long: what bounds a server against clients that are slow, greedy or hostile."""

from typing import NamedTuple

MIB = 1024 * 1024


class Limits(NamedTuple):
    """Bounds of a server. Times are in seconds.

    Attributes:
        head_bytes: Most bytes of a request line with its headers.
        body_bytes: Most bytes of a request body.
        message_bytes: Most bytes of a request as it travels, framing and what is thrown away included.
        head_seconds: Within which a request line and its headers are complete.
        body_seconds: Within which a body is complete.
        idle_seconds: How long a connection stays open without a request.
        write_seconds: Within which a client takes 64 KiB of what waits for it.
        connections: Above which further ones are told to come back later.
        connections_of_source: Above which further ones of the same source are closed at once.
        pipelined: Most requests of one connection that wait for one before them.
        streams: Most event streams at a time.
        streams_of_tenant: Most event streams of one tenant at a time.
        streams_of_token: Most event streams of one token at a time.
        poll_seconds: How long a stream waits at most before it looks for new entries.
        heartbeat_seconds: How long a stream stays silent at most.
    """

    head_bytes: int = 32 * 1024
    body_bytes: int = MIB
    message_bytes: int = 16 * MIB
    head_seconds: float = 10.0
    body_seconds: float = 15.0
    idle_seconds: float = 60.0
    write_seconds: float = 30.0
    connections: int = 1_000
    connections_of_source: int = 500
    pipelined: int = 16
    streams: int = 256
    streams_of_tenant: int = 64
    streams_of_token: int = 16
    poll_seconds: float = 1.0
    heartbeat_seconds: float = 10.0


USUAL = Limits()

"""What a server is told when it starts. Loads nothing, so that the command line can fill it in."""

from typing import Literal, NamedTuple

LogFormat = Literal["json", "text"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8200
DEFAULT_MCP_PORT = 8201
DEFAULT_GRACE = 10.0
DEFAULT_IDLE = 900.0
MCP_PATH = "/mcp"


class ServerOptions(NamedTuple):
    """How a server serves.

    Attributes:
        listen_host: Name or address to listen on.
        listen_port: Port to listen on; 0 takes a free one.
        database: The store; None takes that of the environment, else what ``init`` noted.
        tls_cert: File with the certificate chain in PEM; None serves plain HTTP.
        tls_key: File with its private key in PEM.
        allow_plain_http: Whether plain HTTP may leave the machine.
        token_rate: Requests a minute of a token that has no limit of its own; None for no limit.
        connections_of_source: Most connections of one source; None for half of all that there may be.
        grace_seconds: How long a server that was told to stop goes on with what it has accepted.
        log_format: JSON lines for programs, or text for people.
        idle_seconds: How long an agent that speaks MCP may be silent before its leases end.
        hosts: Names that agents call the server by, besides those of this machine's loopback.
        origins: Web pages that may speak MCP, besides those of this machine's loopback.
    """

    listen_host: str = DEFAULT_HOST
    listen_port: int = DEFAULT_PORT
    database: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    allow_plain_http: bool = False
    token_rate: int | None = None
    connections_of_source: int | None = None
    grace_seconds: float = DEFAULT_GRACE
    log_format: LogFormat = "json"
    idle_seconds: float = DEFAULT_IDLE
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

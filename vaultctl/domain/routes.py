"""Which HTTP exchange carries which request: one table for the server, the remote client and the OpenAPI document.

Paths are below ``/v1``. A ``{field}`` of a path is a field of the request by its JSON name; the other fields travel as
query parameters of a GET and as a JSON object in the body of anything else. The field ``{path}``, at the end of a path,
is all the segments that come there. Answers are JSON, but for ``bytes``, which are answered as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from vaultctl.domain import records
from vaultctl.domain import requests as ask
from vaultctl.domain.records import Page

Method = Literal["GET", "POST", "PATCH", "DELETE"]

PREFIX = "v1"
REST = "path"
"""The field of a path that has all the segments which come at its place."""


class Route(NamedTuple):
    """How one kind of request travels.

    Attributes:
        method: The HTTP method.
        segments: The path below the prefix, by segment.
        answer: The type of the answer.
        status: The status of a successful answer.
        query: Query parameters that are not named like the field, by the field's JSON name.
        text: The field that is the answer for whoever does not ask for JSON, if there is one.
    """

    method: Method
    segments: tuple[str, ...]
    answer: Any
    status: int = 200
    query: Mapping[str, str] = {}
    text: str | None = None

    @property
    def path_fields(self) -> tuple[str, ...]:
        """JSON names of the fields that are in the path."""
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))

    @property
    def media_type(self) -> str:
        """The type of the body of a successful answer."""
        return "application/octet-stream" if self.answer is bytes else "application/json"

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it."""
        return "/" + "/".join((PREFIX, *self.segments))


def _route(method: Method, path: str, answer: Any, status: int = 200, **query: str) -> Route:
    return Route(method, tuple(path.strip("/").split("/")), answer, status, query)


ROUTES: dict[type[ask.Request[Any]], Route] = {
    ask.CreateCredential: _route("POST", "/credentials", records.Credential, 201),
    ask.ImportCredentials: _route("POST", "/credentials/import", records.ImportResult),
    ask.ListCredentials: _route("GET", "/credentials", Page[records.Credential]),
    ask.GetCredential: _route("GET", "/credentials/{name}", records.Credential),
    ask.UpdateCredential: _route("PATCH", "/credentials/{name}", records.Credential),
    ask.DeleteCredential: _route("DELETE", "/credentials/{name}", records.Revocation),
    ask.RotateCredential: _route("POST", "/credentials/{name}/rotate", records.Credential),
    ask.RollbackCredential: _route("POST", "/credentials/{name}/rollback", records.Credential),
    ask.RevokeCredential: _route("POST", "/credentials/{name}/revoke", records.Revocation),
    ask.ListVersions: _route("GET", "/credentials/{name}/versions", Page[records.CredentialVersion]),
    ask.CreateLease: _route("POST", "/leases", records.IssuedLease, 201),
    ask.ListLeases: _route("GET", "/leases", Page[records.Lease]),
    ask.RevokeLeases: _route("POST", "/leases/revoke", records.Revocation),
    ask.GetLease: _route("GET", "/leases/{id}", records.Lease),
    ask.RenewLease: _route("POST", "/leases/{id}/renew", records.Lease),
    ask.RedeemLease: _route("POST", "/leases/{id}/redeem", records.RedeemedLease),
    ask.RevokeLease: _route("POST", "/leases/{id}/revoke", records.Lease),
    ask.CreateToken: _route("POST", "/tokens", records.IssuedToken, 201),
    ask.ListTokens: _route("GET", "/tokens", Page[records.Token]),
    ask.GetSelf: _route("GET", "/tokens/self", records.WhoAmI),
    ask.GetToken: _route("GET", "/tokens/{id}", records.Token),
    ask.RotateToken: _route("POST", "/tokens/{id}/rotate", records.IssuedToken),
    ask.RevokeToken: _route("POST", "/tokens/{id}/revoke", records.Revocation),
    ask.OpenSession: _route("POST", "/sessions", records.OpenedSession, 201),
    ask.ListSessions: _route("GET", "/sessions", Page[records.Session]),
    ask.TouchSession: _route("POST", "/sessions/self/touch", records.Session),
    ask.GetSession: _route("GET", "/sessions/{id}", records.Session),
    ask.EndSession: _route("POST", "/sessions/{id}/end", records.Revocation),
    ask.QueryAudit: _route(
        "GET",
        "/audit",
        Page[records.AuditEntry],
        events="event",
        identityType="identity.type",
        identityName="identity.name",
        identityUserId="identity.userId",
        identityEmail="identity.email",
        identitySessionId="identity.sessionId",
    ),
    ask.CountAudit: _route("GET", "/audit/stats", records.AuditCounts, events="event"),
    ask.GetCheckpoint: _route("GET", "/audit/checkpoint", records.LogCheckpoint)._replace(text="note"),
    ask.CreateCheckpoint: _route("POST", "/audit/checkpoint", records.LogCheckpoint),
    ask.BeginExport: _route("POST", "/audit/export", records.LogCheckpoint),
    ask.GetTile: _route("GET", "/audit/tile/{path}", bytes),
    ask.CreateTenant: _route("POST", "/tenants", records.Tenant, 201),
    ask.ListTenants: _route("GET", "/tenants", Page[records.Tenant]),
    ask.GetTenant: _route("GET", "/tenants/{id}", records.Tenant),
    ask.UpdateTenant: _route("PATCH", "/tenants/{id}", records.Tenant),
    ask.InviteMember: _route("POST", "/team", records.IssuedToken, 201),
    ask.ListMembers: _route("GET", "/team", Page[records.Member]),
    ask.GetMember: _route("GET", "/team/{email}", records.Member),
    ask.ChangeMemberRole: _route("PATCH", "/team/{email}", records.Member),
    ask.RemoveMember: _route("DELETE", "/team/{email}", records.Revocation),
    ask.RotateKek: _route("POST", "/tenants/{id}/rotate-kek", records.KekRotation),
}

_ANY = "{}"


def _by_pattern() -> dict[tuple[str, ...], dict[str, type[ask.Request[Any]]]]:
    table: dict[tuple[str, ...], dict[str, type[ask.Request[Any]]]] = {}
    for kind, route in ROUTES.items():
        pattern = tuple(_ANY if segment.startswith("{") else segment for segment in route.segments)
        table.setdefault(pattern, {})[route.method] = kind
    return table


_BY_PATTERN = _by_pattern()
_BY_BEGINNING = {route.segments[:-1]: kind for kind, route in ROUTES.items() if route.path_fields == (REST,)}


class Match(NamedTuple):
    """What a method and a path mean.

    Attributes:
        kind: The type of the request; None where there is none for this method.
        path: The fields that the path names, by JSON name.
        allowed: The methods that the path knows.
    """

    kind: type[ask.Request[Any]] | None
    path: dict[str, str]
    allowed: tuple[str, ...]


def match(method: str, segments: Sequence[str]) -> Match | None:
    """What ``method`` on a path below the prefix means; None if there is no such path.

    Args:
        method: The HTTP method.
        segments: The path's segments, each decoded by itself, so that a slash within one stays within it.
    """
    literal = tuple(segments)
    allowed: tuple[str, ...] = ()
    if methods := _BY_PATTERN.get(literal):
        if kind := methods.get(method):
            return Match(kind, {}, ())
        allowed = tuple(methods)
    for begin, kind in _BY_BEGINNING.items():
        if literal[: len(begin)] == begin and len(literal) > len(begin):
            route = ROUTES[kind]
            if route.method == method:
                return Match(kind, {REST: "/".join(literal[len(begin) :])}, ())
            return Match(None, {}, (route.method,))
    if len(literal) > 1 and (methods := _BY_PATTERN.get((literal[0], _ANY, *literal[2:]))):
        if kind := methods.get(method):
            return Match(kind, {ROUTES[kind].path_fields[0]: literal[1]}, ())
        allowed = allowed or tuple(methods)  # where both are there, the literal path is the one that is meant
    return Match(None, {}, allowed) if allowed else None

"""``Vault``: everything that a vault can do, by noun.

Every method may raise any :class:`~vaultctl.domain.errors.VaultError`; what is particular to one is in its
docstring. Durations are written ``"15m"`` or given as ``timedelta``; moments are aware ``datetime``.
"""

import builtins
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, Self, TypeVar

from msgspec import UNSET, UnsetType

from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput, NotAuthenticated, VaultError
from vaultctl.domain.names import check_glob
from vaultctl.domain.records import (
    AllowedIdentity,
    AuditEntry,
    Credential,
    CredentialType,
    CredentialVersion,
    Delivery,
    Event,
    IssuedLease,
    IssuedToken,
    Lease,
    LeaseState,
    OpenedSession,
    Page,
    Policy,
    Revocation,
    Role,
    Session,
    SessionState,
    Tenant,
    Token,
    WhoAmI,
)
from vaultctl.domain.secrets import Secret

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
AnyDuration = str | timedelta


class Adapter(Protocol):
    """What carries requests: the embedded engine, or a server."""

    def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        ...

    def close(self) -> None:
        """Give back what the adapter holds."""
        ...


class Vault:
    """A connection to a vault as one caller. Use it as a context manager, or :meth:`close` it."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self.credentials = Credentials(adapter)
        self.leases = Leases(adapter)
        self.tokens = Tokens(adapter)
        self.sessions = Sessions(adapter)
        self.audit_log = AuditLog(adapter)
        self.tenants = Tenants(adapter)

    @classmethod
    def connect(
        cls,
        *,
        tenant: str | None = None,
        token: str | Secret | None = None,
        home: str | os.PathLike[str] | None = None,
        database: str | None = None,
        ask_passphrase: Callable[[], Secret] | None = None,
    ) -> "Vault":
        """Connect as whoever ``token`` says.

        Args:
            tenant: Must be the token's, if given; else ``VAULT_TENANT``.
            token: An agent's, human's, session's or operator's token; else ``VAULT_TOKEN``.
            home: Where the embedded vault lives; else ``VAULTCTL_HOME`` or the platform's directories.
            database: The embedded vault's store; else ``VAULT_DATABASE_URL`` or what ``init`` noted.
            ask_passphrase: Asks for the root key's passphrase, where that is how the vault is unlocked
                and neither ``VAULT_PASSPHRASE`` nor ``VAULT_PASSPHRASE_FILE`` is set.

        Raises:
            NotAuthenticated: There is no token, or it is malformed. Never falls back to the owner.
            VaultMissing: There is no vault.
            VaultLocked: The root key can't be had.
        """
        from vaultctl.client.embedded import open_embedded

        secret = token if token is not None else os.environ.get("VAULT_TOKEN", "")
        revealed = secret.reveal() if isinstance(secret, Secret) else secret
        if not revealed:
            raise NotAuthenticated(
                "No token was given.", hint="Set VAULT_TOKEN, or mint one: vaultctl token create --agent NAME"
            )
        return cls(
            open_embedded(
                tenant=tenant,
                token=Secret(revealed),
                home=home,
                database=database,
                ask_passphrase=ask_passphrase,
            )
        )

    @classmethod
    def embedded(
        cls,
        *,
        tenant: str | None = None,
        home: str | os.PathLike[str] | None = None,
        database: str | None = None,
        ask_passphrase: Callable[[], Secret] | None = None,
    ) -> "Vault":
        """Open the embedded vault as its owner: whoever can read its root key. See :meth:`connect` for the rest."""
        from vaultctl.client.embedded import open_embedded

        return cls(
            open_embedded(tenant=tenant, token=None, home=home, database=database, ask_passphrase=ask_passphrase)
        )

    def whoami(self) -> WhoAmI:
        """Who the vault takes this connection for, and which credentials it can lease."""
        return self._adapter.perform(ask.GetSelf())

    def close(self) -> None:
        """Give back files and connections. Leases and sessions stay as they are."""
        self._adapter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Noun:
    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def _all(self, page: Callable[[str | None], ask.Request[Page[T]]], limit: int | None = None) -> list[T]:
        items: list[T] = []
        cursor = None
        while True:
            answer = self._adapter.perform(page(cursor))
            items.extend(answer.items)
            cursor = answer.next_cursor
            if cursor is None or (limit is not None and len(items) >= limit):
                return items if limit is None else items[:limit]


class Credentials(_Noun):
    """Named, typed, versioned secrets."""

    def create(
        self,
        name: str,
        type: CredentialType | str,
        value: str | Secret,
        *,
        metadata: Mapping[str, str] | None = None,
        default_ttl: AnyDuration | None = None,
        max_ttl: AnyDuration | None = None,
        allow: Sequence[str] = (),
        delivery: Delivery | str = Delivery.VALUE,
    ) -> Credential:
        """Store a credential. Needs the role manager.

        Args:
            name: Its name in the tenant.
            type: Decides how ``value`` is validated.
            value: The secret, as text.
            metadata: What people want to know about it. Not secret.
            default_ttl: TTL of a lease that asks for none.
            max_ttl: Longest a lease may live, renewals included.
            allow: Who may lease it, each ``agent:GLOB`` or ``human:GLOB``; empty: whoever's token reaches it.
            delivery: Whether an agent gets the value, or only a reference to it.

        Raises:
            AlreadyExists: The name is taken.
            InvalidInput: The value is not one of its type; the message does not quote it.
        """
        return self._adapter.perform(
            ask.CreateCredential(
                name=name,
                type=_enum(CredentialType, type, "credential type"),
                value=_secret(value),
                metadata=dict(metadata or {}),
                policy=Policy(
                    default_lease_ttl=_duration(default_ttl, "default TTL"),
                    max_lease_ttl=_duration(max_ttl, "maximum TTL"),
                    allowed_identities=allowed_identities(allow),
                    delivery=_enum(Delivery, delivery, "delivery"),
                ),
            )
        )

    def list(self) -> "builtins.list[Credential]":
        """Credentials by name: all of the tenant for humans, those that it may lease for an agent."""
        return self._all(lambda cursor: ask.ListCredentials(cursor=cursor))

    def get(self, name: str) -> Credential:
        """One credential, without its value."""
        return self._adapter.perform(ask.GetCredential(name=name))

    def update(
        self,
        name: str,
        *,
        metadata: Mapping[str, str] | None = None,
        default_ttl: AnyDuration | None = None,
        max_ttl: AnyDuration | None = None,
        allow: Sequence[str] | None = None,
        delivery: Delivery | str | None = None,
    ) -> Credential:
        """Change metadata (manager) or policy (admin); what is None stays as it is.

        Args:
            name: Which credential.
            metadata: Replaces all metadata.
            default_ttl: New default; ``"none"`` takes it away.
            max_ttl: New maximum; ``"none"`` takes it away. Running leases keep theirs but renew within the new one.
            allow: Replaces the allowed identities; ``[]`` allows whoever's token reaches the name.
            delivery: How it is delivered from now on.
        """
        return self._adapter.perform(
            ask.UpdateCredential(
                name=name,
                metadata=None if metadata is None else dict(metadata),
                default_lease_ttl=_changed_duration(default_ttl, "default TTL"),
                max_lease_ttl=_changed_duration(max_ttl, "maximum TTL"),
                allowed_identities=None if allow is None else allowed_identities(allow),
                delivery=None if delivery is None else _enum(Delivery, delivery, "delivery"),
            )
        )

    def rotate(self, name: str, value: str | Secret) -> Credential:
        """Store a new version of the value. Leases of the old one go on, with the old value."""
        return self._adapter.perform(ask.RotateCredential(name=name, value=_secret(value)))

    def versions(self, name: str) -> "builtins.list[CredentialVersion]":
        """All versions, newest first, without their values."""
        return self._all(lambda cursor: ask.ListVersions(name=name, cursor=cursor))

    def rollback(self, name: str, to: int) -> Credential:
        """Make a new version that holds the value of version ``to``."""
        return self._adapter.perform(ask.RollbackCredential(name=name, to=to))

    def revoke(self, name: str) -> Revocation:
        """End all leases of the credential, and lease it never again. A value already delivered is still out there."""
        return self._adapter.perform(ask.RevokeCredential(name=name))

    def delete(self, name: str) -> Revocation:
        """Destroy the credential and all its values; its leases end, its audit trail stays."""
        return self._adapter.perform(ask.DeleteCredential(name=name))


class LeaseHandle:
    """A lease that was just issued, with its value. As a context manager it is revoked on exit."""

    def __init__(self, leases: "Leases", issued: IssuedLease) -> None:
        self._leases = leases
        self.issued = issued
        self.lease = issued.lease

    @property
    def id(self) -> str:
        """The lease's id."""
        return self.lease.id

    @property
    def value(self) -> Secret:
        """The credential's value; ``value.reveal()`` gives the text."""
        return self.issued.value

    @property
    def type(self) -> CredentialType:
        """The credential's type."""
        return self.issued.type

    @property
    def expires_at(self) -> datetime:
        """When the lease ends unless it is renewed."""
        return self.lease.expires_at

    def renew(self, ttl: AnyDuration | None = None) -> Lease:
        """Extend the lease from now. See :meth:`Leases.renew`."""
        self.lease = self._leases.renew(self.id, ttl)
        return self.lease

    def revoke(self) -> Lease:
        """End the lease."""
        self.lease = self._leases.revoke(self.id)
        return self.lease

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.revoke()
        except VaultError:
            if kind is None:  # an error under way matters more than a release that fails
                raise

    def __repr__(self) -> str:
        return f"LeaseHandle({self.lease!r}, value=****)"


class Leases(_Noun):
    """Time-limited access to credentials."""

    def create(
        self,
        credential_name: str,
        *,
        ttl: AnyDuration | None = None,
        purpose: str | None = None,
        claimed: Mapping[str, str] | None = None,
    ) -> LeaseHandle:
        """Lease a credential; ``with vault.leases.create(…) as lease:`` releases it on exit.

        Args:
            credential_name: Which one.
            ttl: How long; capped at the smallest maximum of credential, token and tenant. The answer states what
                was granted.
            purpose: Why, for the audit log: at most 500 characters, one line, no secret.
            claimed: What the caller says of itself (client name and the like), kept apart as ``details.claimed``.

        Raises:
            NotFound: There is no such credential that an agent can use; which rule refused is in the audit log.
            NotAllowed: The role does not lease, or a human is not among the allowed identities.
        """
        issued = self._adapter.perform(
            ask.CreateLease(
                credential_name=credential_name,
                ttl=_duration(ttl, "TTL"),
                purpose=purpose,
                claimed=dict(claimed or {}),
            )
        )
        return LeaseHandle(self, issued)

    def list(
        self,
        *,
        agent: str | None = None,
        session: str | None = None,
        credential: str | None = None,
        token: str | None = None,
        state: LeaseState | str | None = None,
        limit: int | None = None,
    ) -> "builtins.list[Lease]":
        """Leases within reach, newest first: a session's, an agent's or a human's own, for managers the tenant's."""
        return self._all(
            lambda cursor: ask.ListLeases(
                agent=agent,
                session_id=session,
                credential_name=credential,
                token_id=token,
                state=None if state is None else _enum(LeaseState, state, "lease state"),
                limit=_page_size(limit),
                cursor=cursor,
            ),
            limit,
        )

    def get(self, id: str) -> Lease:
        """One lease."""
        return self._adapter.perform(ask.GetLease(id=id))

    def renew(self, id: str, ttl: AnyDuration | None = None) -> Lease:
        """Extend a lease: from now, by ``ttl`` or by what it was granted, never past ``max_expires_at``.

        Raises:
            LeaseAtMaximum: It can't be extended any further; request a new lease.
            Conflict: It has expired or was revoked.
        """
        return self._adapter.perform(ask.RenewLease(id=id, ttl=_duration(ttl, "TTL")))

    def revoke(self, id: str) -> Lease:
        """End a lease. The value that it delivered works until the credential is rotated."""
        return self._adapter.perform(ask.RevokeLease(id=id))

    def revoke_where(
        self, *, agent: str | None = None, session: str | None = None, credential: str | None = None
    ) -> Revocation:
        """End all active leases within reach that match; at least one filter is needed."""
        return self._adapter.perform(ask.RevokeLeases(agent=agent, session_id=session, credential_name=credential))


class Tokens(_Noun):
    """What callers authenticate with. Administering them needs the role admin."""

    def create(
        self,
        *,
        agent: str | None = None,
        human: str | None = None,
        operator: bool = False,
        role: Role | str | None = None,
        credentials: Sequence[str] = (),
        ttl: AnyDuration | None = None,
        max_lease_ttl: AnyDuration | None = None,
    ) -> IssuedToken:
        """Mint a token for exactly one of ``agent``, ``human`` and ``operator``. Its secret is shown only now.

        Args:
            agent: Name of the agent; its role is user, or viewer.
            human: E-mail address of the human; needs ``role``.
            operator: For whoever runs a server; only the owner and operators mint these.
            role: What it may do.
            credentials: Globs of credential names, a ceiling. An agent without any reaches only what names it
                in ``allowedIdentities``.
            ttl: How long it authenticates; 90 days if None.
            max_lease_ttl: Longest that a lease of it may live.
        """
        return self._adapter.perform(
            ask.CreateToken(
                agent=agent,
                email=human,
                operator=operator,
                role=None if role is None else _enum(Role, role, "role"),
                credentials=tuple(credentials),
                ttl=_duration(ttl, "TTL"),
                max_lease_ttl=_duration(max_lease_ttl, "maximum lease TTL"),
            )
        )

    def list(self) -> "builtins.list[Token]":
        """Tokens, newest first, without those of sessions."""
        return self._all(lambda cursor: ask.ListTokens(cursor=cursor))

    def get(self, id: str) -> Token:
        """One token, without its secret."""
        return self._adapter.perform(ask.GetToken(id=id))

    def rotate(self, id: str, *, ttl: AnyDuration | None = None) -> IssuedToken:
        """Replace the secret; id, sessions and leases stay, the old secret dies at once."""
        return self._adapter.perform(ask.RotateToken(id=id, ttl=_duration(ttl, "TTL")))

    def revoke(self, id: str) -> Revocation:
        """End a token, its sessions and their leases, in one step."""
        return self._adapter.perform(ask.RevokeToken(id=id))


class Sessions(_Noun):
    """Runs of agents."""

    def open(self, id: str | None = None, *, claimed: Mapping[str, str] | None = None) -> OpenedSession:
        """Exchange the agent token of this connection for a session token.

        Args:
            id: ``cortex_sess_…`` or ``mcp_sess_…``; None makes an ``mcp_sess_…``. An own active id is reopened, and
                its earlier session token dies.
            claimed: What the client says of itself, kept apart in the audit entry.

        Raises:
            Conflict: The id is not free: it ended, or is another agent's.
        """
        return self._adapter.perform(ask.OpenSession(id=id, claimed=dict(claimed or {})))

    def list(
        self, *, agent: str | None = None, state: SessionState | str | None = None, limit: int | None = None
    ) -> "builtins.list[Session]":
        """Sessions within reach, newest first."""
        return self._all(
            lambda cursor: ask.ListSessions(
                agent=agent,
                state=None if state is None else _enum(SessionState, state, "session state"),
                limit=_page_size(limit),
                cursor=cursor,
            ),
            limit,
        )

    def get(self, id: str) -> Session:
        """One session."""
        return self._adapter.perform(ask.GetSession(id=id))

    def end(self, id: str) -> Revocation:
        """End a session and its leases. An ended id never opens again."""
        return self._adapter.perform(ask.EndSession(id=id))

    def touch(self) -> Session:
        """Give a sign of life of the session whose token this connection uses; needed every 15 minutes."""
        return self._adapter.perform(ask.TouchSession())


_FILTER_FIELDS = {
    "identity.type": "identity_type",
    "identity.name": "identity_name",
    "identity.userId": "identity_user_id",
    "identity.email": "identity_email",
    "identity.sessionId": "identity_session_id",
    "credentialName": "credential_name",
    "leaseId": "lease_id",
}


class AuditLog(_Noun):
    """What happened: every access and every refusal."""

    def query(
        self,
        filter: Mapping[str, str] | None = None,
        *,
        agent: str | None = None,
        session: str | None = None,
        credential: str | None = None,
        lease: str | None = None,
        events: Sequence[Event | str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = ask.PAGE_SIZE,
    ) -> list[AuditEntry]:
        """The newest ``limit`` entries that match, oldest first. Needs the role admin, or the agent's own session.

        Args:
            filter: Strict conditions on the entry's own fields: ``identity.type``, ``identity.name``,
                ``identity.userId``, ``identity.email``, ``identity.sessionId``, ``credentialName``, ``leaseId``,
                ``event``.
            agent: The whole trail of an agent, what others did to its leases included.
            session: The whole trail of a run.
            credential: Entries about one credential.
            lease: Entries about one lease.
            events: Any of these events.
            since: Not before.
            until: Before.
            limit: None for all.
        """
        base = self._request(filter or {}, agent, session, credential, lease, events, since, until)
        items: list[AuditEntry] = []
        cursor = None
        while True:
            page = self._adapter.perform(
                ask.QueryAudit(**base, cursor=cursor, limit=_page_size(None if limit is None else limit - len(items)))
            )
            items = [*page.items, *items]
            cursor = page.next_cursor
            if cursor is None or (limit is not None and len(items) >= limit):
                return items

    def after(
        self,
        seq: int,
        filter: Mapping[str, str] | None = None,
        *,
        agent: str | None = None,
        session: str | None = None,
        credential: str | None = None,
        lease: str | None = None,
        events: Sequence[Event | str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[AuditEntry]:
        """All entries after ``seq`` (-1: from the start) that match, oldest first, up to the end of the log now."""
        base = self._request(filter or {}, agent, session, credential, lease, events, since, until)
        cursor = None
        while True:
            request = ask.QueryAudit(**base, after_seq=seq, cursor=cursor, limit=ask.MAX_PAGE_SIZE)
            page = self._adapter.perform(request)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    @staticmethod
    def _request(
        filter: Mapping[str, str],
        agent: str | None,
        session: str | None,
        credential: str | None,
        lease: str | None,
        events: Sequence[Event | str],
        since: datetime | None,
        until: datetime | None,
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "agent": agent,
            "session_id": session,
            "credential_name": credential,
            "lease_id": lease,
            "since": since,
            "until": until,
        }
        wanted = [_enum(Event, event, "event") for event in events]
        for key, value in filter.items():
            if key == "event":
                wanted.append(_enum(Event, value, "event"))
                continue
            field = _FILTER_FIELDS.get(key)
            if field is None:
                known = ", ".join([*_FILTER_FIELDS, "event"])
                raise InvalidInput("The audit log has no such field to filter by.", hint=f"Fields: {known}.")
            if fields.get(field) not in (None, value):
                raise InvalidInput(f"{key} is asked for twice, with two values.", hint="Name it once.")
            fields[field] = value
        return fields | {"events": tuple(wanted)}


class Tenants(_Noun):
    """Tenants and their settings. Creating and listing is for the owner and operators."""

    def create(
        self, id: str, *, default_lease_ttl: AnyDuration | None = None, max_lease_ttl: AnyDuration | None = None
    ) -> Tenant:
        """Create a tenant with its own keys and its own audit log."""
        return self._adapter.perform(
            ask.CreateTenant(
                id=id,
                default_lease_ttl=_duration(default_lease_ttl, "default lease TTL"),
                max_lease_ttl=_duration(max_lease_ttl, "maximum lease TTL"),
            )
        )

    def list(self) -> "builtins.list[Tenant]":
        """All tenants by name."""
        return self._all(lambda cursor: ask.ListTenants(cursor=cursor))

    def get(self, id: str) -> Tenant:
        """One tenant."""
        return self._adapter.perform(ask.GetTenant(id=id))

    def update(
        self, id: str, *, default_lease_ttl: AnyDuration | None = None, max_lease_ttl: AnyDuration | None = None
    ) -> Tenant:
        """Change settings; what is None stays. Needs the role admin in the tenant."""
        return self._adapter.perform(
            ask.UpdateTenant(
                id=id,
                default_lease_ttl=_duration(default_lease_ttl, "default lease TTL"),
                max_lease_ttl=_duration(max_lease_ttl, "maximum lease TTL"),
            )
        )


def allowed_identities(allow: Sequence[str]) -> tuple[AllowedIdentity, ...]:
    """``agent:GLOB`` and ``human:GLOB`` as allowed identities.

    Raises:
        InvalidInput: One is neither.
    """
    result = []
    for text in allow:
        kind, _, glob = text.partition(":")
        match kind:
            case "agent":
                result.append(AllowedIdentity(type="agent", name=check_glob(glob, "agent")))
            case "human":
                result.append(AllowedIdentity(type="human", email=check_glob(glob, "human")))
            case _:
                raise InvalidInput(
                    "An allowed identity is agent:GLOB or human:GLOB.", hint="For example agent:deploy-*"
                )
    return tuple(result)


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _duration(value: AnyDuration | None, what: str) -> Duration | None:
    return None if value is None else Duration.parse(value, what=what)


def _changed_duration(value: AnyDuration | None, what: str) -> "Duration | UnsetType | None":
    return UNSET if value is None else None if value == "none" else _duration(value, what)


def _enum(kind: type[E], value: str, what: str) -> E:
    for member in kind:  # the enumeration's own error would quote the value
        if member.value == value:
            return member
    known = ", ".join(member.value for member in kind)
    raise InvalidInput(f"There is no such {what}.", hint=f"One of: {known}.")


def _page_size(wanted: int | None) -> int:
    if wanted is None:
        return ask.MAX_PAGE_SIZE
    if wanted < 1:
        raise InvalidInput("The limit must be at least 1.", hint="Leave it out for the default.")
    return min(wanted, ask.MAX_PAGE_SIZE)

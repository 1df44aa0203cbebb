"""``Vault``: everything that a vault can do, by noun.

Every method may raise any :class:`~vaultctl.domain.errors.VaultError`; what is particular to one is in its
docstring. Durations are written ``"15m"`` or given as ``timedelta``; moments are aware ``datetime``.
:class:`~vaultctl.client.async_vault.AsyncVault` has the same methods for an event loop.
"""

import builtins
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Self, TypeVar

from msgspec.structs import replace

from vaultctl.client import asking, following
from vaultctl.client.adapters import Adapter, OnState
from vaultctl.client.asking import AnyDuration
from vaultctl.client.issued import IssuedHandle
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import (
    AuditCount,
    AuditEntry,
    Credential,
    CredentialType,
    CredentialVersion,
    Delivery,
    Event,
    ExportFormat,
    ImportResult,
    IssuedLease,
    IssuedToken,
    KekRotation,
    Lease,
    LeaseState,
    LogCheckpoint,
    LogVerification,
    Member,
    OpenedSession,
    Page,
    RedeemedLease,
    ResponseFormat,
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
        self.team = Team(adapter)

    @classmethod
    def connect(
        cls,
        base_url: str | None = None,
        *,
        context: str | None = None,
        tenant: str | None = None,
        token: str | Secret | None = None,
        home: str | os.PathLike[str] | None = None,
        database: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        ask_passphrase: Callable[[], Secret] | None = None,
    ) -> "Vault":
        """Connect as whoever ``token`` says: to a server if one is named or in use, else to the vault of this machine.

        Args:
            base_url: The server, like ``https://vault.example.com``; else ``context``, else ``VAULT_BASE_URL``, else
                the context in use (``vaultctl context use``), else there is none.
            context: A server by the name that it has here; ``"embedded"`` is the vault of this machine.
            tenant: Must be the token's, if given; else ``VAULT_TENANT``, else the context's.
            token: An agent's, human's, session's or operator's token; else ``VAULT_TOKEN``, else for a server the one
                that ``vaultctl login`` kept for exactly this base URL.
            home: Where the embedded vault, contexts and logins are; else ``VAULTCTL_HOME`` or the platform's
                directories.
            database: The embedded vault's store; else ``VAULT_DATABASE_URL`` or what ``init`` noted.
            ca_file: The certificates of the authority that the server's is from, in PEM; else ``VAULT_CACERT``, else
                those that this machine trusts.
            timeout: Seconds that one operation at a server may take, retries included; 45 if None.
            ask_passphrase: Asks for the root key's passphrase, where that is how the vault is unlocked
                and neither ``VAULT_PASSPHRASE`` nor ``VAULT_PASSPHRASE_FILE`` is set.

        Raises:
            NotAuthenticated: There is no token, or it is malformed. Never falls back to the owner.
            InvalidInput: The base URL is none, or would send the token in the clear; or two vaults are named.
            VaultMissing: There is no vault on this machine.
            VaultLocked: The root key can't be had.
        """
        from vaultctl.client.connecting import Wanted, open_adapter

        wanted = Wanted(base_url, context, tenant, token, home, database, ca_file, timeout, ask_passphrase)
        return cls(open_adapter(wanted))

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

    def _all(self, request: ask.Request[Page[T]], limit: int | None = None) -> list[T]:
        items: list[T] = []
        while True:
            page = self._adapter.perform(request)
            items.extend(page.items)
            if page.next_cursor is None or (limit is not None and len(items) >= limit):
                return items[:limit]
            request = replace(request, cursor=page.next_cursor)


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
            asking.create_credential(name, type, value, metadata, default_ttl, max_ttl, allow, delivery)
        )

    def import_values(
        self, values: Mapping[str, tuple[CredentialType | str, str | Secret]], *, dry_run: bool = False
    ) -> ImportResult:
        """Store up to 100 values at once, all or none: new credentials, or new versions where they differ.

        Args:
            values: Type and value by name. A credential that is there keeps its type.
            dry_run: Only say what would change.

        Raises:
            InvalidInput: One of the values is none of its type; the message names it and does not quote it.
        """
        return self._adapter.perform(asking.import_credentials(values, dry_run))

    def list(self) -> "builtins.list[Credential]":
        """Credentials by name: all of the tenant for humans, those that it may lease for an agent."""
        return self._all(ask.ListCredentials(limit=ask.MAX_PAGE_SIZE))

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
        return self._adapter.perform(asking.update_credential(name, metadata, default_ttl, max_ttl, allow, delivery))

    def rotate(self, name: str, value: str | Secret) -> Credential:
        """Store a new version of the value. Leases of the old one go on, with the old value."""
        return self._adapter.perform(asking.rotate_credential(name, value))

    def versions(self, name: str) -> "builtins.list[CredentialVersion]":
        """All versions, newest first, without their values."""
        return self._all(ask.ListVersions(name=name, limit=ask.MAX_PAGE_SIZE))

    def rollback(self, name: str, to: int) -> Credential:
        """Make a new version that holds the value of version ``to``."""
        return self._adapter.perform(ask.RollbackCredential(name=name, to=to))

    def revoke(self, name: str) -> Revocation:
        """End all leases of the credential, and lease it never again. A value already delivered is still out there."""
        return self._adapter.perform(ask.RevokeCredential(name=name))

    def delete(self, name: str) -> Revocation:
        """Destroy the credential and all its values; its leases end, its audit trail stays."""
        return self._adapter.perform(ask.DeleteCredential(name=name))


class LeaseHandle(IssuedHandle):
    """A lease that was just issued, with its value. As a context manager it is revoked on exit."""

    def __init__(self, leases: "Leases", issued: IssuedLease) -> None:
        super().__init__(issued)
        self._leases = leases

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


class Leases(_Noun):
    """Time-limited access to credentials."""

    def create(
        self,
        credential_name: str,
        *,
        ttl: AnyDuration | None = None,
        purpose: str | None = None,
        claimed: Mapping[str, str] | None = None,
        response_format: ResponseFormat | str | None = None,
    ) -> LeaseHandle:
        """Lease a credential; ``with vault.leases.create(…) as lease:`` releases it on exit.

        Args:
            credential_name: Which one.
            ttl: How long; capped at the smallest maximum of credential, token and tenant. The answer states what
                was granted.
            purpose: Why, for the audit log: at most 500 characters, one line, no secret.
            claimed: What the caller says of itself (client name and the like), kept apart as ``details.claimed``.
            response_format: ``"reference"`` asks for a reference in place of the value. An agent is given one in any
                case where the credential's policy says ``delivery: reference``.

        Raises:
            NotFound: There is no such credential that an agent can use; which rule refused is in the audit log.
            NotAllowed: The role does not lease, a human is not among the allowed identities, or a reference can't be
                given: to people, outside of a session, or to a value of fewer than 8 characters.
        """
        issued = self._adapter.perform(asking.create_lease(credential_name, ttl, purpose, claimed, response_format))
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
        active_at: datetime | None = None,
    ) -> "builtins.list[Lease]":
        """Leases within reach, newest first: a session's, an agent's or a human's own, for managers the tenant's.

        With ``active_at`` only those that were active at that moment, whatever became of them; it needs ``credential``.
        """
        return self._all(asking.list_leases(agent, session, credential, token, state, limit, active_at), limit)

    def get(self, id: str) -> Lease:
        """One lease."""
        return self._adapter.perform(ask.GetLease(id=id))

    def renew(self, id: str, ttl: AnyDuration | None = None) -> Lease:
        """Extend a lease: from now, by ``ttl`` or by what it was granted, never past ``max_expires_at``.

        Raises:
            LeaseAtMaximum: It can't be extended any further; request a new lease.
            Conflict: It has expired or was revoked.
        """
        return self._adapter.perform(asking.renew_lease(id, ttl))

    def redeem(self, id: str, ref: str) -> RedeemedLease:
        """Exchange the reference of a lease for the value, once.

        Args:
            id: The lease.
            ref: The ``ref`` that the lease was issued with.

        Raises:
            NotAllowed: This connection's token is not the redeem token that opening the session answered.
            NotFound: The session has no such lease, or the lease no such reference.
            Conflict: The lease has ended, or its reference was redeemed already.
        """
        return self._adapter.perform(ask.RedeemLease(id=id, ref=ref))

    def revoke(self, id: str) -> Lease:
        """End a lease. The value that it delivered works until the credential is rotated."""
        return self._adapter.perform(ask.RevokeLease(id=id))

    def revoke_where(
        self, *, agent: str | None = None, session: str | None = None, credential: str | None = None
    ) -> Revocation:
        """End all active leases within reach that match; at least one filter is needed."""
        return self._adapter.perform(asking.revoke_leases(agent, session, credential))


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
        requests_per_minute: int | None = None,
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
            requests_per_minute: How many requests it may make of a server, its sessions' included; None: as many as
                the server lets any token make.
        """
        return self._adapter.perform(
            asking.create_token(agent, human, operator, role, credentials, ttl, max_lease_ttl, requests_per_minute)
        )

    def list(self) -> "builtins.list[Token]":
        """Tokens, newest first, without those of sessions."""
        return self._all(ask.ListTokens(limit=ask.MAX_PAGE_SIZE))

    def get(self, id: str) -> Token:
        """One token, without its secret."""
        return self._adapter.perform(ask.GetToken(id=id))

    def rotate(self, id: str, *, ttl: AnyDuration | None = None) -> IssuedToken:
        """Replace the secret; id, sessions and leases stay, the old secret dies at once."""
        return self._adapter.perform(asking.rotate_token(id, ttl))

    def revoke(self, id: str) -> Revocation:
        """End a token, its sessions and their leases, in one step."""
        return self._adapter.perform(ask.RevokeToken(id=id))


class Sessions(_Noun):
    """Runs of agents."""

    def open(self, id: str | None = None, *, claimed: Mapping[str, str] | None = None) -> OpenedSession:
        """Exchange the agent token of this connection for a session token and a redeem token.

        Args:
            id: ``cortex_sess_…`` or ``mcp_sess_…``; None makes an ``mcp_sess_…``. An own active id is reopened, and
                its earlier tokens die.
            claimed: What the client says of itself, kept apart in the audit entry.

        Raises:
            Conflict: The id is not free: it ended, or is another agent's.
        """
        return self._adapter.perform(asking.open_session(id, claimed))

    def list(
        self, *, agent: str | None = None, state: SessionState | str | None = None, limit: int | None = None
    ) -> "builtins.list[Session]":
        """Sessions within reach, newest first."""
        return self._all(asking.list_sessions(agent, state, limit), limit)

    def get(self, id: str) -> Session:
        """One session."""
        return self._adapter.perform(ask.GetSession(id=id))

    def end(self, id: str) -> Revocation:
        """End a session and its leases. An ended id never opens again."""
        return self._adapter.perform(ask.EndSession(id=id))

    def touch(self) -> Session:
        """Give a sign of life of the session whose token this connection uses; needed every 15 minutes."""
        return self._adapter.perform(ask.TouchSession())


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
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        items: list[AuditEntry] = []
        while True:
            size = asking.page_size(None if limit is None else limit - len(items))
            page = self._adapter.perform(replace(request, limit=size))
            items = [*page.items, *items]
            if page.next_cursor is None or (limit is not None and len(items) >= limit):
                return items
            request = replace(request, cursor=page.next_cursor)

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
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        request = replace(request, after_seq=seq, limit=ask.MAX_PAGE_SIZE)
        while True:
            page = self._adapter.perform(request)
            yield from page.items
            if page.next_cursor is None:
                return
            request = replace(request, cursor=page.next_cursor)

    def follow(
        self,
        after_seq: int | None = None,
        filter: Mapping[str, str] | None = None,
        *,
        agent: str | None = None,
        session: str | None = None,
        credential: str | None = None,
        lease: str | None = None,
        events: Sequence[Event | str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        poll_seconds: float = 0.5,
        on_state: OnState | None = None,
    ) -> Iterator[AuditEntry]:
        """Entries that match as they come, oldest first, none twice and none left out.

        It ends when the vault is closed, which another thread may do. A server that can't be reached any more is tried
        again and again; an error that trying again does not mend, such as a revoked token, is raised.

        Args:
            after_seq: Begin after this ``seq`` (-1: from the start); None: with what comes from now on.
            filter: As for :meth:`query`, like all that follow.
            agent: The whole trail of an agent.
            session: The whole trail of a run.
            credential: Entries about one credential.
            lease: Entries about one lease.
            events: Any of these events.
            since: Not before.
            until: Before.
            poll_seconds: How often the vault of this machine is looked at; a server tells by itself.
            on_state: Is called with False when the server is out of reach, and with True when it is back.
        """
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        if after_seq is None:
            after_seq = following.last_seq(self._adapter.perform(following.newest(request)))
        return self._adapter.follow(
            replace(request, after_seq=after_seq), poll_seconds=poll_seconds, on_state=on_state or (lambda _: None)
        )

    def verify(
        self,
        *,
        since: str | None = None,
        against: Sequence[str] = (),
        key: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> LogVerification:
        """Check the log as a whole; what is wrong with it is in the answer. Needs the role admin.

        What a server has is downloaded and checked here, as far as that goes: entries against checkpoints. On the vault
        itself everything that is stored is checked.

        Args:
            since: A checkpoint's note: what it covers is taken for verified.
            against: Notes of checkpoints that were kept elsewhere, with which the log has to agree.
            key: The log's verifier key; if None, the one that the vault says.
            progress: Is told now and then how many entries were looked at, and how many there are.

        Raises:
            VerificationFailed: A checkpoint is none of this log, or the key is another's.
        """
        request = ask.VerifyLog(since=since, against=tuple(against), key=key, progress=progress)
        return self._adapter.perform(request)

    def checkpoint(self) -> LogCheckpoint:
        """A signed checkpoint over all entries that there are; one kept elsewhere proves them later."""
        return self._adapter.perform(ask.CreateCheckpoint())

    def stats(
        self,
        by: str,
        *,
        agent: str | None = None,
        session: str | None = None,
        credential: str | None = None,
        lease: str | None = None,
        events: Sequence[Event | str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[AuditCount]:
        """How many entries there are by ``agent``, ``credential``, ``event`` or ``day``: most first, days in order.

        Needs the role admin. What narrows them is as for :meth:`query`.
        """
        request = asking.query_audit(None, agent, session, credential, lease, events, since, until)
        return list((self._adapter.perform(asking.count_audit(by, request))).items)

    def newest_checkpoint(self) -> LogCheckpoint:
        """The newest checkpoint that there is; unlike :meth:`checkpoint` this makes none.

        Raises:
            NotFound: There is none yet.
        """
        return self._adapter.perform(ask.GetCheckpoint())

    def begin_export(
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
        format: ExportFormat | str = ExportFormat.JSONL,
    ) -> LogCheckpoint:
        """Record that entries are about to leave the vault: by whom, which, and how long the log is.

        Needs the role admin. The answer covers exactly the entries that there were. :meth:`export` does this by itself.

        Args:
            filter: As for :meth:`query`, like all that follow.
            agent: The whole trail of an agent.
            session: The whole trail of a run.
            credential: Entries about one credential.
            lease: Entries about one lease.
            events: Any of these events.
            since: Not before.
            until: Before.
            format: As what they leave.
        """
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        return self._adapter.perform(asking.begin_export(request, format))

    def export(
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
        format: ExportFormat | str = ExportFormat.JSONL,
    ) -> Iterator[AuditEntry]:
        """All entries that match and were there when it began, oldest first, a page at a time in memory.

        That they leave is in the log before the first of them is here: ``audit.exported``, with the filters and with
        how long the log was. Needs the role admin. The arguments are those of :meth:`begin_export`.
        """
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        end = self._adapter.perform(asking.begin_export(request, format))
        request = replace(request, after_seq=-1, limit=ask.MAX_PAGE_SIZE)
        while True:
            page = self._adapter.perform(request)
            for entry in page.items:
                if entry.seq >= end.size:
                    return
                yield entry
            if page.next_cursor is None:
                return
            request = replace(request, cursor=page.next_cursor)

    def tile(self, path: str) -> bytes:
        """A hash tile or an entry bundle of the log, by its C2SP tlog-tiles path behind ``tile/``, like ``0/x001/067``.

        Hash tiles are for every role; ``entries/…`` are for admins.

        Raises:
            NotFound: The log has no such tile, or not yet.
        """
        return self._adapter.perform(ask.GetTile(path=path))


class Tenants(_Noun):
    """Tenants and their settings. Creating and listing is for the owner and operators."""

    def create(
        self, id: str, *, default_lease_ttl: AnyDuration | None = None, max_lease_ttl: AnyDuration | None = None
    ) -> Tenant:
        """Create a tenant with its own keys and its own audit log."""
        return self._adapter.perform(asking.create_tenant(id, default_lease_ttl, max_lease_ttl))

    def list(self) -> "builtins.list[Tenant]":
        """All tenants by name."""
        return self._all(ask.ListTenants(limit=ask.MAX_PAGE_SIZE))

    def get(self, id: str) -> Tenant:
        """One tenant."""
        return self._adapter.perform(ask.GetTenant(id=id))

    def update(
        self, id: str, *, default_lease_ttl: AnyDuration | None = None, max_lease_ttl: AnyDuration | None = None
    ) -> Tenant:
        """Change settings; what is None stays. Needs the role admin in the tenant."""
        return self._adapter.perform(asking.update_tenant(id, default_lease_ttl, max_lease_ttl))

    def rotate_kek(self, id: str, *, version: int | None = None, limit: int = ask.PAGE_SIZE) -> KekRotation:
        """One step of a rotation of the key-encryption key; go on until ``remaining`` is 0. Needs the role admin.

        Args:
            id: The tenant.
            version: What the first step answered; None makes a new version, or joins a rotation that is under way.
            limit: How many data keys the step may rewrap, so that others are served in between.
        """
        return self._adapter.perform(ask.RotateKek(id=id, version=version, limit=limit))


class Team(_Noun):
    """The people of the tenant. Everything about them needs the role admin.

    A person is an e-mail address, which is the ``user_id`` of all their tokens and stays so.
    """

    def invite(self, email: str, role: Role | str, *, ttl: AnyDuration | None = None) -> IssuedToken:
        """Take a person into the team, and mint their first personal token. Its secret is shown only now.

        Args:
            email: Who it is. Tokens that exist for this address become theirs, and carry at most ``role``.
            role: What they may do.
            ttl: How long the token authenticates; 90 days if None.

        Raises:
            AlreadyExists: They are in the team already.
        """
        return self._adapter.perform(asking.invite_member(email, role, ttl))

    def list(self) -> "builtins.list[Member]":
        """The team by address."""
        return self._all(ask.ListMembers(limit=ask.MAX_PAGE_SIZE))

    def get(self, email: str) -> Member:
        """One person of the team."""
        return self._adapter.perform(ask.GetMember(email=email))

    def change_role(self, email: str, role: Role | str) -> Member:
        """Give a person another role. Tokens that carry the old one follow at once; none carries more than the new.

        Raises:
            Conflict: They are the only admin, and the caller does not run the vault.
        """
        return self._adapter.perform(asking.change_role(email, role))

    def remove(self, email: str) -> Revocation:
        """Take a person out of the team; their tokens and leases end in the same step.

        Raises:
            Conflict: They are the only admin, and the caller does not run the vault.
        """
        return self._adapter.perform(ask.RemoveMember(email=email))

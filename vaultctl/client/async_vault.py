"""``AsyncVault``: :class:`~vaultctl.client.vault.Vault` for an event loop.

The methods, their arguments and their errors are those of ``Vault``, where they are described; here they are awaited::

    async with AsyncVault.connect(token=token) as vault:
        async with await vault.leases.create("shopify-api-key", purpose="Fetch orders") as lease:
            await call_shopify(lease.value.reveal())

An ``AsyncVault`` belongs to the event loop in which it is first used.
"""

import builtins
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Self, TypeVar

from msgspec.structs import replace

from vaultctl.client import asking, following
from vaultctl.client.adapters import AsyncAdapter, OnState
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


class AsyncVault:
    """A connection to a vault as one caller. Use it as a context manager, or :meth:`close` it."""

    def __init__(self, adapter: AsyncAdapter) -> None:
        self._adapter = adapter
        self.credentials = AsyncCredentials(adapter)
        self.leases = AsyncLeases(adapter)
        self.tokens = AsyncTokens(adapter)
        self.sessions = AsyncSessions(adapter)
        self.audit_log = AsyncAuditLog(adapter)
        self.tenants = AsyncTenants(adapter)
        self.team = AsyncTeam(adapter)

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
    ) -> "AsyncVault":
        """Connect as ``Vault.connect`` does. The vault of this machine is opened at once, a server is not asked yet."""
        from vaultctl.client.connecting import Wanted, open_async_adapter

        wanted = Wanted(base_url, context, tenant, token, home, database, ca_file, timeout, ask_passphrase)
        return cls(open_async_adapter(wanted))

    @classmethod
    def embedded(
        cls,
        *,
        tenant: str | None = None,
        home: str | os.PathLike[str] | None = None,
        database: str | None = None,
        ask_passphrase: Callable[[], Secret] | None = None,
    ) -> "AsyncVault":
        """Open the embedded vault as its owner, as ``Vault.embedded`` does."""
        from vaultctl.client.embedded import open_embedded
        from vaultctl.client.threaded import ThreadedAdapter

        opened = open_embedded(tenant=tenant, token=None, home=home, database=database, ask_passphrase=ask_passphrase)
        return cls(ThreadedAdapter(opened))

    async def whoami(self) -> WhoAmI:
        """Who the vault takes this connection for, and which credentials it can lease."""
        return await self._adapter.perform(ask.GetSelf())

    async def close(self) -> None:
        """Give back files and connections. Leases and sessions stay as they are."""
        await self._adapter.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Noun:
    def __init__(self, adapter: AsyncAdapter) -> None:
        self._adapter = adapter

    async def _all(self, request: ask.Request[Page[T]], limit: int | None = None) -> list[T]:
        items: list[T] = []
        while True:
            page = await self._adapter.perform(request)
            items.extend(page.items)
            if page.next_cursor is None or (limit is not None and len(items) >= limit):
                return items[:limit]
            request = replace(request, cursor=page.next_cursor)


class AsyncCredentials(_Noun):
    """Named, typed, versioned secrets."""

    async def create(
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
        """Store a credential. Needs the role manager."""
        return await self._adapter.perform(
            asking.create_credential(name, type, value, metadata, default_ttl, max_ttl, allow, delivery)
        )

    async def import_values(
        self, values: Mapping[str, tuple[CredentialType | str, str | Secret]], *, dry_run: bool = False
    ) -> ImportResult:
        """Store up to 100 values at once, all or none: new credentials, or new versions where they differ.

        Args:
            values: Type and value by name. A credential that is there keeps its type.
            dry_run: Only say what would change.

        Raises:
            InvalidInput: One of the values is none of its type; the message names it and does not quote it.
        """
        return await self._adapter.perform(asking.import_credentials(values, dry_run))

    async def list(self) -> "builtins.list[Credential]":
        """Credentials by name: all of the tenant for humans, those that it may lease for an agent."""
        return await self._all(ask.ListCredentials(limit=ask.MAX_PAGE_SIZE))

    async def get(self, name: str) -> Credential:
        """One credential, without its value."""
        return await self._adapter.perform(ask.GetCredential(name=name))

    async def update(
        self,
        name: str,
        *,
        metadata: Mapping[str, str] | None = None,
        default_ttl: AnyDuration | None = None,
        max_ttl: AnyDuration | None = None,
        allow: Sequence[str] | None = None,
        delivery: Delivery | str | None = None,
    ) -> Credential:
        """Change metadata (manager) or policy (admin); what is None stays as it is."""
        return await self._adapter.perform(
            asking.update_credential(name, metadata, default_ttl, max_ttl, allow, delivery)
        )

    async def rotate(self, name: str, value: str | Secret) -> Credential:
        """Store a new version of the value. Leases of the old one go on, with the old value."""
        return await self._adapter.perform(asking.rotate_credential(name, value))

    async def versions(self, name: str) -> "builtins.list[CredentialVersion]":
        """All versions, newest first, without their values."""
        return await self._all(ask.ListVersions(name=name, limit=ask.MAX_PAGE_SIZE))

    async def rollback(self, name: str, to: int) -> Credential:
        """Make a new version that holds the value of version ``to``."""
        return await self._adapter.perform(ask.RollbackCredential(name=name, to=to))

    async def revoke(self, name: str) -> Revocation:
        """End all leases of the credential, and lease it never again. A value already delivered is still out there."""
        return await self._adapter.perform(ask.RevokeCredential(name=name))

    async def delete(self, name: str) -> Revocation:
        """Destroy the credential and all its values; its leases end, its audit trail stays."""
        return await self._adapter.perform(ask.DeleteCredential(name=name))


class AsyncLeaseHandle(IssuedHandle):
    """A lease that was just issued, with its value. As a context manager it is revoked on exit."""

    def __init__(self, leases: "AsyncLeases", issued: IssuedLease) -> None:
        super().__init__(issued)
        self._leases = leases

    async def renew(self, ttl: AnyDuration | None = None) -> Lease:
        """Extend the lease from now. See :meth:`AsyncLeases.renew`."""
        self.lease = await self._leases.renew(self.id, ttl)
        return self.lease

    async def revoke(self) -> Lease:
        """End the lease."""
        self.lease = await self._leases.revoke(self.id)
        return self.lease

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        try:
            await self.revoke()
        except VaultError:
            if kind is None:  # an error under way matters more than a release that fails
                raise


class AsyncLeases(_Noun):
    """Time-limited access to credentials."""

    async def create(
        self,
        credential_name: str,
        *,
        ttl: AnyDuration | None = None,
        purpose: str | None = None,
        claimed: Mapping[str, str] | None = None,
        response_format: ResponseFormat | str | None = None,
    ) -> AsyncLeaseHandle:
        """Lease a credential; ``async with await vault.leases.create(…) as lease:`` releases it on exit."""
        issued = await self._adapter.perform(
            asking.create_lease(credential_name, ttl, purpose, claimed, response_format)
        )
        return AsyncLeaseHandle(self, issued)

    async def list(
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
        """Leases within reach, newest first: a session's, an agent's or a human's own, for managers the tenant's."""
        return await self._all(asking.list_leases(agent, session, credential, token, state, limit, active_at), limit)

    async def get(self, id: str) -> Lease:
        """One lease."""
        return await self._adapter.perform(ask.GetLease(id=id))

    async def renew(self, id: str, ttl: AnyDuration | None = None) -> Lease:
        """Extend a lease: from now, by ``ttl`` or by what it was granted, never past ``max_expires_at``."""
        return await self._adapter.perform(asking.renew_lease(id, ttl))

    async def redeem(self, id: str, ref: str) -> RedeemedLease:
        """Exchange the reference of a lease for the value, once; needs the session's redeem token."""
        return await self._adapter.perform(ask.RedeemLease(id=id, ref=ref))

    async def revoke(self, id: str) -> Lease:
        """End a lease. The value that it delivered works until the credential is rotated."""
        return await self._adapter.perform(ask.RevokeLease(id=id))

    async def revoke_where(
        self, *, agent: str | None = None, session: str | None = None, credential: str | None = None
    ) -> Revocation:
        """End all active leases within reach that match; at least one filter is needed."""
        return await self._adapter.perform(asking.revoke_leases(agent, session, credential))


class AsyncTokens(_Noun):
    """What callers authenticate with. Administering them needs the role admin."""

    async def create(
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
        """Mint a token for exactly one of ``agent``, ``human`` and ``operator``. Its secret is shown only now."""
        return await self._adapter.perform(
            asking.create_token(agent, human, operator, role, credentials, ttl, max_lease_ttl, requests_per_minute)
        )

    async def list(self) -> "builtins.list[Token]":
        """Tokens, newest first, without those of sessions."""
        return await self._all(ask.ListTokens(limit=ask.MAX_PAGE_SIZE))

    async def get(self, id: str) -> Token:
        """One token, without its secret."""
        return await self._adapter.perform(ask.GetToken(id=id))

    async def rotate(self, id: str, *, ttl: AnyDuration | None = None) -> IssuedToken:
        """Replace the secret; id, sessions and leases stay, the old secret dies at once."""
        return await self._adapter.perform(asking.rotate_token(id, ttl))

    async def revoke(self, id: str) -> Revocation:
        """End a token, its sessions and their leases, in one step."""
        return await self._adapter.perform(ask.RevokeToken(id=id))


class AsyncSessions(_Noun):
    """Runs of agents."""

    async def open(self, id: str | None = None, *, claimed: Mapping[str, str] | None = None) -> OpenedSession:
        """Exchange the agent token of this connection for a session token and a redeem token."""
        return await self._adapter.perform(asking.open_session(id, claimed))

    async def list(
        self, *, agent: str | None = None, state: SessionState | str | None = None, limit: int | None = None
    ) -> "builtins.list[Session]":
        """Sessions within reach, newest first."""
        return await self._all(asking.list_sessions(agent, state, limit), limit)

    async def get(self, id: str) -> Session:
        """One session."""
        return await self._adapter.perform(ask.GetSession(id=id))

    async def end(self, id: str) -> Revocation:
        """End a session and its leases. An ended id never opens again."""
        return await self._adapter.perform(ask.EndSession(id=id))

    async def touch(self) -> Session:
        """Give a sign of life of the session whose token this connection uses; needed every 15 minutes."""
        return await self._adapter.perform(ask.TouchSession())


class AsyncAuditLog(_Noun):
    """What happened: every access and every refusal."""

    async def query(
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
        """The newest ``limit`` entries that match, oldest first. Needs the role admin, or the agent's own session."""
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        items: list[AuditEntry] = []
        while True:
            size = asking.page_size(None if limit is None else limit - len(items))
            page = await self._adapter.perform(replace(request, limit=size))
            items = [*page.items, *items]
            if page.next_cursor is None or (limit is not None and len(items) >= limit):
                return items
            request = replace(request, cursor=page.next_cursor)

    async def after(
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
    ) -> AsyncIterator[AuditEntry]:
        """All entries after ``seq`` (-1: from the start) that match, oldest first, up to the end of the log now."""
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        request = replace(request, after_seq=seq, limit=ask.MAX_PAGE_SIZE)
        while True:
            page = await self._adapter.perform(request)
            for entry in page.items:
                yield entry
            if page.next_cursor is None:
                return
            request = replace(request, cursor=page.next_cursor)

    async def follow(
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
    ) -> AsyncIterator[AuditEntry]:
        """Entries that match as they come, oldest first, none twice and none left out."""
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        if after_seq is None:
            after_seq = following.last_seq(await self._adapter.perform(following.newest(request)))
        entries = self._adapter.follow(
            replace(request, after_seq=after_seq), poll_seconds=poll_seconds, on_state=on_state or (lambda _: None)
        )
        async with aclosing(entries):
            async for entry in entries:
                yield entry

    async def verify(
        self,
        *,
        since: str | None = None,
        against: Sequence[str] = (),
        key: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> LogVerification:
        """Check the log as a whole; what is wrong with it is in the answer. Needs the role admin."""
        request = ask.VerifyLog(since=since, against=tuple(against), key=key, progress=progress)
        return await self._adapter.perform(request)

    async def checkpoint(self) -> LogCheckpoint:
        """A signed checkpoint over all entries that there are; one kept elsewhere proves them later."""
        return await self._adapter.perform(ask.CreateCheckpoint())

    async def stats(
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
        return list((await self._adapter.perform(asking.count_audit(by, request))).items)

    async def newest_checkpoint(self) -> LogCheckpoint:
        """The newest checkpoint that there is; unlike :meth:`checkpoint` this makes none.

        Raises:
            NotFound: There is none yet.
        """
        return await self._adapter.perform(ask.GetCheckpoint())

    async def begin_export(
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
        """Record that entries are about to leave the vault, and answer up to where. Needs the role admin."""
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        return await self._adapter.perform(asking.begin_export(request, format))

    async def export(
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
    ) -> AsyncIterator[AuditEntry]:
        """All entries that match and were there when it began, oldest first, after that was recorded."""
        request = asking.query_audit(filter, agent, session, credential, lease, events, since, until)
        end = await self._adapter.perform(asking.begin_export(request, format))
        request = replace(request, after_seq=-1, limit=ask.MAX_PAGE_SIZE)
        while True:
            page = await self._adapter.perform(request)
            for entry in page.items:
                if entry.seq >= end.size:
                    return
                yield entry
            if page.next_cursor is None:
                return
            request = replace(request, cursor=page.next_cursor)

    async def tile(self, path: str) -> bytes:
        """A hash tile or an entry bundle of the log, by its C2SP tlog-tiles path behind ``tile/``."""
        return await self._adapter.perform(ask.GetTile(path=path))


class AsyncTenants(_Noun):
    """Tenants and their settings. Creating and listing is for the owner and operators."""

    async def create(
        self, id: str, *, default_lease_ttl: AnyDuration | None = None, max_lease_ttl: AnyDuration | None = None
    ) -> Tenant:
        """Create a tenant with its own keys and its own audit log."""
        return await self._adapter.perform(asking.create_tenant(id, default_lease_ttl, max_lease_ttl))

    async def list(self) -> "builtins.list[Tenant]":
        """All tenants by name."""
        return await self._all(ask.ListTenants(limit=ask.MAX_PAGE_SIZE))

    async def get(self, id: str) -> Tenant:
        """One tenant."""
        return await self._adapter.perform(ask.GetTenant(id=id))

    async def update(
        self, id: str, *, default_lease_ttl: AnyDuration | None = None, max_lease_ttl: AnyDuration | None = None
    ) -> Tenant:
        """Change settings; what is None stays. Needs the role admin in the tenant."""
        return await self._adapter.perform(asking.update_tenant(id, default_lease_ttl, max_lease_ttl))

    async def rotate_kek(self, id: str, *, version: int | None = None, limit: int = ask.PAGE_SIZE) -> KekRotation:
        """One step of a rotation of the key-encryption key; go on until ``remaining`` is 0. Needs the role admin."""
        return await self._adapter.perform(ask.RotateKek(id=id, version=version, limit=limit))


class AsyncTeam(_Noun):
    """The people of the tenant. Everything about them needs the role admin.

    A person is an e-mail address, which is the ``user_id`` of all their tokens and stays so.
    """

    async def invite(self, email: str, role: Role | str, *, ttl: AnyDuration | None = None) -> IssuedToken:
        """Take a person into the team, and mint their first personal token. Its secret is shown only now.

        Args:
            email: Who it is. Tokens that exist for this address become theirs, and carry at most ``role``.
            role: What they may do.
            ttl: How long the token authenticates; 90 days if None.

        Raises:
            AlreadyExists: They are in the team already.
        """
        return await self._adapter.perform(asking.invite_member(email, role, ttl))

    async def list(self) -> "builtins.list[Member]":
        """The team by address."""
        return await self._all(ask.ListMembers(limit=ask.MAX_PAGE_SIZE))

    async def get(self, email: str) -> Member:
        """One person of the team."""
        return await self._adapter.perform(ask.GetMember(email=email))

    async def change_role(self, email: str, role: Role | str) -> Member:
        """Give a person another role. Tokens that carry the old one follow at once; none carries more than the new.

        Raises:
            Conflict: They are the only admin, and the caller does not run the vault.
        """
        return await self._adapter.perform(asking.change_role(email, role))

    async def remove(self, email: str) -> Revocation:
        """Take a person out of the team; their tokens and leases end in the same step.

        Raises:
            Conflict: They are the only admin, and the caller does not run the vault.
        """
        return await self._adapter.perform(ask.RemoveMember(email=email))

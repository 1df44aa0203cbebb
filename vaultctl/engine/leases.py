"""Operations on leases."""

from typing import Any, NamedTuple

from msgspec.structs import replace

from vaultctl.domain import requests as ask
from vaultctl.domain.disclosure import Text
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import (
    Conflict,
    InvalidInput,
    LeaseAtMaximum,
    NotAllowed,
    NotFound,
    VaultError,
    VerificationFailed,
)
from vaultctl.domain.ids import least_timed_id, new_timed_id
from vaultctl.domain.names import check_name
from vaultctl.domain.records import (
    Delivery,
    Event,
    Identity,
    IssuedLease,
    Lease,
    LeaseState,
    Page,
    ResponseFormat,
    Revocation,
    Role,
)
from vaultctl.domain.rules import (
    DEFAULT_MAX_LEASE_TTL,
    Caller,
    Refusal,
    grant_ttl,
    judge_lease,
    judge_reference,
    renewed_expiry,
    require_role,
)
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import SECOND, from_micros, micros_of, rfc3339, to_micros
from vaultctl.engine import paging, views
from vaultctl.engine.authentication import caller_of, session_is_live
from vaultctl.engine.catalogue import find_credential, near_names
from vaultctl.engine.free_text import check_texts, disclosed, refuse_disclosure, value_fragments
from vaultctl.engine.references import reference_to
from vaultctl.engine.refusals import Refused, refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import CredentialRow, LeaseRow, SessionRow, TokenRow, VersionRow

_ACTIVE_STATE = LeaseState.ACTIVE.value
_ACTIVE = Where("state", "=", _ACTIVE_STATE)
_LENGTH = "max_expires_at - issued_at"
_USUAL_LENGTH = micros_of(DEFAULT_MAX_LEASE_TTL)


def create_lease(tx: Transaction, caller: Caller, request: ask.CreateLease) -> IssuedLease:
    """Lease a credential; the answer holds its value, or a reference to it.

    An agent is given a reference where the policy says so, whatever it asks for: what its answer has to be is not a
    model's choice, and a model that asks in the usual way gets on with its task.
    """
    name = check_name(request.credential_name, "credential")
    check_texts(request.purpose, request.claimed)
    texts = (name, request.purpose or "", *request.claimed, *request.claimed.values())
    text = refuse_disclosure(tx, caller, texts, Event.LEASE_DENIED)
    identity = _with_purpose(caller.identity, request.purpose)
    details: dict[str, Any] = {"claimed": request.claimed or None, "requestedTTL": request.ttl and str(request.ttl)}
    # Whoever asks again gets the same, unless what was judged has changed.
    known = tx.judged(caller.tenant)
    key = (id(caller), name, request.ttl, request.response_format)
    terms: _Terms | None = known.get(key)
    if terms is None or terms.caller is not caller:
        terms = known[key] = _judged(tx, caller, request, name, text, identity, details)
    elif text.discloses(terms.fragments):
        raise _disclosing(caller)
    draft = terms.draft
    if draft is None or draft.row.issued_at != tx.now:
        draft = _drafted(terms, tx.now)
        known[key] = terms._replace(draft=draft)

    row = replace(draft.row, id=new_timed_id("lease", tx.now, tx.random), purpose=request.purpose)
    row = tx.insert(row)
    tx.audit(
        caller.tenant,
        Event.LEASE_CREATED,
        identity,
        draft.details | details,
        credential_name=name,
        lease_id=row.id,
    )
    lease = replace(draft.lease, id=row.id, identity=identity)
    return _issued(tx, row, lease, terms.version, terms.type, terms.value)


class _Draft(NamedTuple):
    """A lease that is issued at some moment, but for its id and its purpose.

    Attributes:
        row: As it will be stored.
        lease: The record of it.
        details: What its entry says of it.
    """

    row: LeaseRow
    lease: Lease
    details: dict[str, Any]


class _Terms(NamedTuple):
    """On which a caller leases a credential, as it was judged. Times are in microseconds.

    ``draft`` is what leases on these terms have in common that are issued at the same moment, as those of one
    transaction are.
    """

    caller: Caller
    name: str
    type: str
    version: VersionRow
    value: str
    fragments: tuple[str, ...]
    delivery: Delivery
    ttl: int
    maximum: int
    draft: _Draft | None = None

    def __repr__(self) -> str:
        return "_Terms(****)"


def _drafted(terms: _Terms, now: int) -> _Draft:
    caller = terms.caller
    identity = caller.identity
    latest = now + terms.maximum
    if caller.expires_at is not None:  # a lease does not outlive the token that it was issued to
        latest = min(latest, to_micros(caller.expires_at))
    expires_at = min(now + terms.ttl, latest)
    row = LeaseRow(
        tenant=caller.tenant,
        id="",
        credential_id=terms.version.credential_id,
        credential_name=terms.name,
        credential_version=terms.version.version,
        token_id=caller.token_id,
        session_id=caller.session_id,
        identity_type=identity.type,
        agent=identity.name,
        email=identity.email,
        user_id=identity.user_id,
        purpose=None,
        ttl=max(1, (expires_at - now) // SECOND),
        issued_at=now,
        expires_at=expires_at,
        max_expires_at=latest,
        renewed_at=None,
        renewals=0,
        state=_ACTIVE_STATE,
        ended_at=None,
        end_reason=None,
        delivery=terms.delivery.value,
    )
    details = _times(row) | {"credentialVersion": row.credential_version, "tokenId": row.token_id}
    if terms.delivery is Delivery.REFERENCE:
        details["delivery"] = terms.delivery.value
    return _Draft(row, views.lease(row, now), details)


def _judged(
    tx: Transaction,
    caller: Caller,
    request: ask.CreateLease,
    name: str,
    text: Text,
    identity: Identity,
    details: dict[str, Any],
) -> _Terms:
    """The terms on which ``caller`` may lease the credential ``name``.

    Raises:
        Refused: It may not.
    """
    row = find_credential(tx, caller, name)
    policy = None if row is None else views.policy_of(row)
    state = None if row is None else views.CREDENTIAL_STATES[row.state]
    refusal = judge_lease(caller, name, policy, state, delivers_value=False)
    if refusal and row is None and not caller.is_agent and refusal.rule == "no-such-credential":
        refusal = Refusal(
            refusal.rule, NotFound(f"There is no credential {name!r}.", hint=near_names(tx, caller, name))
        )
    entry: dict[str, Any] = {"identity": identity, "event": Event.LEASE_DENIED, "credential_name": name}
    refuse_if(caller, refusal, **entry, details=details)
    if row is None or policy is None:  # judge_lease refuses these
        raise AssertionError

    version = _version(tx, row.tenant, row.id, row.version, name)
    value = tx.unseal_value(version)
    fragments = value_fragments(tx, row.type, version)
    if text.discloses(fragments):
        raise _disclosing(caller)
    delivery = Delivery.VALUE
    if request.response_format is ResponseFormat.REFERENCE or (caller.is_agent and policy.delivery != delivery):
        delivery = Delivery.REFERENCE
        refuse_if(caller, judge_reference(caller, name, value), **entry, details=details)

    tenant = tx.tenant(caller.tenant)
    grant = grant_ttl(
        request.ttl,
        policy,
        caller.max_lease_ttl,
        Duration.of(tenant.default_lease_ttl),
        Duration.of(tenant.max_lease_ttl),
    )
    ttl, maximum = micros_of(grant.ttl), micros_of(grant.maximum)
    return _Terms(caller, name, row.type, version, value, fragments, delivery, ttl, maximum)


def _disclosing(caller: Caller) -> Refused:
    return Refused(Refusal("secret-in-text", disclosed()), caller.tenant, caller.identity, event=Event.LEASE_DENIED)


def reissue_lease(tx: Transaction, caller: Caller, lease_id: str) -> IssuedLease:
    """Answer again with a lease that the same request made, while it is active and its holder may have it."""
    row = reachable(tx, caller, lease_id)
    if row.state != _ACTIVE_STATE or row.expires_at <= tx.now:
        raise Conflict(
            "The lease that this request made has ended.", hint="Request a new one, with a new idempotency key."
        )
    credential = _leased_credential(tx, row)
    refusal = _judge(caller, row, credential)
    refuse_if(caller, refusal, event=Event.LEASE_DENIED, credential_name=row.credential_name, lease_id=row.id)
    if credential is None:  # _judge refuses that
        raise AssertionError
    details = {"credentialVersion": row.credential_version, "tokenId": caller.token_id}
    audit(tx, Event.LEASE_REPLAYED, row, caller.identity, details)
    version = leased_version(tx, row)
    return _issued(tx, row, views.lease(row, tx.now), version, credential.type, tx.unseal_value(version))


def list_leases(tx: Transaction, caller: Caller, request: ask.ListLeases) -> Page[Lease]:
    """Leases within the caller's reach, newest first."""
    limit = paging.page_size(request.limit)
    conditions = _reach(caller) + _equal(
        agent=request.agent,
        session_id=request.session_id,
        credential_name=request.credential_name,
    )
    if request.token_id is not None:
        conditions += _by_token(tx, caller.tenant, request.token_id)
    match request.state:
        case LeaseState.ACTIVE:
            conditions += [_ACTIVE, Where("expires_at", ">", tx.now)]
        case LeaseState.EXPIRED:  # also those whose end was not recorded yet
            states = (LeaseState.EXPIRED.value, LeaseState.ACTIVE.value)
            conditions += [Where("state", "in", states), Where("expires_at", "<=", tx.now)]
        case LeaseState.REVOKED:  # also those whose session has fallen silent
            conditions.append(Where("state", "in", (LeaseState.REVOKED.value, LeaseState.ACTIVE.value)))
    at = None if request.active_at is None else to_micros(request.active_at)
    if at is not None:
        conditions += _active_at(tx, caller, request.credential_name, at)
    liveness = _Liveness(tx)

    def keep(row: LeaseRow) -> bool:
        if at is not None and row.ended_at is not None and row.ended_at <= at:
            return False
        return request.state is None or liveness.state(row) is request.state

    def fetch(before: tuple[str | int, ...] | None, count: int) -> list[LeaseRow]:
        older = [] if before is None else [Where("id", "<", before[0])]
        return tx.find(LeaseRow, *conditions, *older, order="id", descending=True, limit=count)

    start = paging.decode(request.cursor, str) if request.cursor else None
    return paging.scan(fetch, keep, start, limit, liveness.view, lambda row: (row.id,))


def get_lease(tx: Transaction, caller: Caller, request: ask.GetLease) -> Lease:
    """One lease."""
    return _Liveness(tx).view(reachable(tx, caller, request.id))


def renew_lease(tx: Transaction, caller: Caller, request: ask.RenewLease) -> Lease:
    """Extend a lease from now, up to its maximum. Rule 2 is judged anew, for its holder."""
    row = reachable(tx, caller, request.id)
    entry: dict[str, Any] = {"event": Event.LEASE_DENIED, "credential_name": row.credential_name, "lease_id": row.id}
    entry["details"] = _trail(row, caller.identity)
    refuse_if(caller, require_role(caller, Role.USER), **entry)
    refuse_ended(tx, caller, row, entry)
    holder, credential = judge_anew(tx, caller, row, entry)

    tenant = tx.tenant(row.tenant)
    grant = grant_ttl(
        request.ttl or Duration.of(row.ttl),
        views.policy_of(credential),
        holder.max_lease_ttl,
        Duration.of(tenant.default_lease_ttl),
        Duration.of(tenant.max_lease_ttl),
    )
    latest = from_micros(row.max_expires_at)
    if holder.expires_at is not None:
        latest = min(latest, holder.expires_at)
    expiry = renewed_expiry(tx.moment, from_micros(row.expires_at), latest, grant.ttl)
    if isinstance(expiry, LeaseAtMaximum):
        raise Refused(Refusal("maximum-ttl", expiry), caller.tenant, caller.identity, **entry)
    row = tx.update(
        row,
        ttl=max(1, (to_micros(expiry) - tx.now) // SECOND),
        expires_at=to_micros(expiry),
        renewed_at=tx.now,
        renewals=row.renewals + 1,
    )
    details = _times(row) | {"renewals": row.renewals} | _trail(row, caller.identity)
    audit(tx, Event.LEASE_RENEWED, row, caller.identity, details)
    return views.lease(row, tx.now)


def revoke_lease(tx: Transaction, caller: Caller, request: ask.RevokeLease) -> Lease:
    """End one lease; one that has ended stays as it is."""
    row = reachable(tx, caller, request.id)
    if row.state == LeaseState.ACTIVE and row.expires_at > tx.now:
        row = end_lease(tx, row, caller.identity, LeaseState.REVOKED, "revoked")
    return views.lease(row, tx.now)


def revoke_leases(tx: Transaction, caller: Caller, request: ask.RevokeLeases) -> Revocation:
    """End all active leases within the caller's reach that match."""
    filters = _equal(agent=request.agent, session_id=request.session_id, credential_name=request.credential_name)
    if not filters:
        raise InvalidInput("Which leases was not said.", hint="Name an agent, a session or a credential.")
    return Revocation(leases=revoke_all(tx, caller.identity, "revoked", (*_reach(caller), *filters)))


# For the other operations


def revoke_all(tx: Transaction, identity: Identity, reason: str, conditions: tuple[Where, ...]) -> int:
    """End all active leases that meet ``conditions``; answers how many had not run out before."""
    rows = tx.find_authentic(LeaseRow, *conditions, _ACTIVE)
    ended = [end_lease(tx, row, identity, LeaseState.REVOKED, reason) for row in rows]
    return sum(row.state == LeaseState.REVOKED for row in ended)


def end_lease(tx: Transaction, row: LeaseRow, identity: Identity, state: LeaseState, reason: str) -> LeaseRow:
    """End an active lease and record it, as expired if it ran out before."""
    details = _trail(row, identity)
    if row.expires_at <= tx.now:
        state, reason = LeaseState.EXPIRED, "expired"
        identity = views.lease_identity(row)
        details = {"expiredAt": rfc3339(from_micros(row.expires_at))}
    ended = tx.update(row, state=state.value, ended_at=tx.now, end_reason=reason)
    event = Event.LEASE_EXPIRED if state is LeaseState.EXPIRED else Event.LEASE_REVOKED
    tx.audit(
        row.tenant,
        event,
        identity,
        details | {"reason": reason, "renewals": row.renewals},
        credential_name=row.credential_name,
        lease_id=row.id,
    )
    return ended


def reachable(tx: Transaction, caller: Caller, lease_id: str) -> LeaseRow:
    """A lease that belongs to the caller (rule 3).

    Raises:
        NotFound, Refused: There is none of that id.
    """
    row = tx.get(LeaseRow, caller.tenant, lease_id)
    if row is not None:
        if caller.is_agent:
            mine = row.agent == caller.identity.name and caller.session_id in (None, row.session_id)
        else:
            mine = caller.role.rank >= Role.MANAGER.rank or row.user_id == caller.identity.user_id
        if mine:
            return row
    error: VaultError = NotFound("There is no such lease.", hint="List yours: vaultctl lease list")
    if caller.is_agent or caller.role.rank < Role.MANAGER.rank:
        rule = "no-such-lease" if row is None else "lease-owner"
        raise Refused(Refusal(rule, error), caller.tenant, caller.identity)
    raise error


def refuse_ended(tx: Transaction, caller: Caller, row: LeaseRow, entry: dict[str, Any]) -> None:
    """Refuse what only an active lease is good for. ``entry`` as for :class:`Refused`."""
    if row.state != LeaseState.ACTIVE or row.expires_at <= tx.now:
        how = "was revoked" if row.state == LeaseState.REVOKED else "has expired"
        ended = Conflict(f"The lease {how}.", hint="Request a new lease.")
        refuse_if(caller, Refusal("lease-ended", ended), **entry)


def judge_anew(tx: Transaction, caller: Caller, row: LeaseRow, entry: dict[str, Any]) -> tuple[Caller, CredentialRow]:
    """Refuse unless the lease's holder, and the caller, may still have it (rule 2); answers holder and credential."""
    holder = _holder(tx, caller, row, entry)
    credential = _leased_credential(tx, row)
    refusal = _judge(holder, row, credential)
    if refusal is None and caller.is_agent:  # perhaps by another, narrower token of the same agent
        refusal = _judge(caller, row, credential)
    if refusal and holder.is_agent and not caller.is_agent:  # who sees the credential is told so
        not_allowed = NotAllowed(
            f"The lease's holder may not use {row.credential_name!r} any more.", hint="An admin can change its policy."
        )
        refusal = Refusal(refusal.rule, not_allowed)
    refuse_if(caller, refusal, **entry)
    if credential is None:  # _judge refuses that
        raise AssertionError
    return holder, credential


def leased_version(tx: Transaction, row: LeaseRow) -> VersionRow:
    """The version that was leased."""
    return _version(tx, row.tenant, row.credential_id, row.credential_version, row.credential_name)


def audit(tx: Transaction, event: Event, row: LeaseRow, actor: Identity, details: dict[str, Any]) -> None:
    """Record what ``actor`` did with a lease, and for which purpose it was leased."""
    identity = _with_purpose(actor, row.purpose)
    tx.audit(row.tenant, event, identity, details, credential_name=row.credential_name, lease_id=row.id)


class _Liveness:
    """The state of leases as it is now, whether or not it was recorded: with its session a lease ends too."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._sessions: dict[str, bool] = {}

    def state(self, row: LeaseRow) -> LeaseState:
        state = views.lease(row, self._tx.now).state
        if state is LeaseState.ACTIVE and row.session_id is not None and not self._is_live(row.session_id, row.tenant):
            return LeaseState.REVOKED
        return state

    def view(self, row: LeaseRow) -> Lease:
        return replace(views.lease(row, self._tx.now), state=self.state(row))

    def _is_live(self, session_id: str, tenant: str) -> bool:
        if session_id not in self._sessions:
            session = self._tx.get(SessionRow, tenant, session_id)
            self._sessions[session_id] = session is not None and session_is_live(session, self._tx.now)
        return self._sessions[session_id]


def _active_at(tx: Transaction, caller: Caller, credential_name: str | None, at: int) -> list[Where]:
    """The leases that could be active at a moment, but for those that were ended before they expired.

    Of a credential only those count that began no longer before it than the longest lease that there is of it, or a
    day: shorter ones have no index of their lengths.
    """
    if credential_name is None:
        raise InvalidInput("Of which credential the leases are is missing.", hint="Name it: --credential NAME")
    if at > tx.now:
        raise InvalidInput("What will be active then nobody knows yet.", hint="Name a moment that has passed.")
    of_credential = Where("tenant", "=", caller.tenant), Where("credential_name", "=", credential_name)
    longer = Where(_LENGTH, ">", _USUAL_LENGTH)
    longest = tx.find(LeaseRow, *of_credential, longer, order=_LENGTH, descending=True, limit=1)
    length = longest[0].max_expires_at - longest[0].issued_at if longest else _USUAL_LENGTH
    return [*_issued_between(max(0, at - length), at), Where("expires_at", ">", at)]


def _by_token(tx: Transaction, tenant: str, token_id: str) -> list[Where]:
    """The leases that were issued to a token, which were so while it counted, and to whom it stands for."""
    token = tx.get(TokenRow, tenant, token_id)
    conditions = [Where("token_id", "=", token_id)]
    if token is not None:
        conditions += _equal(agent=token.agent)
        conditions += _issued_between(token.created_at, token.expires_at)
    return conditions


def _issued_between(earliest: int, latest: int) -> tuple[Where, Where]:
    """The leases that were issued from one time to another, both included."""
    return Where("id", ">=", least_timed_id("lease", earliest)), Where("id", "<", least_timed_id("lease", latest + 1))


def _reach(caller: Caller) -> list[Where]:
    """The leases that belong to the caller (rule 3)."""
    conditions = [Where("tenant", "=", caller.tenant)]
    if caller.is_agent:
        conditions.append(Where("agent", "=", caller.identity.name))
        if caller.session_id is not None:
            conditions.append(Where("session_id", "=", caller.session_id))
    elif caller.role.rank < Role.MANAGER.rank:
        conditions.append(Where("user_id", "=", caller.identity.user_id))
    return conditions


def _leased_credential(tx: Transaction, row: LeaseRow) -> CredentialRow | None:
    """The credential that a lease is of, if it is still there."""
    credential = tx.get(CredentialRow, row.tenant, row.credential_name)
    return credential if credential is not None and credential.id == row.credential_id else None


def _judge(caller: Caller, row: LeaseRow, credential: CredentialRow | None) -> Refusal | None:
    """Whether the caller may go on leasing it (rule 2)."""
    if credential is None:
        return judge_lease(caller, row.credential_name, None, None)
    policy, state = views.policy_of(credential), views.CREDENTIAL_STATES[credential.state]
    delivers_value = row.delivery != Delivery.REFERENCE
    return judge_lease(caller, row.credential_name, policy, state, delivers_value=delivers_value)


def _holder(tx: Transaction, caller: Caller, row: LeaseRow, entry: dict[str, Any]) -> Caller:
    """The authority under which the lease was issued, as it is now."""
    if row.session_id is not None:
        session = tx.get(SessionRow, row.tenant, row.session_id)
        if session is None or not session_is_live(session, tx.now):
            ended = Conflict("The session of the lease has ended.", hint="Request a new lease in a new session.")
            refuse_if(caller, Refusal("session-ended", ended), **entry)
    if row.token_id is None:  # the owner's own
        owner = views.lease_identity(row)
        return Caller(row.tenant, owner, Role.ADMIN, is_operator=True)
    if row.token_id == caller.token_id:
        return caller
    token = tx.get(TokenRow, row.tenant, row.token_id)
    try:
        if token is not None:
            return caller_of(tx, token)
        rule = "token-revoked"
    except Refused as refused:
        rule = refused.refusal.rule
    gone = Conflict("The token that the lease was issued to counts no more.", hint="Request a new lease.")
    raise Refused(Refusal(rule, gone), caller.tenant, caller.identity, **entry)


def _version(tx: Transaction, tenant: str, credential_id: str, number: int, name: str) -> VersionRow:
    version = tx.get(VersionRow, tenant, credential_id, number)
    if version is None:
        raise VerificationFailed(f"Version {number} of {name!r} is missing from the database.")
    return version


def _issued(tx: Transaction, row: LeaseRow, lease: Lease, version: VersionRow, type: str, value: str) -> IssuedLease:
    """The answer with a lease: as it is delivered, with the value or with a reference to it."""
    kind = views.CREDENTIAL_TYPES[type]
    attributes = views.attributes_of(version)
    by_reference = row.delivery == Delivery.REFERENCE
    return IssuedLease(
        lease=lease,
        type=kind,
        attributes=attributes,
        value=None if by_reference else Secret(value),
        credential_reference=reference_to(tx, row, kind, value, attributes) if by_reference else None,
    )


def _equal(**columns: str | None) -> list[Where]:
    return [Where(column, "=", value) for column, value in columns.items() if value is not None]


def _with_purpose(identity: Identity, purpose: str | None) -> Identity:
    return Identity(
        type=identity.type,
        name=identity.name,
        user_id=identity.user_id,
        email=identity.email,
        session_id=identity.session_id,
        purpose=purpose,
    )


def _trail(row: LeaseRow, actor: Identity) -> dict[str, Any]:
    """Whose lease it is, where that is not the actor's own."""
    trail = {}
    if row.agent is not None and row.agent != actor.name:
        trail["agent"] = row.agent
    if row.session_id is not None and row.session_id != actor.session_id:
        trail["sessionId"] = row.session_id
    return trail


def _times(row: LeaseRow) -> dict[str, Any]:
    return {
        "ttl": str(Duration.of(row.ttl)),
        "expiresAt": rfc3339(from_micros(row.expires_at)),
        "maxExpiresAt": rfc3339(from_micros(row.max_expires_at)),
    }

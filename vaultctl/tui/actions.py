"""What an operator can do to what is shown. Each is planned first, so that the question names what will happen.

A plan is made and carried out by a thread; neither knows what draws it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vaultctl.client import Vault
from vaultctl.domain.records import Session, Token, TokenState
from vaultctl.domain.text import safe
from vaultctl.domain.times import to_micros
from vaultctl.tui import words
from vaultctl.tui.model import LiveLease

DELIVERED = "A value that was delivered works until its credential is rotated."


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done.

    Attributes:
        question: What is asked, in one line.
        consequences: What will happen, a line each.
        button: The word that does it.
        run: Does it; answers what came of it.
    """

    question: str
    consequences: tuple[str, ...]
    button: str
    run: Callable[[Vault], str]


Planner = Callable[[Vault], Plan]
"""Makes a plan, looking at the vault as it is now.

Raises:
    VaultError: There is nothing to be done, or it can't be found out.
"""


def renew(lease: LiveLease) -> Planner:
    """Extend a lease by what it was granted."""

    def run(vault: Vault) -> str:
        renewed = vault.leases.renew(lease.id)
        return f"Renewed {lease.credential} of {lease.holder} until {words.moment(to_micros(renewed.expires_at))} UTC."

    return lambda _: Plan(
        f"Renew {lease.credential} of {lease.holder}?",
        (
            f"Lease {lease.id}",
            f"It is extended from now by what it was granted, never past {words.moment(lease.max_expires_at)} UTC.",
        ),
        "Renew",
        run,
    )


def revoke_lease(lease: LiveLease) -> Planner:
    """End a lease."""

    def run(vault: Vault) -> str:
        vault.leases.revoke(lease.id)
        return f"Revoked {lease.credential} of {lease.holder}."

    return lambda _: Plan(
        f"Revoke {lease.credential} of {lease.holder}?",
        (f"Lease {lease.id}", f"Purpose: {lease.purpose}" if lease.purpose else "No purpose was given.", DELIVERED),
        "Revoke",
        run,
    )


def end_session(id: str) -> Planner:
    """End a session and its leases."""

    def plan(vault: Vault) -> Plan:
        session = vault.sessions.get(id)
        leases = words.count(session.active_leases or 0, "active lease")
        return Plan(
            f"End this session of {safe(session.agent)}?",
            (f"Session {safe(id)}", f"{leases} will end with it.", "The session can't be opened again.", DELIVERED),
            "End",
            lambda vault: f"Ended the session; {words.count(vault.sessions.end(id).leases, 'lease')} ended with it.",
        )

    return plan


def revoke_token(id: str) -> Planner:
    """End a token, its sessions and their leases."""

    def plan(vault: Vault) -> Plan:
        token = vault.tokens.get(id)
        sessions = _sessions_of(vault, [token])
        leases = _leases_of(vault, [token], sessions)

        def run(vault: Vault) -> str:
            ended = vault.tokens.revoke(id)
            return f"Revoked the token; {_ended(ended.leases, ended.sessions)} ended with it."

        return Plan(
            f"Revoke this token of {safe(token.agent or token.email or token.kind)}?",
            (f"Token {safe(id)}", f"{_ended(leases, len(sessions))} will end with it.", DELIVERED),
            "Revoke",
            run,
        )

    return plan


def stop_agent(agent: str) -> Planner:
    """Revoke all tokens of an agent, and with them its sessions and leases."""

    def plan(vault: Vault) -> Plan:
        tokens = _tokens_of(vault, agent)
        sessions = vault.sessions.list(agent=agent, state="active")
        leases = len(vault.leases.list(agent=agent, state="active"))
        return Plan(
            f"Stop {safe(agent)}?",
            (
                f"{words.count(len(tokens), 'token')} will be revoked: the agent can't come back without a new one.",
                f"{_ended(leases, len(sessions))} will end.",
                DELIVERED,
            ),
            "Stop",
            run,
        )

    def run(vault: Vault) -> str:
        leases = sessions = 0
        tokens = _tokens_of(vault, agent)
        for token in tokens:
            ended = vault.tokens.revoke(token.id)
            leases += ended.leases
            sessions += ended.sessions
        leases += vault.leases.revoke_where(agent=agent).leases
        return f"Stopped {safe(agent)}: {words.count(len(tokens), 'token')} revoked, {_ended(leases, sessions)} ended."

    return plan


def _tokens_of(vault: Vault, agent: str) -> list[Token]:
    return [token for token in vault.tokens.list() if token.agent == agent and token.state is TokenState.ACTIVE]


def _sessions_of(vault: Vault, tokens: list[Token]) -> list[Session]:
    ids = {token.id for token in tokens}
    agents = {token.agent for token in tokens if token.agent}
    return [s for agent in agents for s in vault.sessions.list(agent=agent, state="active") if s.token_id in ids]


def _leases_of(vault: Vault, tokens: list[Token], sessions: list[Session]) -> int:
    ids = {lease.id for token in tokens for lease in vault.leases.list(token=token.id, state="active")}
    for session in sessions:
        ids |= {lease.id for lease in vault.leases.list(session=session.id, state="active")}
    return len(ids)


def _ended(leases: int, sessions: int) -> str:
    return f"{words.count(sessions, 'session')} and {words.count(leases, 'lease')}"

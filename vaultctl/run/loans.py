"""The leases of one command: taken together, renewed while it runs, released when it ends.

An agent's run of a command is a session of its own, so that the vault ends the leases even if this process is killed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread

from vaultctl.client.vault import LeaseHandle, Vault
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import (
    Conflict,
    InternalError,
    LeaseAtMaximum,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    VaultError,
    VaultUnavailable,
)
from vaultctl.domain.records import Lease
from vaultctl.domain.renewals import LONGEST_NAP, RENEW_BEFORE_EXPIRY, TOUCH_EVERY, renewal_due, retry_due
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import rfc3339

_PATIENCE = 5.0
"""Seconds that a renewal may still take once the command has ended."""

OpenVault = Callable[[Secret | None], Vault]
"""Opens the vault with a token; with none, as whoever runs the command."""

Warn = Callable[[str, str], None]
"""Says something to people: what happened, and what to do."""

_AGAIN = "The value that the command has works until the credential is rotated. For a new lease, run the command anew."


@dataclass
class _Loan:
    lease: Lease
    retry_at: datetime | None = None
    settled: bool = False

    @property
    def due(self) -> datetime:
        return self.retry_at or renewal_due(self.lease, RENEW_BEFORE_EXPIRY)


class Loans:
    """What one command has on loan."""

    def __init__(self, vault: Vault, *, in_session: bool, own_session: str | None, warn: Warn) -> None:
        self._vault = vault
        self._in_session = in_session
        self._own_session = own_session
        self._warn = warn
        self._loans: list[_Loan] = []
        self._touched_at = datetime.now(UTC)
        self._ending = Event()
        self._keeper: Thread | None = None

    @classmethod
    def open(cls, open_vault: OpenVault, warn: Warn) -> "Loans":
        """Connect; an agent's token is exchanged for that of a session of this command."""
        vault = open_vault(None)
        try:
            me = vault.whoami()
            if me.identity.type != "agent" or me.session is not None:
                return cls(vault, in_session=me.session is not None, own_session=None, warn=warn)
            opened = vault.sessions.open(claimed={"clientName": "vaultctl run"})
            try:
                own = open_vault(opened.token)
            except BaseException:
                vault.sessions.end(opened.session.id)
                raise
        except BaseException:
            vault.close()
            raise
        vault.close()
        return cls(own, in_session=True, own_session=opened.session.id, warn=warn)

    def take(self, name: str, ttl: Duration | None, purpose: str) -> LeaseHandle:
        """Lease a credential.

        Raises:
            NotAllowed: It is delivered by reference, which no environment can make use of.
        """
        issued = self._vault.leases.create(name, ttl=ttl, purpose=purpose)
        self._loans.append(_Loan(issued.lease))
        if issued.credential_reference is not None:
            raise NotAllowed(
                f"{name!r} is delivered to agents by reference only, and a command needs the value.",
                hint="Run the agent under a runtime that redeems references.",
            )
        return issued

    def start_keeping(self) -> None:
        """Renew from now on, in a thread."""
        self._keeper = Thread(target=self._keep, name="vaultctl-renewal", daemon=True)
        self._keeper.start()

    def attend(self, now: datetime) -> datetime:
        """Renew what is due at ``now``, and give a sign of life; answers when to do so again."""
        for loan in self._loans:
            if not loan.settled and loan.due <= now:
                self._renew(loan, now)
        next_times = [loan.due for loan in self._loans if not loan.settled]
        if self._in_session:
            if self._touched_at + TOUCH_EVERY <= now:
                self._touch(now)
            next_times.append(self._touched_at + TOUCH_EVERY)
        return min([now + LONGEST_NAP, *next_times])

    def release(self) -> None:
        """End all leases, and the session if it is this command's own.

        Raises:
            VaultError: The vault did not do all of it. The leases end by themselves.
        """
        self._ending.set()
        if self._keeper is not None:
            self._keeper.join(_PATIENCE)
        failed: VaultError | None = None
        try:
            if self._own_session is not None:
                with suppress(NotAuthenticated, Conflict):  # it has ended, and its leases with it
                    self._vault.sessions.end(self._own_session)
            else:
                for loan in self._loans:
                    try:
                        self._vault.leases.revoke(loan.lease.id)
                    except (Conflict, NotFound):
                        continue  # ended by somebody else, which is as good
                    except VaultError as error:
                        failed = error
        finally:
            self._vault.close()
        if failed is not None:
            raise failed

    def _keep(self) -> None:
        now = datetime.now(UTC)
        while not self._ending.wait((self.attend(now) - now).total_seconds()):
            now = datetime.now(UTC)

    def _renew(self, loan: _Loan, now: datetime) -> None:
        lease = loan.lease
        what = f"The lease on {lease.credential_name}"
        if lease.expires_at <= now:
            self._settle(loan, f"{what} could not be renewed in time and has ended.")
            return
        try:
            if lease.renewable:
                loan.lease = lease = self._vault.leases.renew(lease.id)
                loan.retry_at = None
                if lease.renewable:
                    return
        except (VaultUnavailable, InternalError):
            loan.retry_at = retry_due(lease, now)
            return
        except LeaseAtMaximum:
            pass
        except VaultError as error:
            self._settle(loan, f"{what} is not renewed any more: {error.message}")
            return
        self._settle(loan, f"{what} has reached its maximum and ends at {rfc3339(lease.expires_at)}.")

    def _settle(self, loan: _Loan, what: str) -> None:
        loan.settled = True
        self._warn(what, _AGAIN)

    def _touch(self, now: datetime) -> None:
        self._touched_at = now
        with suppress(VaultError):  # an end of the session shows in the renewals, which say so
            self._vault.sessions.touch()

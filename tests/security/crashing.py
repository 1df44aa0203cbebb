"""Runs in a process of its own: uses a vault until it is killed, and says what was acknowledged.

Each line is printed after the call that it tells of has returned: ``what id number``.
"""

import hashlib
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from vaultctl import Vault
from vaultctl.client.backup import back_up, restore
from vaultctl.client.root_key import move_root_key, rotate_root_key
from vaultctl.client.setup import initialise
from vaultctl.crypto import passphrases
from vaultctl.domain.errors import VaultError
from vaultctl.domain.secrets import Secret


def say(*words: object) -> None:
    """One line, at once, through a pipe."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def use(home: str, seed: str) -> None:
    """Issue, renew and revoke leases, rotate a credential, open and end sessions, until the end."""
    chance = random.Random(seed)
    owner = Vault.embedded(home=home)
    agent = Vault.connect(home=home, token=owner.tokens.create(agent="crasher", credentials=["*"]).secret)
    session, session_id, opened = agent, None, 0
    leases: list[str] = []

    def issue() -> None:
        lease = session.leases.create("crash", ttl="1h", purpose="until it is killed")
        leases.append(lease.id)
        say("issued", lease.id, lease.value.reveal())

    def renew() -> None:
        renewed = session.leases.renew(chance.choice(leases))
        say("renewed", renewed.id, renewed.renewals)

    def revoke() -> None:
        lease = leases.pop(chance.randrange(len(leases)))
        owner.leases.revoke(lease)
        say("revoked", lease, 0)

    def rotate() -> None:
        version = owner.credentials.rotate("crash", f"value-{chance.randrange(10**12):012}").version
        say("rotated", "crash", version)

    def run() -> None:
        nonlocal session, session_id, opened
        if session_id is None:
            fresh = agent.sessions.open(f"mcp_sess_{seed.replace('.', '')}_{opened}")
            opened += 1
            session, session_id = Vault.connect(home=home, token=fresh.token), fresh.session.id
            say("opened", session_id, 0)
        else:
            ended = session_id
            owner.sessions.end(ended)
            session, session_id = agent, None
            leases.clear()
            say("ended", ended, 0)

    def reach_no_more() -> None:
        with suppress(VaultError):
            session.leases.create("never-there")

    say("ready", "-", 0)
    actions: list[tuple[Callable[[], None], int]] = [
        (issue, 6), (renew, 4), (revoke, 3), (rotate, 1), (run, 1), (reach_no_more, 1),
    ]  # fmt: skip
    while True:
        (act,) = chance.choices([act for act, _ in actions], [weight for _, weight in actions])
        if leases or act in (issue, rotate, run, reach_no_more):
            # A lease of the session before is not reached from the next.
            with suppress(VaultError):
                act()


def rewrap(home: str) -> None:
    """Rotate the tenant's key-encryption key again and again, in small steps, until the end."""
    owner = Vault.embedded(home=home)
    say("ready", "-", 0)
    version = None
    while True:
        state = owner.tenants.rotate_kek("my-org", version=version, limit=3)
        say("rewrapped", "-", state.version)
        version = state.version if state.remaining else None


PASSPHRASE = "correct horse battery"


def backup(home: str) -> None:
    """Back up the vault into a file beside its home."""
    back_up(f"{home}/backup", home=f"{home}/vault", ask_backup_passphrase=lambda: Secret(PASSPHRASE))


def restored(home: str) -> None:
    """Restore the backup beside it."""
    restore(f"{home}/backup", home=f"{home}/vault", root_key="file", ask_backup_passphrase=lambda: Secret(PASSPHRASE))


def derive_cheaply() -> None:
    """A key that costs nothing, since it is derived a hundred times."""

    def derive(secret: Secret, salt: bytes, **_: int) -> bytes:
        return hashlib.sha256(salt + secret.reveal().encode()).digest()

    passphrases.derive = derive


WORK: dict[str, Callable[[str], object]] = {
    "found": lambda home: initialise(tenant="my-org", home=home, root_key="file"),
    "rotate": lambda home: rotate_root_key(home=home),
    "backup": backup,
    "restore": restored,
    "move": lambda home: move_root_key("file", home=home, ask_passphrase=lambda: Secret(PASSPHRASE)),
}


def killed_at(work: str, home: str, step: int) -> None:
    """Do some work, and be killed at the ``step``-th thing that it does to files or databases."""
    left = step

    def hook(event: str, _: object) -> None:
        nonlocal left
        if event.partition(".")[0] in ("open", "os", "sqlite3", "tempfile", "fcntl", "shutil"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)

    sys.addaudithook(hook)
    WORK[work](home)
    say("done", "-", step - left)


def main() -> None:
    """``use HOME SEED``, ``rewrap HOME``, ``found HOME``, or ``steps WORK HOMES FIRST LAST [TEMPLATE]``."""
    match sys.argv[1:]:
        case ["use", home, seed]:
            use(home, seed)
        case ["rewrap", home]:
            rewrap(home)
        case ["found", home]:
            warm_up()
            say("ready", "-", 0)
            sys.stdin.readline()
            started = time.monotonic()
            initialise(tenant="my-org", home=home, root_key="file")
            say("done", "-", int((time.monotonic() - started) * 1_000_000))
        case ["steps", work, homes, first, last, *template]:
            if work in ("backup", "restore"):
                derive_cheaply()
            warm_up()
            for step in range(int(first), int(last)):
                for home in template:  # work on a copy of it
                    shutil.copytree(home, f"{homes}/{step}")
                child = os.fork()
                if child == 0:
                    killed_at(work, f"{homes}/{step}", step)
                    os._exit(0)
                _, status = os.waitpid(child, 0)
                say("killed" if os.WIFSIGNALED(status) else "finished", "-", step)
                if not os.WIFSIGNALED(status):
                    return


def warm_up() -> None:
    """Load everything, so that what is killed is the work and not the imports."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        initialise(tenant="my-org", home=directory, root_key="file")
        rotate_root_key(home=directory)
        if passphrases.derive.__module__ == __name__:
            back_up(f"{directory}/backup", home=directory, ask_backup_passphrase=lambda: Secret(PASSPHRASE))


if __name__ == "__main__":
    main()

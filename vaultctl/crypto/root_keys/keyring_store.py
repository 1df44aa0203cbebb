"""The root key in the OS keyring: service ``vaultctl``, user name the key's id, the key in base64."""

from vaultctl.crypto import os_keyring
from vaultctl.crypto.os_keyring import SERVICE, SESSION_BUS
from vaultctl.crypto.root_keys.shape import ProviderContext, RootKey
from vaultctl.domain.errors import VaultError, VaultLocked
from vaultctl.domain.ids import RandomBytes


class NoUsableKeyring(VaultLocked):
    """No keyring is there that could keep a root key.

    Attributes:
        reason: Why, in words that fit into brackets.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"No usable OS keyring answered: {reason}.",
            hint="Unlock or install one, or keep the root key elsewhere: --root-key file, or --root-key passphrase",
        )
        self.reason = reason


def create(ctx: ProviderContext, random: RandomBytes) -> tuple[RootKey, str]:
    """Store a new key, and read it back.

    Raises:
        NoUsableKeyring: There is no keyring, or none that keeps secrets.
    """
    reason = os_keyring.unusable_reason()
    if reason is not None:
        raise NoUsableKeyring(reason)
    root = RootKey.new(random)
    try:
        os_keyring.keep(root.id, root.encode(), os_keyring.limit(interactive=ctx.interactive))
    except os_keyring.NoAnswer as silence:
        reason = silence.reason
    if reason is not None:
        raise NoUsableKeyring(reason)
    ctx.made.add(root.id)
    return root, f"The root key is in the OS keyring (service {SERVICE}, user {root.id})."


def load(key_id: str, ctx: ProviderContext, limit: float | None = None) -> RootKey:
    """The key of that id. Takes at most ``limit`` seconds; by default what ``ctx.interactive`` suggests.

    Raises:
        VaultLocked: The keyring does not answer in time, is locked, or has no such entry.
    """
    try:
        text = os_keyring.look_up(key_id, os_keyring.limit(interactive=ctx.interactive) if limit is None else limit)
        reason = None
    except os_keyring.NoAnswer as silence:
        text, reason = None, silence.reason
    if reason is not None:
        raise VaultLocked(
            f"The root key is in the OS keyring, which does not answer: {reason}.",
            hint="Unlock the keyring of the user who ran init. A program that starts vaultctl has to pass on "
            f"{SESSION_BUS} if the session bus is not in its usual place.",
        )
    if text is None:
        raise VaultLocked(
            f"The OS keyring has no root key of the vault in {ctx.vault_home}.",
            hint=f"It was stored as service {SERVICE}, user {key_id}: run vaultctl as the user who ran init, with the "
            "same keyring.",
        )
    root = RootKey.decode(key_id, text)
    if root is None:
        raise VaultLocked(
            "What the OS keyring keeps for this vault is not a root key.",
            hint=f"Put the entry of service {SERVICE}, user {key_id} back from its copy.",
        )
    return root


def put(root: RootKey, ctx: ProviderContext) -> None:
    """Store a key under its own id, and read it back.

    Raises:
        NoUsableKeyring: There is no keyring, or none that keeps secrets.
    """
    reason = os_keyring.unusable_reason()
    if reason is None:
        try:
            os_keyring.keep(root.id, root.encode(), os_keyring.limit(interactive=ctx.interactive))
            return
        except os_keyring.NoAnswer as silence:
            reason = silence.reason
    raise NoUsableKeyring(reason)


def settle(key_id: str, ctx: ProviderContext) -> None:
    """Nothing to do: every key has its own name."""


def where(key_id: str, ctx: ProviderContext) -> str:  # noqa: ARG001
    """The entry's service and user."""
    return f"service {SERVICE}, user {key_id}"


def forget(key_id: str, ctx: ProviderContext) -> None:
    """Delete the entry of that key, if there is one.

    Raises:
        VaultLocked: The keyring does not do it.
    """
    try:
        if os_keyring.look_up(key_id, os_keyring.limit(interactive=ctx.interactive)) is not None:
            os_keyring.delete(key_id, os_keyring.limit(interactive=ctx.interactive))
        return
    except os_keyring.NoAnswer as silence:
        reason = silence.reason
    raise VaultLocked(
        f"The OS keyring does not delete the root key: {reason}.",
        hint=f"Delete it by hand: service {SERVICE}, user {key_id}",
    )


def problems(key_id: str, ctx: ProviderContext) -> list[str]:
    """What keeps the key from being read."""
    try:
        load(key_id, ctx)
    except VaultError as error:
        return [f"{error.message} {error.hint}"]
    return []

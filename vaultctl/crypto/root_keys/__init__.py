"""The places where a vault's root key is kept: the OS keyring, a key file, or a file sealed by a passphrase.

``create_root_key`` runs once, at ``init``. Its config goes into the settings file and tells ``load_root_key``
where to look from then on: nothing falls back from one place to another after that.
"""

from typing import Literal

from vaultctl.crypto.root_keys.shape import Provider as _Provider
from vaultctl.crypto.root_keys.shape import ProviderContext as ProviderContext
from vaultctl.crypto.root_keys.shape import ProviderName as ProviderName
from vaultctl.crypto.root_keys.shape import RootKey as RootKey
from vaultctl.crypto.root_keys.shape import RootKeyConfig as RootKeyConfig
from vaultctl.domain.errors import VaultLocked
from vaultctl.domain.ids import RandomBytes


def create_root_key(
    kind: Literal["auto", "keyring", "file", "passphrase"], ctx: ProviderContext, random: RandomBytes
) -> tuple[RootKey, RootKeyConfig, str]:
    """Make a root key and put it in its place.

    A key file or sealed file that is already there is never overwritten: an ``init`` that crashed before it made
    the database left it, and its key is taken.

    Args:
        kind: The place; ``auto`` is the OS keyring if a usable one answers, else the key file.
        ctx: What the places need; :func:`forget_root_key` wants the same one.
        random: Where the key comes from.

    Returns:
        The key, what the settings file has to remember, and a sentence for people: what was chosen, and why.

    Raises:
        VaultLocked: The place does not answer, or holds something that can't be read.
        VaultUnavailable: The data directory can't be written.
        InvalidInput: The passphrase is too short.
    """
    if kind == "auto":
        return _create_where_possible(ctx, random)
    root, sentence = _provider(kind).create(ctx, random)
    return root, RootKeyConfig(kind, root.id), sentence


def load_root_key(config: RootKeyConfig, ctx: ProviderContext) -> RootKey:
    """The root key, from the place that ``init`` chose.

    Raises:
        VaultLocked: It can't be had: it is not there, not private, damaged, another one, or does not open.
    """
    return _provider(config.provider).load(config.key_id, ctx)


def forget_root_key(config: RootKeyConfig, ctx: ProviderContext) -> None:
    """Undo :func:`create_root_key`, for an ``init`` that failed afterwards.

    Removes only a key that was made with this ``ctx``; one that was there before stays.

    Raises:
        VaultUnavailable: It can't be removed.
    """
    if config.key_id in ctx.made:
        _provider(config.provider).forget(config.key_id, ctx)
        ctx.made.discard(config.key_id)


def put_root_key(config: RootKeyConfig, root: RootKey, ctx: ProviderContext) -> None:
    """Put a key in its place, beside one that may be there, and read it back. Nothing is overwritten.

    Raises:
        VaultLocked: The place does not answer, or keeps something else.
        VaultUnavailable: The data directory can't be written.
        InvalidInput: The passphrase is too short.
    """
    provider = _provider(config.provider)
    provider.put(root, ctx)
    if provider.load(config.key_id, ctx) != root:
        raise VaultLocked("The root key was stored, and another one read back.", hint="Keep it elsewhere.")


def change_passphrase(root: RootKey, ctx: ProviderContext) -> None:
    """Seal a key that is kept under a passphrase under the one that ``ctx`` has.

    Raises:
        VaultLocked: There is no passphrase.
        VaultUnavailable: The data directory can't be written.
        InvalidInput: The passphrase is too short.
    """
    from vaultctl.crypto.root_keys import passphrase

    passphrase.reseal(root, ctx)


def discard_root_key(config: RootKeyConfig, ctx: ProviderContext) -> None:
    """Remove a key that no vault uses any more, whoever made it; and what a crash left of it.

    Raises:
        VaultError: It can't be removed.
    """
    _provider(config.provider).forget(config.key_id, ctx)


def settle_root_key(config: RootKeyConfig, ctx: ProviderContext) -> None:
    """Let the key have its usual name, now that there is no other.

    Raises:
        VaultError: It can't be renamed.
    """
    _provider(config.provider).settle(config.key_id, ctx)


def place_of_root_key(config: RootKeyConfig, ctx: ProviderContext) -> str:
    """Where the key is, in words."""
    return _provider(config.provider).where(config.key_id, ctx)


def describe_root_key(config: RootKeyConfig, ctx: ProviderContext) -> list[str]:
    """What is wrong with the place of the root key, for ``doctor``; empty if nothing is. Asks for no passphrase."""
    return _provider(config.provider).problems(config.key_id, ctx)


def _create_where_possible(ctx: ProviderContext, random: RandomBytes) -> tuple[RootKey, RootKeyConfig, str]:
    from vaultctl.crypto.root_keys import key_file, keyring_store

    # Whoever left a key file had no keyring; a second key elsewhere would make the file a riddle.
    if key_file.exists(ctx):
        return create_root_key("file", ctx, random)
    try:
        return create_root_key("keyring", ctx, random)
    except keyring_store.NoUsableKeyring as refusal:
        reason = refusal.reason
    root, config, sentence = create_root_key("file", ctx, random)
    return root, config, f"No usable OS keyring answered ({reason}), so {sentence[0].lower()}{sentence[1:]}"


def _provider(name: ProviderName) -> _Provider:
    match name:
        case "keyring":
            from vaultctl.crypto.root_keys import keyring_store

            return keyring_store
        case "file":
            from vaultctl.crypto.root_keys import key_file

            return key_file
        case "passphrase":
            from vaultctl.crypto.root_keys import passphrase

            return passphrase

"""Which vault is meant: the servers that have a name here (contexts), and the rule by which one is chosen.

Strongest first: what the caller names, the environment, the context in use, and else the vault of this machine. The
contexts are in a file of their own, since a machine that only talks to servers has no vault.
"""

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from vaultctl.client import private_files
from vaultctl.client.base_url import check_base_url
from vaultctl.client.location import Home, locate, make_private
from vaultctl.domain.errors import AlreadyExists, InvalidInput, NotFound, VaultUnavailable
from vaultctl.domain.names import check_name

EMBEDDED = "embedded"
"""The context of the vault of this machine, which is always there."""

_LONGEST_FILE = 1_048_576


class Context(NamedTuple):
    """A server that has a name here.

    Attributes:
        name: Its name.
        base_url: Its base URL, in its one spelling.
        tenant: The tenant to work in, unless another one is named.
    """

    name: str
    base_url: str
    tenant: str | None


class Contexts(NamedTuple):
    """What the contexts file says.

    Attributes:
        current: The context in use; :data:`EMBEDDED` if no server is.
        servers: The contexts by name.
    """

    current: str
    servers: dict[str, Context]

    def get(self, name: str) -> Context:
        """The context ``name``, which is not :data:`EMBEDDED`.

        Raises:
            NotFound: There is none.
        """
        try:
            return self.servers[name]
        except KeyError:
            raise NotFound("There is no such context.", hint="List them: vaultctl context list") from None


class Server(NamedTuple):
    """The server that was chosen.

    Attributes:
        base_url: Its base URL, in its one spelling.
        tenant: The context's tenant.
        context: The context's name; None if the base URL was named itself.
    """

    base_url: str
    tenant: str | None = None
    context: str | None = None


def chosen_server(
    *,
    base_url: str | None = None,
    context: str | None = None,
    database: str | None = None,
    home: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Server | None:
    """The server that is meant; None means the vault of this machine.

    Args:
        base_url: The base URL that the caller names.
        context: The context that the caller names.
        database: The store of the vault of this machine, if the caller names it.
        home: Where the contexts are; else ``VAULTCTL_HOME`` or the platform's directories.
        environ: Where ``VAULT_BASE_URL`` and ``VAULT_DATABASE_URL`` are looked up. Empty ones count as unset.

    Raises:
        InvalidInput: Two vaults are named at once, or a base URL is none.
        NotFound: There is no such context.
    """
    if context == EMBEDDED and not base_url:
        return None
    if sum(bool(named) for named in (base_url, context, database)) > 1:
        raise InvalidInput(
            "More than one vault is named.", hint="Name one of --base-url, --context and --database, not several."
        )
    if base_url:
        return Server(check_base_url(base_url))
    if context:
        return _server(load(locate(home, environ)).get(context))
    named = environ.get("VAULT_BASE_URL")
    store = "--database" if database else "VAULT_DATABASE_URL" if environ.get("VAULT_DATABASE_URL") else ""
    if named and store:
        raise InvalidInput(
            f"VAULT_BASE_URL names a server, and {store} a vault on this machine.",
            hint="Unset VAULT_BASE_URL to use the vault on this machine"
            + ("." if database else ", or VAULT_DATABASE_URL to use the server."),
        )
    if named:
        try:
            return Server(check_base_url(named))
        except InvalidInput as error:
            raise InvalidInput(f"VAULT_BASE_URL is malformed: {error.message}", hint=error.hint) from None
    if store:
        return None
    found = load(locate(home, environ))
    return None if found.current == EMBEDDED else _server(found.get(found.current))


def load(home: Home) -> Contexts:
    """The contexts of ``home``; none if the file is not there.

    Raises:
        VaultUnavailable: The file can't be read, can be written by others, or is no contexts file.
    """
    path = home.contexts_path
    try:
        with open(path, "rb", opener=private_files.without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LONGEST_FILE) if stat.S_ISREG(mode) else b""
    except (FileNotFoundError, NotADirectoryError):
        return Contexts(EMBEDDED, {})
    except OSError as error:
        raise VaultUnavailable(
            f"The contexts in {path} can't be read: {error.strerror}.", hint="The file must be readable by you."
        ) from None
    if mode & 0o022:
        raise VaultUnavailable(
            f"Others can write to {path}, and so send your tokens where they like.", hint=f"chmod 600 {path}"
        )
    try:
        return _decode(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidInput):
        raise VaultUnavailable(
            f"The contexts in {path} are damaged.", hint="Mend the file, or remove it and add the contexts anew."
        ) from None


def add(home: Home, name: str, base_url: str, tenant: str | None = None, *, use: bool = False) -> Context:
    """Give a server a name.

    Args:
        home: Where the contexts are kept.
        name: Its name.
        base_url: Its base URL.
        tenant: The tenant to work in.
        use: Use it from now on.

    Raises:
        AlreadyExists: The name is taken.
        InvalidInput: A name or the base URL is malformed.
    """
    if check_name(name, "context") == EMBEDDED:
        raise AlreadyExists(
            f"The context {EMBEDDED!r} is the vault of this machine, and always there.", hint="Choose another name."
        )
    added = Context(name, check_base_url(base_url), None if tenant is None else check_name(tenant, "tenant"))
    with _changing(home) as contexts:
        if name in contexts.servers:
            raise AlreadyExists(
                f"There is a context {name!r} already.", hint=f"Remove it first: vaultctl context remove {name}"
            )
        contexts.servers[name] = added
        _save(home, contexts._replace(current=name) if use else contexts)
    return added


def use(home: Home, name: str) -> None:
    """Use the context ``name`` from now on.

    Raises:
        NotFound: There is none.
    """
    with _changing(home) as contexts:
        if name != EMBEDDED:
            contexts.get(name)
        _save(home, contexts._replace(current=name))


def remove(home: Home, name: str) -> None:
    """Forget a server. If it was in use, the vault of this machine is from now on.

    Raises:
        NotFound: There is none.
    """
    with _changing(home) as contexts:
        contexts.get(name)
        del contexts.servers[name]
        _save(home, contexts._replace(current=EMBEDDED) if contexts.current == name else contexts)


@contextmanager
def _changing(home: Home) -> Iterator[Contexts]:
    """The contexts, while no other process changes them."""
    try:
        make_private(home.config)
        # The directory itself is locked, which leaves no file behind.
        file = os.open(home.config, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield load(home)
        finally:
            os.close(file)
    except OSError as error:
        raise VaultUnavailable(
            f"The contexts in {home.contexts_path} can't be written: {error.strerror}.",
            hint="Set VAULTCTL_HOME to a directory that you can write to.",
        ) from None


def _server(context: Context) -> Server:
    return Server(context.base_url, context.tenant, context.name)


def _save(home: Home, contexts: Contexts) -> None:
    servers = {
        context.name: {"baseUrl": context.base_url} | ({"tenant": context.tenant} if context.tenant else {})
        for context in contexts.servers.values()
    }
    text = json.dumps({"current": contexts.current, "contexts": servers}, indent=2)
    private_files.replace(home.contexts_path, f"{text}\n")


def _decode(content: dict[str, Any]) -> Contexts:
    servers = {}
    for name, fields in content["contexts"].items():
        tenant = fields.get("tenant")
        base_url = check_base_url(fields["baseUrl"])
        servers[name] = Context(
            check_name(name, "context"), base_url, None if tenant is None else check_name(tenant, "tenant")
        )
    current = content["current"]
    if EMBEDDED in servers or (current != EMBEDDED and current not in servers):
        raise ValueError
    return Contexts(current, servers)

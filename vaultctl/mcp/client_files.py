"""Changes of MCP clients' configuration files: planned first, so that they can be shown, then made as a whole."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from vaultctl.client import private_files
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultUnavailable
from vaultctl.mcp import jsonc
from vaultctl.mcp.clients import Client
from vaultctl.mcp.profiles import Installation

_LONGEST_FILE = 16_777_216


class Change(NamedTuple):
    """What is to become of a client's file.

    Attributes:
        path: The file.
        before: What is in it; None: it is not there.
        after: What is to be in it; None: it is to go.
        installation: How to undo the change, if it puts a server in.
    """

    path: Path
    before: str | None
    after: str | None
    installation: Installation | None = None

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.before != self.after

    def diff(self) -> str:
        """The change as a unified diff."""
        from difflib import unified_diff

        old, new = (_lines(text) for text in (self.before, self.after))
        name = str(self.path)
        lines = unified_diff(
            old, new, "/dev/null" if self.before is None else name, "/dev/null" if self.after is None else name, n=2
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def make(self) -> None:
        """Change the file, or leave it as it is.

        A link stays a link, and the file keeps its mode.

        Raises:
            VaultUnavailable: It can't be written, or was changed by somebody else since this change was planned.
        """
        if not self.changes:
            return
        if read(self.path) != self.before:
            raise VaultUnavailable(f"{self.path} was changed meanwhile.", hint="Nothing was written; try again.")
        target = Path(os.path.realpath(self.path))
        try:
            if self.after is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                mode = stat.S_IMODE(target.stat().st_mode) if self.before is not None else 0o666 & ~_umask()
                private_files.replace_bytes(target, self.after.encode("utf-8"), mode)
        except OSError as error:
            raise VaultUnavailable(
                f"{self.path} can't be written: {error.strerror}.", hint="Nothing was written; check its directory."
            ) from None


def plan_install(
    client: Client, path: Path, server: str, entry: dict[str, Any], recorded: Installation | None
) -> Change:
    """Put ``server`` into the client's file, or change what was put in before.

    Args:
        client: The client.
        path: Its file.
        server: What our server is to be called in it.
        entry: The server's entry.
        recorded: How it was put in before, if it was.

    Raises:
        AlreadyExists: There is a server of that name that is not ours.
        InvalidInput: The file is not what the client reads.
    """
    before = read(path)
    text = before or ""
    made = _missing(path) if before is None else ()
    try:
        if recorded is not None and _digest(text) == recorded.digest:
            text, made = jsonc.undo(text, _insertions(recorded)), recorded.made
        elif recorded is not None and (held := _find(text, client, server)) is not None:
            return _replaced(path, text, held, entry, recorded)
        edited = jsonc.put_in(text, client.container, server, entry)
    except KeyError:
        raise AlreadyExists(
            f"{path} has a server {server!r} already.", hint="Give ours another name with --server, or remove that one."
        ) from None
    except jsonc.Malformed as malformed:
        raise _malformed(client, path, malformed) from None
    installation = Installation(
        client=client.name,
        path=str(path),
        server=server,
        digest=_digest(edited.text),
        insertions=tuple((insertion.offset, insertion.text) for insertion in edited.insertions),
        made_container=edited.made_container,
        made=made,
    )
    return Change(path, before, edited.text, installation)


def plan_uninstall(client: Client, installation: Installation, profile: str) -> Change:
    """Take what an installation put into the client's file out again.

    A file that is as we left it becomes what it was, byte for byte. One that was edited since loses our entry alone;
    an entry that is not ours any more stays.

    Raises:
        InvalidInput: The file is no JSON any more.
    """
    path = Path(installation.path)
    before = read(path)
    if before is None:
        return Change(path, None, None)
    after: str | None
    if _digest(before) == installation.digest:
        after = jsonc.undo(before, _insertions(installation))
    else:
        try:
            held = _find(before, client, installation.server)
            if held is None or not _is_ours(held.plain, profile):
                return Change(path, before, before)
            after = jsonc.take_out(
                before, client.container, installation.server, with_container=installation.made_container
            )
        except jsonc.Malformed as malformed:
            raise _malformed(client, path, malformed) from None
    if installation.made and (jsonc.is_blank(after) or after.strip() == "{}"):
        after = None
    return Change(path, before, after)


def remove_made(installation: Installation) -> None:
    """Remove the directories that an installation made, if nothing is in them."""
    for directory in installation.made[1:]:
        try:
            Path(directory).rmdir()
        except OSError:
            return


def has_entry(client: Client, installation: Installation, profile: str) -> bool:
    """Whether our entry is still in the client's file."""
    try:
        text = read(Path(installation.path))
        held = None if text is None else _find(text, client, installation.server)
    except (InvalidInput, jsonc.Malformed):
        return False
    return held is not None and _is_ours(held.plain, profile)


def read(path: Path) -> str | None:
    """What is in a client's file; None if it is not there.

    Raises:
        InvalidInput: It can't be read, or is no text.
    """
    try:
        with open(path, "rb", opener=private_files.without_waiting) as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(_LONGEST_FILE + 1) if is_file else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.", hint="Check its path, mode and owner.") from None
    if not is_file or len(data) > _LONGEST_FILE:
        raise InvalidInput(f"{path} is no configuration file.", hint="Name another with --path.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not UTF-8.", hint="Save it as UTF-8, and try again.") from None


def _replaced(path: Path, text: str, held: jsonc.Node, entry: dict[str, Any], recorded: Installation) -> Change:
    """The file, which was edited since, with the entry changed in its place."""
    after = text
    if held.plain != entry:
        after = text[: held.start] + json.dumps(entry, ensure_ascii=False) + text[held.end :]
    installation = Installation(
        client=recorded.client,
        path=recorded.path,
        server=recorded.server,
        digest="",
        made_container=recorded.made_container,
        made=recorded.made,
    )
    return Change(path, text, after, installation)


def _find(text: str, client: Client, server: str) -> jsonc.Node | None:
    if jsonc.is_blank(text):
        return None
    container = jsonc.parse(text).member(client.container)
    member = container and container.value.member(server)
    return member.value if member else None


def _is_ours(entry: Any, profile: str) -> bool:
    args = entry.get("args") if isinstance(entry, dict) else None
    return isinstance(args, list) and args[-2:] == ["--profile", profile]


def _insertions(installation: Installation) -> list[jsonc.Insertion]:
    return [jsonc.Insertion(offset, text) for offset, text in installation.insertions]


def _missing(path: Path) -> tuple[str, ...]:
    """``path``, which is not there, and the directories above it that are not there either, the innermost first."""
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    return tuple(map(str, missing))


def _malformed(client: Client, path: Path, malformed: jsonc.Malformed) -> InvalidInput:
    return InvalidInput(
        f"{path} is not what {client.title} reads: see line {malformed.line}.",
        hint=f"It is a JSON object whose {client.container!r} is an object. Nothing was changed.",
    )


def _lines(text: str | None) -> list[str]:
    return [] if text is None else text.splitlines(keepends=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

"""References on their way to the tools: the only place where what the model wrote becomes a value.

A value goes into the arguments of a tool that is listed for its credential, beneath the message history and the traces,
and nowhere else. It is redeemed when it is first needed, and put in only while the vault says that the lease lives.
Since a value that was delivered works until it is rotated, it is masked in what tools say until the run ends.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from vaultctl.cortex.censor import Censor
from vaultctl.cortex.session import RunSession
from vaultctl.domain.errors import VaultError, VaultUnavailable
from vaultctl.domain.records import CredentialType, LeaseState, RedeemedLease
from vaultctl.domain.secrets import Secret

_PREFIX = "vault:lease:"
_REF = re.compile(r"vault:lease:[0-9A-Za-z]{22}", re.ASCII)


class Withheld(Exception):
    """A call is not made; the text tells the model why, and what it can do."""


class _Held:
    """A reference that the vault handed out in this run."""

    def __init__(self, ref: str, lease_id: str, credential: str) -> None:
        self.ref = ref
        self.lease_id = lease_id
        self.credential = credential
        self.value: Secret | None = None
        self.redeeming = asyncio.Lock()  # two calls at once redeem once


class References:
    """The references of one run."""

    def __init__(self, session: RunSession, tools: Mapping[str, frozenset[str]], censor: Censor) -> None:
        """Begin with none.

        Args:
            session: Redeems them.
            tools: For each credential the tools, as ``server.tool``, that its value may be put into.
            censor: Is told of each value before anything can repeat it.
        """
        self._session = session
        self._tools = tools
        self._censor = censor
        self._held: dict[str, _Held] = {}

    def note(self, answer: Mapping[str, Any]) -> None:
        """Remember the reference in what the vault's server answered, if there is one."""
        reference, lease_id, name = (answer.get(key) for key in ("credentialReference", "leaseId", "credentialName"))
        ref = reference.get("ref") if isinstance(reference, Mapping) else None
        if isinstance(ref, str) and isinstance(lease_id, str) and isinstance(name, str) and _REF.fullmatch(ref):
            self._held.setdefault(ref, _Held(ref, lease_id, name))

    async def resolve(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """``arguments`` with values in place of references; themselves if they hold none.

        Raises:
            Withheld: A reference in them may not be used with ``tool``, or not any more.
        """
        if any(_PREFIX in key for key in _keys(arguments)):
            raise Withheld(f"A reference can't be the name of an argument. Nothing was sent. {_ANEW}")
        texts = [text for text in _texts(arguments) if _PREFIX in text]
        if any(_PREFIX in _REF.sub("", text) for text in texts):
            raise Withheld(_UNKNOWN)  # one that is cut off, or is none
        refs = {ref for text in texts for ref in _REF.findall(text)}
        for ref in refs:
            self._judge(tool, ref)
        values = {ref: await self._value(self._held[ref]) for ref in refs}
        return {key: _replaced(item, values) for key, item in arguments.items()} if values else arguments

    def _judge(self, tool: str, ref: str) -> None:
        held = self._held.get(ref)
        if held is None:
            raise Withheld(_UNKNOWN)
        listed = self._tools.get(held.credential, frozenset())
        if tool not in listed:
            where = f"only to {', '.join(sorted(listed))}" if listed else "to none of your tools"
            raise Withheld(
                f"The reference to {held.credential} can't be used with {tool}: its value goes {where}. "
                "Nothing was sent. Ask the person you work for if the task needs more."
            )

    async def _value(self, held: _Held) -> str:
        async with held.redeeming:
            try:
                if held.value is None:
                    redeemed = await self._session.redeem(held.lease_id, held.ref)
                    self._censor.add(*_secrets_in(redeemed))
                    held.value = redeemed.value
                elif (await self._session.lease(held.lease_id)).state is not LeaseState.ACTIVE:
                    held.value = None
                    raise Withheld(f"The lease on {held.credential} has ended. {_ANEW}")
            except VaultUnavailable:
                raise Withheld(f"The vault can't be reached for {held.credential}. Try again in a moment.") from None
            except VaultError as error:
                held.value = None
                raise Withheld(f"The reference to {held.credential} was refused: {error.message} {_ANEW}") from None
            return held.value.reveal()


def _secrets_in(redeemed: RedeemedLease) -> Iterator[str]:
    """The value, and the part of it that a tool would repeat alone: drivers quote the password of a database URL."""
    value = redeemed.value.reveal()
    yield value
    if redeemed.type is CredentialType.DATABASE_URL and (password := urlsplit(value).password):
        yield from (password, unquote(password))


_ANEW = "Request the credential anew with vault_get_credential if you still need it."
_UNKNOWN = f"That is not a reference that you were given in this run. Nothing was sent. {_ANEW}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _keys(item)


def _replaced(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _REF.sub(lambda match: values[match[0]], value)
    if isinstance(value, dict):
        return {key: _replaced(item, values) for key, item in value.items()}
    return [_replaced(item, values) for item in value] if isinstance(value, list) else value

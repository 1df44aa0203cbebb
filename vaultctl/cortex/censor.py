"""Keeps secrets out of what servers say, before anything else in this process reads it.

A message is cleansed as it arrives, so that neither the model nor a log, a trace or an exception of a library holds
what a tool repeats. This stops accidents; a tool that disguises a value on purpose is not stopped.
"""

from typing import Any

from vaultctl.domain.scrubbing import Scrubber

WITHHELD = "[withheld: it held a credential]"
"""Stands where an image, a sound or a file was in which a secret was found."""


class Censor:
    """Masks the secrets that it has been told of. What holds none of them comes out as it was."""

    def __init__(self) -> None:
        self._secrets: dict[str, None] = {}
        self._scrubber: Scrubber | None = None

    def add(self, *secrets: str) -> None:
        """Mask ``secrets`` too from now on. Empty ones are left out."""
        new = dict.fromkeys(secret for secret in secrets if secret)
        if not new.keys() <= self._secrets.keys():
            self._secrets |= new
            self._scrubber = Scrubber(self._secrets)

    def text(self, text: str) -> str:
        """``text`` without the secrets."""
        return self._scrubber.scrub_text(text) if self._scrubber else text

    def json(self, value: Any) -> Any:
        """``value``, of dictionaries, lists and texts, without the secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.json(item) for item in value]
        return value

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """A JSON-RPC message without the secrets, also where one is spread over several parts of a tool's answer."""
        if self._scrubber is None:
            return message
        clean = {key: item if key in ("id", "jsonrpc") else self.json(item) for key, item in message.items()}
        result = clean.get("result")
        if isinstance(result, dict) and isinstance(result.get("content"), list):
            before = message["result"]["content"]
            clean["result"] = {**result, "content": self._across(_without_damaged(before, result["content"]))}
        return clean

    def _across(self, parts: list[Any]) -> list[Any]:
        texts = [part["text"] for part in parts if _is_text(part)]
        joined = "".join(texts)
        masked = self.text(joined)
        if masked == joined:
            return parts
        first = next(part for part in parts if _is_text(part))
        # The others become one with it.
        return [
            {**part, "text": masked} if part is first else part for part in parts if part is first or not _is_text(part)
        ]


def _without_damaged(before: list[Any], after: list[Any]) -> list[Any]:
    """``after``, in which binary data that was masked, and so is none any more, has become a text that says so."""
    return [
        {"type": "text", "text": WITHHELD} if new is not old and _binary(new) != _binary(old) else new
        for old, new in zip(before, after, strict=True)
    ]


def _binary(part: Any) -> Any:
    if not isinstance(part, dict):
        return None
    resource = part.get("resource")
    return part.get("data"), resource.get("blob") if isinstance(resource, dict) else None


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)

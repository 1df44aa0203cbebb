"""The type that holds a secret. It prints as ``****`` everywhere; only :meth:`Secret.reveal` gives it away."""

from typing import NoReturn


class Secret:
    """A secret text. Its ``repr``, ``str`` and format are ``****``; it can't be pickled."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self.__text

    def __repr__(self) -> str:
        return "****"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("****", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.__text == self.__text

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")

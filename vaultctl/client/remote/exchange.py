"""One request to a server and what comes back, whatever carries it: no connection, clock or chance is known here.

An :class:`Exchange` is what a loop drives: it says what to send, judges what came back, and says whether and when to
try again. What may be tried again:

- The server certainly has not got it (it could not be reached): anything.
- The server says that it has not done it (429): anything.
- The connection broke, time ran out, or 502, 503 or 504 came, so that nobody knows: a GET, since it changes nothing,
  and a POST, since its idempotency key lets the server recognise it. Not a PATCH or a DELETE, which could undo what
  somebody else did in between.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, cast
from urllib.parse import quote, urlencode

from vaultctl.client.base_url import check_base_url
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, VaultError, VaultUnavailable
from vaultctl.domain.http_messages import HTTPRequest, decode_answer, encode_request, media_type
from vaultctl.domain.ids import RandomBytes
from vaultctl.domain.names import check_name
from vaultctl.domain.problems import from_problem
from vaultctl.domain.secrets import Secret
from vaultctl.domain.wire import decode_json
from vaultctl.version import __version__

T = TypeVar("T")

TIMEOUT = 45.0
"""Seconds that an operation may take, retries included."""

MOST_TRIES = 4
FIRST_PAUSE = 0.1
"""Seconds before the second try; three times as long before each further one."""

LONGEST_PAUSE = 10.0
"""Seconds that a server may ask us to wait. If it asks for more, the caller is told instead."""

LARGEST_ANSWER = 67_108_864
"""Bytes: a page of the longest audit entries, and some more."""

_REPEATABLE = ("GET", "POST")
_PASSING = (502, 503, 504)
_VAULT_TENANT = "_vault"


class Origin(NamedTuple):
    """The server, and who asks it.

    Attributes:
        base_url: The server, in its one spelling.
        token: Who asks.
        tenant: The tenant that the token is expected to be of.
    """

    base_url: str
    token: Secret
    tenant: str | None

    def message(self, sent: HTTPRequest, accept: str, key: str | None = None) -> "Message":
        """``sent`` with the headers that go with it."""
        headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": f"vaultctl/{__version__}"}
        if self.tenant is not None:
            headers["X-Vault-Tenant"] = self.tenant
        if key is not None:
            headers["Idempotency-Key"] = key
        if sent.body is not None:
            headers["Content-Type"] = "application/json"
        query = f"?{urlencode(sent.query, quote_via=quote)}" if sent.query else ""
        return Message(sent.method, f"{self.base_url}{sent.path}{query}", headers, sent.body, self.token)


def origin(base_url: str, token: Secret, tenant: str | None) -> Origin:
    """The server at ``base_url`` for whoever has ``token``.

    Raises:
        InvalidInput: The base URL or the tenant is malformed.
        NotAuthenticated: The token is.
    """
    token_hash(token)
    if tenant is not None and tenant != _VAULT_TENANT:
        check_name(tenant, "tenant")
    return Origin(check_base_url(base_url), token, tenant)


def seconds_allowed(timeout: float | None) -> float:
    """The seconds that an operation may take; :data:`TIMEOUT` if None.

    Raises:
        InvalidInput: There would be no time at all.
    """
    if timeout is None:
        return TIMEOUT
    if not timeout > 0:
        raise InvalidInput("The timeout is not more than 0 seconds.", hint="Leave it out for the default.")
    return timeout


class Message(NamedTuple):
    """What is sent. Its body may hold a secret, so it is not shown; the token is not among ``headers``."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    token: Secret

    def __repr__(self) -> str:
        return f"Message({self.method})"


class Answer(NamedTuple):
    """What came back. Its body may hold a secret, so it is not shown."""

    status: int
    content_type: str
    retry_after: str
    body: bytes
    date: str = ""

    def __repr__(self) -> str:
        return f"Answer({self.status})"

    @property
    def media_type(self) -> str:
        """The type of the body, without parameters."""
        return self.content_type.partition(";")[0].strip().lower()


class Lost(NamedTuple):
    """Nothing, or nothing whole, came back.

    Attributes:
        reason: Why, to go on after "The server … ".
        sent: The server may have got the request.
        hint: What to do about it, if that is known.
        final: Trying again would not help.
    """

    reason: str
    sent: bool
    hint: str = ""
    final: bool = False


class Exchange(Generic[T]):
    """One request on its way to its answer."""

    def __init__(self, origin: Origin, request: ask.Request[T], *, random: RandomBytes) -> None:
        """Make ready to send ``request``.

        Raises:
            VaultError: It can't be sent as it is.
        """
        sent = encode_request(request)
        # The same key for all tries, so that the server takes them for one request.
        key = random(16).hex() if sent.method == "POST" else None
        self._media_type = media_type(request)
        self.message = origin.message(sent, self._media_type, key)
        self._request = request
        self._base_url = origin.base_url
        self._tries = 0
        self._error: VaultError | None = None
        self._answer: Any = None

    def judge(self, result: Answer | Lost, *, seconds_left: float, chance: Callable[[], float]) -> float | None:
        """Take in what a try brought; the seconds to wait before the next one, or None if there is to be none.

        Args:
            result: What came back.
            seconds_left: Until the whole exchange has taken too long.
            chance: Answers numbers between 0 and 1, so that many clients do not come back at once.
        """
        self._tries += 1
        self._error = None
        told = ""
        repeatable = self.message.method in _REPEATABLE
        if isinstance(result, Lost):
            self._error = error_of_lost(self._base_url, result, reads=self.message.method == "GET")
            again = not result.final and (repeatable or not result.sent)
        else:
            try:
                self._answer = self._decoded(result)
                return None
            except VaultError as error:
                self._error = error
            told = result.retry_after
            again = result.status == 429 or (repeatable and result.status in _PASSING)
        pause = pause_before(self._tries, told, chance)
        if not again or self._tries >= MOST_TRIES or pause is None or pause >= seconds_left:
            return None
        return pause

    def answer(self) -> T:
        """The answer, once it is judged.

        Raises:
            VaultError: What the server refused with, or why there is no answer.
        """
        if self._error is not None:
            raise self._error
        return cast("T", self._answer)

    def _decoded(self, answer: Answer) -> T:
        if answer.status not in (200, 201) or answer.media_type != self._media_type:
            raise error_of_answer(self._base_url, answer)
        try:
            return decode_answer(self._request, answer.body)
        except InvalidInput:
            pass  # what it says is about the server's answer, not about what the caller gave
        raise _not_ours(self._base_url, answer.status)


def pause_before(failed_tries: int, told: str, chance: Callable[[], float]) -> float | None:
    """Seconds to wait after so many tries that failed; None if the server asked for more than is waited.

    ``told`` is the header Retry-After, of which only seconds are understood.
    """
    own = FIRST_PAUSE * 3.0 ** (failed_tries - 1) * (0.5 + chance() / 2)
    if not (told.isascii() and told.isdigit()):
        return own
    seconds = int(told[:9])
    return None if seconds > LONGEST_PAUSE else max(own, seconds + chance() / 4)


def error_of_answer(base_url: str, answer: Answer) -> VaultError:
    """The error that an answer tells of which is not the one that was asked for. Its text is the server's own only if
    it is a problem; anything else is not shown.
    """
    if answer.media_type == "application/problem+json":
        try:
            return from_problem(answer.status, decode_json(answer.body, dict[str, Any]))
        except InvalidInput:
            return _not_ours(base_url, answer.status)
    if 300 <= answer.status < 400:
        return VaultUnavailable(
            f"The server {base_url} redirects, and redirects are not followed.",
            hint="If you trust where it redirects to, make that the base URL.",
        )
    return _not_ours(base_url, answer.status)


def error_of_lost(base_url: str, lost: Lost, *, reads: bool) -> VaultUnavailable:
    """The error that tells of ``lost``; ``reads`` says that nothing was to be changed."""
    uncertain = lost.sent and not reads
    hint = lost.hint or ("Try again." if lost.sent else "Check that it runs, and that the base URL is right.")
    return VaultUnavailable(
        f"The server {base_url} {lost.reason}.",
        hint="It may have been done all the same: look before you ask again." if uncertain else hint,
    )


def _not_ours(base_url: str, status: int) -> VaultUnavailable:
    return VaultUnavailable(
        f"The server {base_url} answered {status}, and not as a vaultctl server does.",
        hint="Check the base URL, and that the server is not of another version.",
    )

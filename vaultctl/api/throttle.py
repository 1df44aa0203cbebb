"""Slowing down: sources whose authentication fails, and tokens that ask more often than they may."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from vaultctl.api.answers import too_many

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Monotonic = Callable[[], float]
"""A clock in seconds that never goes back."""

_MOST_SOURCES = 10_000
_MOST_TOKENS = 10_000


class _Recent(Generic[K, V]):
    """The values that were used last, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        return value


class _Failures:
    __slots__ = ("times", "waiting")

    def __init__(self) -> None:
        self.times: deque[float] = deque(maxlen=FailedAuthentications.FREE + 8)
        self.waiting = 0


class FailedAuthentications:
    """What answers of failed authentications wait for. Callers whose token is good never meet it."""

    FREE = 10
    """Failures a minute that are answered at once."""
    WINDOW = 60.0
    LONGEST = 3.0
    MOST_WAITING = 32

    def __init__(
        self, monotonic: Monotonic = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._sources: _Recent[str, _Failures] = _Recent(_MOST_SOURCES)
        self._sleeping: set[asyncio.Future[None]] = set()
        self._released = False

    async def penalise(self, source: str) -> None:
        """Count a failure of ``source``, and wait as long as its answer has to.

        Raises:
            Problem: So many answers of that source are waiting that this one is not worth keeping.
        """
        failures = self._sources.get(source) or self._sources.put(source, _Failures())
        delay = self._delay(failures)
        if not delay or self._released:
            return
        if failures.waiting >= self.MOST_WAITING:
            raise too_many("Too many failed authentications.", "Look at the token that is used.", self.LONGEST)
        failures.waiting += 1
        sleep = asyncio.ensure_future(self._sleep(delay))
        self._sleeping.add(sleep)
        try:
            await asyncio.wait((sleep,))
        finally:
            sleep.cancel()
            self._sleeping.discard(sleep)
            failures.waiting -= 1

    def release(self) -> None:
        """Let all answers that wait go out, and no further ones wait: the server is about to stop."""
        self._released = True
        for sleep in self._sleeping:
            sleep.cancel()

    def _delay(self, failures: _Failures) -> float:
        now = self._monotonic()
        failures.times.append(now)
        while now - failures.times[0] >= self.WINDOW:
            failures.times.popleft()
        beyond = len(failures.times) - self.FREE
        return min(self.LONGEST, 0.1 * 2 ** (beyond - 1)) if beyond > 0 else 0.0


class _Bucket:
    """A token bucket: as many requests at once as a minute has, and they come back evenly."""

    __slots__ = ("_filled_at", "_level", "a_minute")

    def __init__(self, a_minute: int, now: float) -> None:
        self.a_minute = a_minute
        self._level = float(a_minute)
        self._filled_at = now

    def take(self, now: float) -> float:
        """Take one out; answers 0, or how long it is until there is one."""
        self._level = min(self.a_minute, self._level + (now - self._filled_at) * self.a_minute / 60)
        self._filled_at = now
        if self._level < 1:
            return (1 - self._level) * 60 / self.a_minute
        self._level -= 1
        return 0.0


class TokenRates:
    """How often each token may ask. What a token may is learnt from the vault's own answer to its first request."""

    def __init__(self, default: int | None, monotonic: Monotonic = time.monotonic) -> None:
        self._default = default
        self._monotonic = monotonic
        self._buckets: _Recent[str, _Bucket] = _Recent(_MOST_TOKENS)
        self._known: _Recent[bytes, tuple[str, int]] = _Recent(_MOST_TOKENS)
        self.throttled = 0
        """How many requests were turned away."""

    def knows(self, token_hash: bytes) -> bool:
        """Whether it is known how often the token may ask."""
        return self._known.get(token_hash) is not None

    def take(self, token_hash: bytes) -> None:
        """Count a request of a token.

        Raises:
            Problem: It has asked more often than it may.
        """
        known = self._known.get(token_hash)
        if known is None or not known[1]:
            return
        wait = self._bucket(*known).take(self._monotonic())
        if wait:
            self.throttled += 1
            raise too_many("The token is used more often than its limit allows.", "Wait, then go on more slowly.", wait)

    def learn(self, token_hash: bytes, token_id: str, requests_per_minute: int | None) -> None:
        """Remember what a token may. Its first request, which was not counted, is counted now."""
        if self._known.get(token_hash) is None:
            limit = requests_per_minute or self._default or 0
            self._known.put(token_hash, (token_id, limit))
            if limit:
                self._bucket(token_id, limit).take(self._monotonic())

    def _bucket(self, token_id: str, a_minute: int) -> _Bucket:
        bucket = self._buckets.get(token_id)
        if bucket is None or bucket.a_minute != a_minute:
            bucket = self._buckets.put(token_id, _Bucket(a_minute, self._monotonic()))
        return bucket

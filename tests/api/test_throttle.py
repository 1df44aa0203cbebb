"""Slowing down sources whose authentication fails, and tokens that ask too often."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.conftest import CREDENTIAL, Site
from vaultctl.api.answers import Problem
from vaultctl.api.exchange import source_of
from vaultctl.api.throttle import FailedAuthentications, TokenRates


class Monotonic:
    """A clock in seconds that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Sleeps:
    """Sleeping that only notes for how long, or never ends."""

    def __init__(self, *, ends: bool = True) -> None:
        self.spans: list[float] = []
        self._ends = ends

    async def __call__(self, seconds: float) -> None:
        self.spans.append(seconds)
        if not self._ends:
            await asyncio.get_running_loop().create_future()


# Sources


def test_after_ten_failures_in_a_minute_answers_are_delayed_more_and_more() -> None:
    sleeps, monotonic = Sleeps(), Monotonic()
    failures = FailedAuthentications(monotonic, sleeps)

    async def fail(times: int) -> None:
        for _ in range(times):
            await failures.penalise("192.0.2.1")

    asyncio.run(fail(10))
    assert sleeps.spans == []
    asyncio.run(fail(8))
    assert sleeps.spans == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]
    monotonic.now += 60
    asyncio.run(fail(10))
    assert len(sleeps.spans) == 8, "what is a minute old still counts"


def test_one_source_is_not_slowed_down_by_another() -> None:
    sleeps = Sleeps()
    failures = FailedAuthentications(Monotonic(), sleeps)

    async def fail() -> None:
        for _ in range(20):
            await failures.penalise("192.0.2.1")
        sleeps.spans.clear()
        await failures.penalise("192.0.2.2")

    asyncio.run(fail())
    assert sleeps.spans == []


def test_only_so_many_answers_of_a_source_wait() -> None:
    failures = FailedAuthentications(Monotonic(), Sleeps(ends=False))

    async def flood() -> None:
        waiting = [asyncio.create_task(failures.penalise("192.0.2.1")) for _ in range(10 + failures.MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            await failures.penalise("192.0.2.1")
        assert refused.value.status == 429
        assert dict(refused.value.headers)[b"retry-after"] == b"3"
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        free = asyncio.create_task(failures.penalise("192.0.2.1"))
        await asyncio.sleep(0)
        assert not free.done(), "those who left were not counted out"
        free.cancel()

    asyncio.run(flood())


def test_the_table_of_sources_does_not_grow_without_bound() -> None:
    failures = FailedAuthentications(Monotonic(), Sleeps())

    async def fail() -> None:
        for number in range(20_000):
            await failures.penalise(str(number))

    asyncio.run(fail())
    assert len(failures._sources) == 10_000


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unknown"),
    ],
)
def test_a_source_is_an_ipv4_address_or_64_bits_of_an_ipv6_address(address: str, source: str) -> None:
    assert source_of(address) == source


def test_a_good_token_is_not_slowed_by_bad_ones_of_its_source(site: Site) -> None:
    failures = FailedAuthentications(Monotonic(), Sleeps(ends=False))
    server = site.serve(failures=failures)
    bad, good = site.client(server), site.client(server, site.agent)
    for _ in range(10):
        assert bad.get("/v1/leases").status_code == 401
    with ThreadPoolExecutor(1) as pool:
        slowed = pool.submit(bad.get, "/v1/leases", timeout=0.5)
        assert good.get("/v1/leases").status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            slowed.result()


def test_failed_authentications_are_counted(site: Site) -> None:
    server = site.serve()
    client = site.client(server)
    for _ in range(3):
        client.get("/v1/leases")
    assert "vaultctl_failed_authentications_total 3.0" in client.get("/metrics").text


# Tokens


def test_a_token_may_ask_as_often_in_a_minute_as_its_limit_says() -> None:
    monotonic = Monotonic()
    rates = TokenRates(None, monotonic)
    rates.take(b"hash")
    rates.learn(b"hash", "tok_1", 3)
    for _ in range(2):
        rates.take(b"hash")
    with pytest.raises(Problem) as refused:
        rates.take(b"hash")
    assert (refused.value.status, dict(refused.value.headers)[b"retry-after"]) == (429, b"20")
    monotonic.now += 20
    rates.take(b"hash")
    with pytest.raises(Problem):
        rates.take(b"hash")
    assert rates.throttled == 2


def test_sessions_share_the_limit_of_their_token() -> None:
    rates = TokenRates(None, Monotonic())
    for number in range(3):
        session = b"session %d" % number
        rates.take(session)
        rates.learn(session, "tok_1", 2)
    for number in range(3):
        with pytest.raises(Problem):
            rates.take(b"session %d" % number)


def test_a_token_without_a_limit_has_the_server_s() -> None:
    for default, is_limited in ((2, True), (None, False)):
        rates = TokenRates(default, Monotonic())
        rates.learn(b"hash", "tok_1", None)
        rates.take(b"hash")
        if is_limited:
            with pytest.raises(Problem):
                rates.take(b"hash")
        else:
            for _ in range(1_000):
                rates.take(b"hash")


@given(st.integers(1, 600), st.lists(st.floats(0, 30), max_size=200))
def test_nobody_gets_more_than_the_limit_and_what_came_back_since(limit: int, pauses: list[float]) -> None:
    monotonic = Monotonic()
    rates = TokenRates(None, monotonic)
    rates.learn(b"hash", "tok_1", limit)
    granted = 1
    for pause in pauses:
        monotonic.now += pause
        try:
            rates.take(b"hash")
            granted += 1
        except Problem as refused:
            wait = int(dict(refused.headers)[b"retry-after"])
            assert 1 <= wait <= 60
    assert granted <= limit + sum(pauses) * limit / 60 + 1e-6


def test_a_token_that_asks_too_often_is_told_when_to_come_back_and_not_audited(site: Site) -> None:
    monotonic = Monotonic()
    limited = site.token(agent="busy-agent", credentials=[CREDENTIAL], requests_per_minute=3)
    server = site.serve(rates=TokenRates(None, monotonic))
    busy, other = site.client(server, limited), site.client(server, site.agent)
    entries = len(site.owner.audit_log.query(limit=None))
    assert [busy.get("/v1/leases").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = busy.get("/v1/leases")
    assert (answer.json()["code"], answer.headers["retry-after"]) == ("too_many_requests", "20")
    assert len(site.owner.audit_log.query(limit=None)) == entries
    assert other.get("/v1/leases").status_code == 200
    monotonic.now += 20
    assert busy.get("/v1/leases").status_code == 200
    assert "vaultctl_throttled_requests_total 3.0" in other.get("/metrics").text


def test_refused_requests_count_towards_the_limit(site: Site) -> None:
    server = site.serve(rates=TokenRates(2, Monotonic()))
    client = site.client(server, site.agent)
    statuses = [client.post("/v1/leases", json={"credentialName": "not-there"}).status_code for _ in range(4)]
    assert statuses == [404, 404, 429, 429]


def test_the_clock_of_the_limits_is_one_that_never_goes_back() -> None:
    assert FailedAuthentications.__init__.__defaults__ == (time.monotonic, asyncio.sleep)
    assert TokenRates.__init__.__defaults__ == (time.monotonic,)

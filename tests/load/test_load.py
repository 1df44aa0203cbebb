"""Under load, ``kill -9`` and a failover of the database nothing acknowledged is lost, and nothing is made twice."""

import asyncio
import threading

from tests.bench.server import HELLO
from tests.load.http_client import Connection
from tests.load.load import Server, load, missing_from_the_log, run, vault_for_load
from tests.postgres import Postgres, wait_for

SECONDS = 3.0


def test_a_server_that_is_killed_under_load_and_started_again_loses_nothing() -> None:
    report, problems = run(seconds=SECONDS, kill=True)
    assert not problems
    assert not report.refused
    assert report.retries
    assert report.entries_read


def test_one_of_two_servers_is_killed_and_the_other_goes_on(postgres_url: str) -> None:
    report, problems = run(seconds=SECONDS, nodes=2, database=postgres_url, kill=True)
    assert not problems
    assert not report.refused
    assert report.retries
    assert report.entries_read


def test_a_failover_of_the_database_loses_nothing_that_was_acknowledged() -> None:
    with Postgres(durable=True) as primary, Postgres(durable=True, standby_of=primary) as standby:
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.execute("SELECT pg_reload_conf()")
        wait_for(lambda: primary.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)])
        name = primary.create_database().rpartition("/")[2]
        both = f"postgresql://vault@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{name}"
        with vault_for_load(both) as (home, tokens):
            servers = [Server(home), Server(home)]
            entries: list[tuple[int]] = []

            def fail_over() -> None:
                # The standby's receiver stops first: what the primary commits from then on must not be acknowledged.
                standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
                standby.execute("SELECT pg_reload_conf()")
                wait_for(lambda: not primary.execute("SELECT 1 FROM pg_stat_replication"))
                wait_for(lambda: bool(primary.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")))
                entries.extend(primary.execute("SELECT count(*) FROM entries", name))
                primary.kill()
                standby.promote()
                standby.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
                standby.execute("SELECT pg_reload_conf()")

            failing = threading.Timer(SECONDS / 2, fail_over)
            failing.start()
            try:
                report = asyncio.run(load([server.url for server in servers], tokens, SECONDS * 2))
            finally:
                failing.join()
                for server in servers:
                    server.stop()
            assert not report.refused
            assert standby.execute("SELECT count(*) FROM entries", name) > entries  # the servers went on by themselves
            assert not missing_from_the_log(home, report)


def test_the_benchmark_s_hello_world_answers_like_a_lease() -> None:
    async def keys(url: str, token: str) -> set[str]:
        line = Connection(url, token)
        answer = await line.request("POST", "/v1/leases", {"credentialName": "api-key-0", "ttl": "15m", "purpose": "x"})
        await line.close()
        assert answer.status == 201
        return set(answer.body) | set(answer.body["identity"])

    with vault_for_load() as (home, tokens):
        servers = [Server(home), Server(home, program=HELLO)]
        try:
            lease, hello = (asyncio.run(keys(server.url, tokens.agents[0])) for server in servers)
        finally:
            for server in servers:
                server.stop()
    assert lease == hello

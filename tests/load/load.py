"""Load on one server or on two, with a reader of the audit log and a revoker beside it, and a ``kill -9`` if wanted.

``python -m tests.load.load --seconds 60 [--postgres] [--nodes 2] [--kill]`` runs it and prints what it found. Every
lease is asked for with an idempotency key, and asked for again until it is acknowledged, as the SDK does.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from tests.load.http_client import Answer, Broken, Connection
from vaultctl import Vault
from vaultctl.client.setup import initialise

SERVER = (str(Path(sys.executable).with_name("vaultctl")), "server", "start")
AGENTS = 4
CREDENTIALS = 8


class Server:
    """A real ``vaultctl server start``, or another program that logs where it listens."""

    def __init__(self, home: Path, listen: str = "127.0.0.1:0", program: Sequence[str] = SERVER) -> None:
        self._home = home
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self._drain: threading.Thread | None = None
        self.url = ""
        self.start(listen)

    def start(self, listen: str | None = None) -> None:
        """Start it, on the port that it had before if it had one."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT", "CORTEX"))}
        self._process = subprocess.Popen(
            [*self._program, *self._listening_on(listen or self.url.removeprefix("http://"))],
            env=environment | {"VAULTCTL_HOME": str(self._home)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if json.loads(line).get("event") == "listening":
                self.url = json.loads(line)["url"]
                break
        else:
            raise RuntimeError("the server did not start")
        self._drain = threading.Thread(target=_drain, args=(self._process.stderr,))
        self._drain.start()

    def _listening_on(self, address: str) -> tuple[str, ...]:
        return ("--listen", address, "--log-format", "json") if self._program is SERVER else ()

    @property
    def cpu_seconds(self) -> float:
        """What its threads have used of the processors."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_mib(self) -> float:
        """Its resident memory in MiB."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def _end(self, by: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait(30)
            if self._drain is not None:
                self._drain.join()
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = None


class Tokens(NamedTuple):
    """Who makes the load."""

    agents: tuple[str, ...]
    admin: str


class Report(NamedTuple):
    """What a load came to. Latencies are in seconds."""

    seconds: float
    latencies: list[float]
    acknowledged: dict[str, str]
    retries: int
    refused: list[Answer]
    entries_read: int
    revoked: int

    @property
    def rate(self) -> float:
        """Leases a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        """So many percent of the requests took at most so many seconds."""
        return quantiles(self.latencies, n=100)[percent - 1]


@contextmanager
def vault_for_load(database: str | None = None) -> Iterator[tuple[Path, Tokens]]:
    """A vault in a temporary home, with agents that may lease everything."""
    with tempfile.TemporaryDirectory(prefix="vaultctl-load-") as folder:
        home = Path(folder)
        initialise(tenant="load", root_key="file", home=home, database=database)
        with Vault.embedded(home=home) as owner:
            for number in range(CREDENTIALS):
                owner.credentials.create(f"api-key-{number}", "api-key", f"sk_live_0123456789abcdef{number}")
            agents = [owner.tokens.create(agent=f"agent-{n}", credentials=["api-*"]) for n in range(AGENTS)]
            admin = owner.tokens.create(human="admin@example.com", role="admin")
            tokens = Tokens(tuple(agent.secret.reveal() for agent in agents), admin.secret.reveal())
        yield home, tokens


async def load(urls: list[str], tokens: Tokens, seconds: float, connections: int = 32) -> Report:
    """Lease for so long on so many connections, while one client reads the log and another revokes."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    deadline = start + seconds
    latencies: list[float] = []
    acknowledged: dict[str, str] = {}
    refused: list[Answer] = []
    counts = {"retries": 0, "read": 0, "revoked": 0}

    async def issue(number: int) -> None:
        at = number % len(urls)
        lines = [Connection(url, tokens.agents[number % AGENTS]) for url in urls]
        while loop.time() < deadline:
            key = uuid.uuid4().hex
            body = {"credentialName": f"api-key-{random.randrange(CREDENTIALS)}", "ttl": "15m", "purpose": "Load"}
            asked = loop.time()
            while True:
                try:
                    answer = await lines[at].request("POST", "/v1/leases", body, key)
                    if answer.status == 201:
                        latencies.append(loop.time() - asked)
                        acknowledged[answer.body["id"]] = key
                        break
                    if answer.status == 409:  # made, and revoked before it could be asked for again
                        break
                    if answer.status not in (429, 503):
                        refused.append(answer)
                        break
                except Broken:
                    pass
                counts["retries"] += 1
                at = (at + 1) % len(urls)
                if loop.time() > deadline + 20:
                    raise TimeoutError("the servers did not come back")
                await asyncio.sleep(0.02)
        for line in lines:
            await line.close()

    async def read() -> None:
        lines = [Connection(url, tokens.admin) for url in urls]
        seq, at = -1, 0
        while loop.time() < deadline:
            try:
                answer = await lines[at].request("GET", f"/v1/audit?afterSeq={seq}&limit=1000")
            except Broken:
                answer = Answer(503, None)
            if answer.status != 200:
                at = (at + 1) % len(urls)
                await asyncio.sleep(0.05)
                continue
            found = [item["seq"] for item in answer.body["items"]]
            assert found == list(range(seq + 1, seq + 1 + len(found))), "a reader saw a hole in the log"
            seq += len(found)
            counts["read"] += len(found)
            await asyncio.sleep(0 if len(found) == 1000 else 0.05)
        for line in lines:
            await line.close()

    async def revoke() -> None:
        lines = [Connection(url, tokens.admin) for url in urls]
        while loop.time() < deadline:
            for line in lines:
                try:
                    answer = await line.request(
                        "POST", "/v1/leases/revoke", {"agent": f"agent-{random.randrange(AGENTS)}"}
                    )
                    counts["revoked"] += answer.body["leases"] if answer.status == 200 else 0
                except Broken:
                    pass
                await asyncio.sleep(0.5)
        for line in lines:
            await line.close()

    await asyncio.gather(read(), revoke(), *(issue(number) for number in range(connections)))
    return Report(
        loop.time() - start, latencies, acknowledged, counts["retries"], refused, counts["read"], counts["revoked"]
    )


def missing_from_the_log(home: Path, report: Report) -> list[str]:
    """What is wrong with the log after the load; empty if nothing."""
    problems = []
    created: list[str] = []
    expected = 0
    with Vault.embedded(home=home) as owner:
        for entry in owner.audit_log.after(-1):
            if entry.seq != expected:
                problems.append(f"entry {expected} is missing")
                expected = entry.seq
            expected += 1
            if entry.event == "lease.created":
                created.append(entry.lease_id or "")
    if len(set(created)) != len(created):
        problems.append("a lease was made twice")
    lost = report.acknowledged.keys() - set(created)
    if lost:
        problems.append(f"{len(lost)} acknowledged leases have no entry")
    if len(report.acknowledged) != len(set(report.acknowledged.values())):
        problems.append("two leases were made for one key")
    return problems


def run(*, seconds: float, nodes: int = 1, database: str | None = None, kill: bool = False) -> tuple[Report, list[str]]:
    """A load from the start to the check of the log; with ``kill`` the first server is killed halfway and restarted."""
    with vault_for_load(database) as (home, tokens), ExitStack() as stack:
        servers = [Server(home) for _ in range(nodes)]
        for server in servers:
            stack.callback(server.stop)

        def kill_and_restart() -> None:
            time.sleep(seconds / 2)
            servers[0].kill()
            if nodes == 1:
                servers[0].start()

        killer = threading.Thread(target=kill_and_restart)
        if kill:
            killer.start()
        report = asyncio.run(load([server.url for server in servers], tokens, seconds))
        if kill:
            killer.join()
        return report, missing_from_the_log(home, report)


def _drain(stream: Iterator[str]) -> None:
    for _ in stream:
        pass


def main() -> int:
    """Run a load as the options say, print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own, instead of SQLite")
    parser.add_argument("--kill", action="store_true", help="kill -9 the first server halfway")
    options = parser.parse_args()
    with ExitStack() as stack:
        database = None
        if options.postgres:
            from tests.postgres import Postgres

            database = stack.enter_context(Postgres(durable=True)).create_database()
        report, problems = run(seconds=options.seconds, nodes=options.nodes, database=database, kill=options.kill)
    print(
        f"{len(report.latencies)} leases in {report.seconds:.1f} s on {options.nodes} node(s): {report.rate:.0f}/s; "
        f"p50 {report.percentile(50) * 1e3:.1f} ms, p99 {report.percentile(99) * 1e3:.1f} ms, "
        f"longest {max(report.latencies) * 1e3:.0f} ms; {report.retries} retries, {report.revoked} revoked, "
        f"{report.entries_read} entries read, {len(report.refused)} refused."
    )
    for answer in report.refused[:5]:
        print(f"  refused: {answer.status} {answer.body}")
    print("\n".join(problems) or "Every acknowledged lease has its entry; the log has no hole.")
    return 1 if problems or report.refused else 0


if __name__ == "__main__":
    sys.exit(main())

"""Listening, TLS, and a stop that finishes what was accepted."""

import asyncio
import datetime
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.api.conftest import CREDENTIAL, VALUE, Site
from tests.vaults import new_vault
from vaultctl.api.running import url_of
from vaultctl.api.serving import bind, tls_context
from vaultctl.client import Vault
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, VaultUnavailable
from vaultctl.engine.service import Service

VAULTCTL = str(Path(sys.executable).with_name("vaultctl"))
PATIENCE = 30.0


# Addresses


def test_a_port_that_is_taken_is_said_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(VaultUnavailable, match=r"Address already in use") as refused:
            bind("127.0.0.1", taken.getsockname()[1], may_leave=False)
    assert "--listen" in refused.value.hint


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "x" * 300, "a..b"])
def test_an_address_that_is_not_here_is_said(host: str) -> None:
    with pytest.raises(VaultUnavailable):
        bind(host, 0, may_leave=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_plain_http_stays_on_the_machine(host: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        bind(host, 0, may_leave=False)
    assert "--allow-plain-http" in refused.value.hint
    assert "--tls-cert" in refused.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost"])
def test_loopback_is_the_machine_by_every_name(host: str) -> None:
    sockets = bind(host, 0, may_leave=False)
    assert len({listener.getsockname()[1] for listener in sockets}) == 1
    for listener in sockets:
        listener.close()


def test_a_base_url_writes_an_ipv6_address_in_brackets() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert url_of("::1", [listener], None) == f"http://[::1]:{port}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert url_of("vault.example.com", [listener], context) == f"https://vault.example.com:{port}"


# TLS


class Certificate:
    """A self-signed certificate for this machine, and its key."""

    def __init__(self, directory: Path, name: str = "server") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(names, critical=False)
            .sign(key, hashes.SHA256())
        )
        self.cert, self.key = directory / f"{name}.crt", directory / f"{name}.key"
        self.locked = directory / f"{name}-locked.key"
        self.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        for path, encryption in (
            (self.key, serialization.NoEncryption()),
            (self.locked, serialization.BestAvailableEncryption(b"secret")),
        ):
            path.write_bytes(
                key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
            )


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


def test_https_is_served(site: Site, certificate: Certificate) -> None:
    context = tls_context(str(certificate.cert), str(certificate.key))
    server = site.serve(tls=context, host="localhost")
    assert server.url.startswith("https://localhost:")
    trusting = ssl.create_default_context(cafile=str(certificate.cert))
    with httpx.Client(base_url=server.url, verify=trusting, trust_env=False) as client:
        answer = client.post(
            "/v1/leases", json={"credentialName": CREDENTIAL}, headers={"Authorization": f"Bearer {site.agent}"}
        )
    assert answer.json()["value"] == VALUE


def test_tls_older_than_1_2_is_not_spoken(site: Site, certificate: Certificate) -> None:
    context = tls_context(str(certificate.cert), str(certificate.key))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    server = site.serve(tls=context, host="localhost")
    host, _, port = server.url.removeprefix("https://").rpartition(":")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(certificate.cert)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((host, int(port)), PATIENCE) as plain,
        pytest.raises(ssl.SSLError),
        old.wrap_socket(plain, server_hostname="localhost"),
    ):
        pass


def test_plain_http_to_a_tls_port_gets_nothing(site: Site, certificate: Certificate) -> None:
    server = site.serve(tls=tls_context(str(certificate.cert), str(certificate.key)), host="localhost")
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url.replace("https", "http"), trust_env=False)


def test_what_is_wrong_with_the_tls_files_is_said_without_their_contents(
    certificate: Certificate, tmp_path: Path
) -> None:
    other = Certificate(tmp_path, "other")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN PRIVATE KEY-----\nsk_live_canary\n-----END PRIVATE KEY-----\n")
    for cert, key, said in (
        (tmp_path / "absent", certificate.key, "TLS certificate can't be read: No such file"),
        (certificate.cert, tmp_path, "TLS key can't be read: Is a directory"),
        (certificate.cert, other.key, "don't belong together"),
        (certificate.cert, certificate.locked, "has a passphrase"),
        (certificate.cert, garbage, "not PEM"),
        (certificate.key, certificate.cert, "not PEM"),
    ):
        with pytest.raises(VaultUnavailable) as refused:
            tls_context(str(cert), str(key))
        assert said in refused.value.message
        assert "canary" not in refused.value.message


# The end


class Held(Service):
    """A service whose leases take until they are let go."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.door.engine)
        self.entered = threading.Event()
        self.go = threading.Event()

    async def perform(self, principal: Any, request: Any, idempotency: Any = None) -> Any:
        if isinstance(request, ask.CreateLease):
            self.entered.set()
            await asyncio.to_thread(self.go.wait, PATIENCE)
        return await super().perform(principal, request, idempotency)


def test_a_stop_finishes_what_was_accepted_and_accepts_nothing_more(site: Site) -> None:
    held = Held(site)
    server = site.serve(service=held)
    agent = site.client(server, site.agent)
    with ThreadPoolExecutor(2) as pool:
        lease = pool.submit(agent.post, "/v1/leases", json={"credentialName": CREDENTIAL})
        assert held.entered.wait(PATIENCE)
        stop = pool.submit(server.stop, PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{server.url}/v1/health", trust_env=False)
            except httpx.ConnectError:
                break
        assert not stop.done()
        held.go.set()
        answer = lease.result()
        assert (answer.status_code, answer.headers["connection"]) == (201, "close")
        assert stop.result() is True
    assert [lease.id for lease in site.owner.leases.list()] == [answer.json()["id"]]


def test_a_stop_does_not_wait_beyond_its_grace(site: Site) -> None:
    held = Held(site)
    server = site.serve(service=held)
    agent = site.client(server, site.agent)
    with ThreadPoolExecutor(1) as pool:
        lease = pool.submit(agent.post, "/v1/leases", json={"credentialName": CREDENTIAL})
        assert held.entered.wait(PATIENCE)
        began = time.monotonic()
        assert server.stop(0.2) is False
        assert time.monotonic() - began < PATIENCE
        held.go.set()
        with pytest.raises(httpx.TransportError):
            lease.result()


def test_a_stop_closes_idle_connections_at_once(site: Site) -> None:
    server = site.serve()
    clients = [site.client(server) for _ in range(5)]
    for client in clients:
        client.get("/v1/health/live")
    began = time.monotonic()
    assert server.stop(PATIENCE)
    assert time.monotonic() - began < 2


# The process


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a vault in it, an agent's token and a credential."""
    directory = tmp_path / "home"
    monkeypatch.setenv("VAULTCTL_HOME", str(directory))
    new_vault(directory)
    return directory


@contextmanager
def process(*argv: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A ``vaultctl server start`` that listens, and its base URL."""
    started = subprocess.Popen(
        [VAULTCTL, "server", "start", "--listen", "127.0.0.1:0", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stderr is not None
        line = json.loads(started.stderr.readline())
        assert line["event"] == "listening"
        yield started, line["url"]
    finally:
        started.kill()
        started.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_well(number: signal.Signals, home: Path) -> None:
    with process() as (started, url):
        assert httpx.get(f"{url}/v1/health", trust_env=False).json()["ready"] is True
        started.send_signal(number)
        out, log = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0, log
    assert out == ""
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["request", "stopping", "stopped"]


def test_a_second_signal_ends_the_process_at_once(home: Path) -> None:
    with process("--grace", "60") as (started, url):
        host, _, port = url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))) as busy:
            # A body that is awaited: the server has accepted the request.
            busy.sendall(b"POST /v1/leases HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ")
            with Vault.embedded() as vault:
                token = vault.tokens.create(agent="a", credentials=["*"]).secret.reveal()
            busy.sendall(f"{token}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
            assert busy.recv(100).startswith(b"HTTP/1.1 100")
            started.send_signal(signal.SIGTERM)
            assert started.stderr is not None
            assert json.loads(started.stderr.readline())["event"] == "stopping"
            started.send_signal(signal.SIGTERM)
            assert started.wait(PATIENCE) == 130


def test_an_idle_server_needs_little_memory(home: Path) -> None:
    with process() as (started, url):
        httpx.get(f"{url}/v1/health", trust_env=False)
        status = Path(f"/proc/{started.pid}/status").read_text()
    resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
    assert resident <= 120


def test_text_logs_are_for_people(home: Path) -> None:
    started = subprocess.Popen(
        [VAULTCTL, "server", "start", "--listen", "127.0.0.1:0", "--log-format", "text"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    line = started.stderr.readline()
    started.terminate()
    started.communicate(timeout=PATIENCE)
    assert " info listening url=http://127.0.0.1:" in line


def test_a_vault_that_can_t_be_opened_is_an_error_and_no_server(tmp_path: Path) -> None:
    ended = subprocess.run(
        [VAULTCTL, "server", "start", "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == VaultUnavailable.exit_status
    assert "vaultctl init" in ended.stderr
    assert "Traceback" not in ended.stderr

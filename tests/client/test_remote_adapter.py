"""The remote adapter on real sockets, against a server that does what servers do on bad days."""

import gc
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.client import answers
from tests.client.scripted_server import ScriptedServer, answer, hang_up, problem, raw, silence
from vaultctl.client import Vault
from vaultctl.client.remote import transport
from vaultctl.client.remote.adapter import RemoteAdapter
from vaultctl.domain.errors import InvalidInput, NotFound, TooManyRequests, VaultError, VaultUnavailable
from vaultctl.domain.secrets import Secret

LEASED = answer(201, answers.ISSUED_LEASE)
WHO = answer(200, answers.WHOAMI)
NEW_VALUE = Secret("shpat_n3w" + "0123456789" * 3)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultctl.client.remote.exchange.FIRST_PAUSE", 0.04)


@pytest.fixture
def vault(server: ScriptedServer, token: Secret) -> Iterator[Vault]:
    with Vault(RemoteAdapter(server.base_url, token)) as vault:
        yield vault


def keys(server: ScriptedServer) -> list[str]:
    return [received.headers["idempotency-key"] for received in server.received]


def test_a_lease_is_asked_for_and_released(server: ScriptedServer, vault: Vault, token: Secret) -> None:
    server.script = [LEASED, answer(200, answers.REVOKED_LEASE)]
    with vault.leases.create("shopify-api-key", ttl="15m", purpose="Fetch orders") as lease:
        assert lease.value.reveal() == answers.VALUE
    created, revoked = server.received
    assert (created.method, created.target) == ("POST", "/v1/leases")
    assert created.json == {"credentialName": "shopify-api-key", "ttl": "15m", "purpose": "Fetch orders"}
    assert created.headers["authorization"] == f"Bearer {token.reveal()}"
    assert (revoked.method, revoked.target) == ("POST", "/v1/leases/lease_1/revoke")
    assert len(set(keys(server))) == 2


def test_connections_are_kept_and_used_again(server: ScriptedServer, vault: Vault) -> None:
    server.script = [WHO]
    for _ in range(5):
        vault.whoami()
    assert server.connections == 1


def test_threads_share_the_vault(server: ScriptedServer, vault: Vault) -> None:
    server.script = [WHO]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: vault.whoami().tenant, range(100)))
    assert found == ["my-org"] * 100
    assert server.connections <= 16


@pytest.mark.parametrize(
    "bad_day",
    [
        hang_up,
        raw(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"),
        raw(b"HTTP/1.1 201 Crea"),
        raw(b"garbage\r\n\r\n"),
        problem(503, "vault_unavailable"),
        answer(502, b"<html>", "text/html"),
        problem(429, "too_many_requests", Retry_After="0"),
    ],
)
def test_a_try_that_fails_is_repeated_under_the_same_key(server: ScriptedServer, vault: Vault, bad_day: Any) -> None:
    server.script = [bad_day, bad_day, LEASED]
    assert vault.leases.create("shopify-api-key").value.reveal() == answers.VALUE
    assert len(keys(server)) == 3
    assert len(set(keys(server))) == 1
    assert len({received.body for received in server.received}) == 1


def test_what_could_harm_is_not_repeated(server: ScriptedServer, vault: Vault) -> None:
    server.script = [hang_up]
    with pytest.raises(VaultUnavailable) as lost:
        vault.credentials.delete("shopify-api-key")
    assert "look before" in lost.value.hint
    assert len(server.received) == 1


def test_a_server_that_is_not_there_is_said_so(token: Secret) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Vault(RemoteAdapter(f"http://127.0.0.1:{port}", token)) as vault, pytest.raises(VaultUnavailable) as refused:
        vault.whoami()
    assert f"http://127.0.0.1:{port} can't be reached" in refused.value.message
    assert refused.value.hint


def test_a_server_that_comes_back_meanwhile_is_found(token: Secret) -> None:
    with ScriptedServer() as server:
        server.script = [WHO]
        gate = socket.socket()
        gate.bind(("127.0.0.1", 0))  # a port that nothing listens on yet
        base_url = f"http://127.0.0.1:{gate.getsockname()[1]}"

        def forward() -> None:
            time.sleep(0.1)
            gate.listen()
            connection, _ = gate.accept()
            with connection, connection.makefile("rb") as stream:
                server.serve(connection, stream)

        thread = threading.Thread(target=forward)
        thread.start()
        with Vault(RemoteAdapter(base_url, token)) as vault:
            assert vault.whoami().tenant == "my-org"
        thread.join(5)
        gate.close()


def test_problems_are_the_exceptions_of_the_embedded_vault(server: ScriptedServer, vault: Vault) -> None:
    server.script = [problem(404, "not_found", "There is no credential 'x'.")]
    with pytest.raises(NotFound, match="There is no credential 'x'") as refused:
        vault.leases.create("x")
    assert refused.value.hint == "Do this."


def test_a_long_wait_is_the_callers_decision(server: ScriptedServer, vault: Vault) -> None:
    server.script = [problem(429, "too_many_requests", Retry_After="60")]
    with pytest.raises(TooManyRequests):
        vault.whoami()
    assert len(server.received) == 1


def test_redirects_are_not_followed(server: ScriptedServer, vault: Vault) -> None:
    server.script = [answer(307, b"", "text/html", Location="https://vault.example.net/")]
    with pytest.raises(VaultUnavailable, match="redirects") as refused:
        vault.leases.create("shopify-api-key")
    assert "example.net" not in f"{refused.value} {refused.value.hint}"
    assert len(server.received) == 1


def test_a_compressed_answer_is_not_taken_apart(server: ScriptedServer, vault: Vault) -> None:
    server.script = [answer(200, answers.WHOAMI, Content_Encoding="gzip")]
    with pytest.raises(VaultUnavailable, match="not as a vaultctl server"):
        vault.whoami()


def test_an_answer_without_end_is_not_read_to_its_end(
    server: ScriptedServer, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaultctl.client.remote.adapter.LARGEST_ANSWER", 1_000_000)
    sent = 0

    def flood(connection: socket.socket, received: object) -> bool:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        try:
            while sent < 200_000_000:
                sent += connection.send(b" " * 100_000)
        except OSError:
            pass
        return False

    server.script = [flood]
    with pytest.raises(VaultUnavailable, match="more than is read"):
        vault.whoami()
    assert sent < 100_000_000


def test_a_silent_server_is_not_waited_for_longer_than_allowed(server: ScriptedServer, token: Secret) -> None:
    server.script = [silence(server.ending)]
    with Vault(RemoteAdapter(server.base_url, token, timeout=0.3)) as vault:
        started = time.monotonic()
        with pytest.raises(VaultUnavailable, match="did not answer in time"):
            vault.whoami()
        assert time.monotonic() - started < 3


def test_a_dripping_server_is_not_waited_for_longer_than_allowed(server: ScriptedServer, token: Secret) -> None:
    def drip(connection: socket.socket, received: object) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n")
        while not server.ending.wait(0.02):
            connection.sendall(b" ")
        return False

    server.script = [drip]
    with Vault(RemoteAdapter(server.base_url, token, timeout=0.3)) as vault:
        started = time.monotonic()
        with pytest.raises(VaultUnavailable, match="did not answer in time"):
            vault.whoami()
        assert time.monotonic() - started < 3


def test_names_do_not_wander_in_the_path(server: ScriptedServer, vault: Vault) -> None:
    server.script = [answer(200, answers.CREDENTIAL)]
    for name in ("..", ".", "a/b", "a?b#c", "é"):
        vault.credentials.get(name)
    assert [received.target for received in server.received] == [
        "/v1/credentials/%2E%2E",
        "/v1/credentials/%2E",
        "/v1/credentials/a%2Fb",
        "/v1/credentials/a%3Fb%23c",
        "/v1/credentials/%C3%A9",
    ]


def test_a_base_url_may_have_a_prefix(server: ScriptedServer, token: Secret) -> None:
    server.script = [WHO]
    with Vault(RemoteAdapter(f"{server.base_url}/team/vault/", token, "my-org")) as vault:
        vault.whoami()
    assert server.received[0].target == "/team/vault/v1/tokens/self"
    assert server.received[0].headers["x-vault-tenant"] == "my-org"


def test_the_environment_names_no_proxy(
    server: ScriptedServer, vault: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.script = [WHO]
    vault.whoami()
    assert server.received[0].headers["authorization"].startswith("Bearer ")


def test_cookies_are_not_kept(server: ScriptedServer, vault: Vault) -> None:
    server.script = [answer(200, answers.WHOAMI, Set_Cookie="a=b")]
    vault.whoami()
    vault.whoami()
    assert "cookie" not in server.received[1].headers


def test_a_closed_vault_says_so(server: ScriptedServer, vault: Vault) -> None:
    vault.close()
    vault.close()
    with pytest.raises(VaultUnavailable, match="closed"):
        vault.whoami()
    assert server.received == []


def test_closing_ends_what_is_waiting_for_the_next_try(server: ScriptedServer, vault: Vault) -> None:
    server.script = [problem(503, "vault_unavailable", Retry_After="9")]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(vault.whoami)
        deadline = time.monotonic() + 5
        while not server.received:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        vault.close()
        with pytest.raises(VaultUnavailable, match="closed"):
            waiting.result(5)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_does_not_write_into_its_parents_connections(server: ScriptedServer, vault: Vault) -> None:
    server.script = [WHO]
    vault.whoami()
    child = os.fork()
    if child == 0:
        try:
            vault.whoami()
        except VaultUnavailable as error:
            os._exit(42 if "another process" in error.message else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    vault.whoami()
    assert len(server.received) == 2


class TestNothingIsGivenAway:
    """Neither the token nor a value is in what people print, log or report."""

    @pytest.fixture
    def secrets(self, token: Secret) -> tuple[str, ...]:
        return (token.reveal(), answers.VALUE, NEW_VALUE.reveal())

    def _use(self, server: ScriptedServer, vault: Vault) -> Iterator[VaultError]:
        for act in (hang_up, raw(b"garbage\r\n\r\n"), problem(403, "not_allowed"), answer(200, b"<html>", "text/html")):
            server.script = [act]
            try:
                vault.credentials.rotate("shopify-api-key", NEW_VALUE)
            except VaultError as error:
                yield error
        server.script = [LEASED]
        vault.leases.create("shopify-api-key")

    def test_in_errors(self, server: ScriptedServer, vault: Vault, secrets: tuple[str, ...]) -> None:
        errors = list(self._use(server, vault))
        assert len(errors) == 4
        for error in errors:
            assert error.__cause__ is None
            assert error.__context__ is None
            report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
            assert not [secret for secret in secrets if secret in report]

    def test_in_logs_at_any_level(
        self, server: ScriptedServer, vault: Vault, secrets: tuple[str, ...], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
            caplog.set_level(logging.DEBUG, logger=name)
        assert list(self._use(server, vault))
        assert "http11" in caplog.text  # the library does log: what it logs is what counts
        assert not [secret for secret in (*secrets, "shopify-api-key") if secret in caplog.text]

    def test_in_representations(self, vault: Vault, secrets: tuple[str, ...]) -> None:
        adapter = vault._adapter
        assert not [secret for secret in secrets if secret in f"{vault!r} {adapter!r} {vars(adapter)!r}"]


class TestTls:
    """Servers with certificates of an authority of one's own."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Path:
        return make_certificate(tmp_path)

    @pytest.fixture
    def base_url(self, server: ScriptedServer, authority: Path) -> Iterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority, authority.with_name("key.pem"))
        server.script = [WHO]
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def serve() -> None:
                while True:
                    try:
                        connection = context.wrap_socket(listening.accept()[0], server_side=True)
                    except ssl.SSLError:
                        continue
                    except OSError:
                        return
                    with connection, connection.makefile("rb") as stream:
                        server.serve(connection, stream)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            yield f"https://localhost:{listening.getsockname()[1]}"
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)

    def test_an_unknown_authority_is_not_trusted(self, server: ScriptedServer, base_url: str, token: Secret) -> None:
        with (
            Vault(RemoteAdapter(base_url, token)) as vault,
            pytest.raises(VaultUnavailable, match="certificate does not verify") as refused,
        ):
            vault.whoami()
        assert "VAULT_CACERT" in refused.value.hint
        assert server.received == []

    def test_an_authority_can_be_named(self, base_url: str, token: Secret, authority: Path) -> None:
        with Vault(RemoteAdapter(base_url, token, ca_file=authority)) as vault:
            assert vault.whoami().tenant == "my-org"

    def test_the_environment_can_name_it(
        self, base_url: str, token: Secret, authority: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VAULT_CACERT", str(authority))
        with Vault(RemoteAdapter(base_url, token)) as vault:
            assert vault.whoami().tenant == "my-org"

    def test_a_certificate_for_another_host_is_not_trusted(self, base_url: str, token: Secret, authority: Path) -> None:
        with (
            Vault(RemoteAdapter(base_url.replace("localhost", "127.0.0.1"), token, ca_file=authority)) as vault,
            pytest.raises(VaultUnavailable, match="certificate does not verify"),
        ):
            vault.whoami()

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_a_file_without_certificates_is_said_so(self, token: Secret, tmp_path: Path, content: str | None) -> None:
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_text(content)
        with (
            Vault(RemoteAdapter("https://localhost:1", token, ca_file=path)) as vault,
            pytest.raises(InvalidInput, match="trusted certificates"),
        ):
            vault.whoami()

    def test_where_python_knows_no_certificates_those_of_certifi_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        nowhere = ssl.DefaultVerifyPaths(None, None, "", "", "", "")  # type: ignore[arg-type]
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
        monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: None)
        settings = transport.transport_settings("https://localhost:1", None)
        assert settings["verify"].cert_store_stats()["x509_ca"] > 50
        assert settings["verify"].verify_mode is ssl.CERT_REQUIRED

    def test_plain_http_behind_an_https_url_is_said_so(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [WHO]
        base_url = server.base_url.replace("http:", "https:")
        with Vault(RemoteAdapter(base_url, token)) as vault, pytest.raises(VaultUnavailable, match="no TLS"):
            vault.whoami()


def make_certificate(directory: Path) -> Path:
    """A certificate for localhost, signed by itself, beside its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "authority.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.with_name("key.pem").write_bytes(private)
    return path


def test_a_plain_connection_loads_no_certificates_and_no_command_line() -> None:
    script = (
        "import ssl, sys\n"
        "def loaded(*_, **__): raise AssertionError('certificates')\n"
        "ssl.SSLContext.load_default_certs = ssl.SSLContext.load_verify_locations = loaded\n"
        "from vaultctl.client.remote import transport\n"
        "settings = transport.transport_settings('http://127.0.0.1:1', None)\n"
        "transport.load_httpx().HTTPTransport(**settings)\n"
        "assert not {'click', 'rich', 'pygments'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)


def test_the_sdk_loads_httpx_only_for_a_server() -> None:
    script = (
        "import sys\n"
        "from vaultctl import Vault\n"
        "import vaultctl.client.embedded, vaultctl.client.connecting\n"
        "assert not {'httpx', 'asyncio', 'ssl'} & sys.modules.keys(), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)


def test_connections_are_given_back(server: ScriptedServer, token: Secret) -> None:
    server.script = [WHO]
    for _ in range(3):
        with Vault(RemoteAdapter(server.base_url, token)) as vault:
            vault.whoami()
        del vault
    gc.collect()  # an open socket would warn, and warnings are errors


def test_every_kind_of_failure_is_told_apart() -> None:
    httpx = transport.load_httpx()
    unsent: list[Callable[[str], Exception]] = [httpx.PoolTimeout, httpx.ConnectTimeout, httpx.ConnectError]
    perhaps = [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError]
    assert not any(transport.lost_by(kind("")).sent for kind in unsent)
    assert all(transport.lost_by(kind("")).sent for kind in perhaps)

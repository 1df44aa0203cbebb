"""Secrets to look for, every form in which they could show, and what looks for them."""

import base64
import json
import os
import secrets
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from vaultctl.domain.errors import VaultError


class Canary(NamedTuple):
    """A credential's value, and what in it is secret."""

    type: str
    value: str
    secrets: tuple[str, ...]


def forms_of(secret: str) -> set[bytes]:
    """``secret`` raw and in the encodings that a program would use. Written anew here, not taken from the product."""
    data = secret.encode()
    forms = {data, data.hex().encode(), data.hex().upper().encode()}
    forms |= {form.encode() for form in (quote(secret), quote(secret, safe=""), quote_plus(secret))}
    forms |= {json.dumps(secret)[1:-1].encode(), "".join(f"%{byte:02X}" for byte in data).encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # Whole groups of three bytes only: what is around a secret changes the characters at its ends.
            first = (3 - before) % 3
            inner = data[first : len(data) - (len(data) - first) % 3]
            forms.add(encode(inner))
    return forms


def encodings_of(secret: str) -> list[str]:
    """``secret`` as a model or a tool could write it, alone or amid other text."""
    data = secret.encode()
    written = [secret, data.hex(), data.hex().upper(), quote(secret), quote(secret, safe=""), quote_plus(secret)]
    written += [json.dumps(secret)[1:-1], "".join(f"%{byte:02X}" for byte in data)]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        written += [encode(before + data + after).decode() for before in (b"", b"x", b"xy") for after in (b"", b"z")]
    return sorted(set(written))


def patterns_of(canaries: Iterable[Canary]) -> set[bytes]:
    """All that must be found nowhere."""
    return {form for canary in canaries for secret in canary.secrets for form in forms_of(secret)}


def found_in(content: bytes | str, patterns: Iterable[bytes]) -> list[bytes]:
    """The patterns that are in ``content``."""
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    return [pattern for pattern in patterns if pattern in data]


def found_in_files(directory: Path, patterns: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """The files of a directory that hold a pattern."""
    wanted = list(patterns)
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    assert files
    return [(path.name, pattern) for path in files for pattern in found_in(path.read_bytes(), wanted)]


# Values of every type


def _random() -> str:
    return secrets.token_urlsafe(18)


def api_key() -> Canary:
    value = f"Cnry+{_random()}/=&%~"
    return Canary("api-key", value, (value,))


def api_key_like_a_name() -> Canary:
    """One that could also be a name, so that it fits wherever a name does."""
    value = f"c{secrets.token_hex(16)}"
    return Canary("api-key", value, (value,))


def oauth_token() -> Canary:
    access, refresh = f"ya29.{_random()}", f"1//{_random()}"
    value = json.dumps({"access_token": access, "refresh_token": refresh, "token_type": "Bearer"})
    return Canary("oauth-token", value, (access, refresh, value))


def database_url() -> Canary:
    password = f"p@ss/{_random()}"
    return Canary(
        "database-url",
        f"postgresql://reader:{quote(password, safe='')}@db.example.com:5432/shop",
        (password, quote(password, safe="")),
    )


def generic_secret() -> Canary:
    lines = [f'line-{n}-{_random()}-"\\' for n in range(3)]
    return Canary("generic-secret", "\n".join(lines), tuple(lines))


def ssh_key() -> Canary:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()).decode()
    # The first line says that it is a key; it is the same in all.
    lines = [line for line in text.splitlines() if not line.startswith("-") and len(line) > 20][1:]
    return Canary("ssh-key", text, tuple(lines))


def tls_certificate() -> Canary:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
    # The last line is part of the public key, which is no secret.
    lines = [line for line in private.splitlines() if not line.startswith("-")][:2]
    return Canary("tls-certificate", certificate.public_bytes(form.Encoding.PEM).decode() + private, tuple(lines))


MAKERS: dict[str, Callable[[], Canary]] = {
    "api-key": api_key,
    "oauth-token": oauth_token,
    "ssh-key": ssh_key,
    "tls-certificate": tls_certificate,
    "database-url": database_url,
    "generic-secret": generic_secret,
}


# What was said


class Heard:
    """What came of each attempt: answers, and errors with their tracebacks."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.errors: list[str] = []
        self.chains: list[str] = []
        """Exceptions behind errors, those that no traceback shows too: error trackers read them."""

    def attempt(self, act: Callable[[], Any]) -> Any:
        """Do something that may fail, and remember what it answered or how it failed."""
        from vaultctl.domain.wire import to_json_object

        try:
            answer = act()
        except VaultError as error:
            self.errors += [error.message, error.hint, repr(error), "".join(traceback.format_exception(error))]
            self.chains += [repr(behind) + str(behind) for behind in chain_of(error)]
            return None
        self.answers += [repr(answer), str(answer), f"{answer}"]
        if not hasattr(answer, "value") and not hasattr(answer, "secret"):
            with suppress(TypeError):
                self.answers.append(repr(to_json_object(answer)))
        return answer


def chain_of(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


# Processes


class Ran(NamedTuple):
    status: int
    out: str
    err: str
    command_lines: frozenset[str]
    """Of the process and all that it started, while they ran."""


def run(arguments: list[str], *, home: Path, stdin: str = "", **environment: str) -> Ran:
    """Run ``vaultctl`` and watch it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vaultctl", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=bare_environment(home) | environment,
        cwd=home.parent,
        text=True,
        errors="surrogateescape",
    )
    with watched(process.pid) as lines:
        out, err = process.communicate(stdin, timeout=60)
    return Ran(process.returncode, out, err, frozenset(lines))


def bare_environment(home: Path) -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home.parent),
        "VAULTCTL_HOME": str(home),
        "PYTHONPATH": str(root),
        "COVERAGE_PROCESS_START": "",
        "LANG": "C.UTF-8",
    }


@contextmanager
def watched(pid: int) -> Iterator[set[str]]:
    """Collects the command lines of a process and its descendants, as ``ps`` would show them."""
    lines: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while True:
            pids = [pid]
            for one in pids:
                with suppress(OSError):
                    lines.add(Path(f"/proc/{one}/cmdline").read_bytes().decode("utf-8", "surrogateescape"))
                    children = Path(f"/proc/{one}/task/{one}/children").read_text()
                    pids += [int(child) for child in children.split()]
            if done.is_set():
                return
            time.sleep(0.002)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield lines
    finally:
        done.set()
        watcher.join()

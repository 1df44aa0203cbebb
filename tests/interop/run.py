"""Public clients and suites of MCP against the real servers: ``make interop``.

Checked are ``vaultctl mcp serve --transport http``, ``/mcp`` of ``vaultctl server start``, and ``mcp serve`` on stdio:

- the MCP conformance suite, in the revisions with a handshake and in 2026-07-28, with a baseline of what a vault does
  not have (``conformance-baseline.yml``);
- the command line of the MCP Inspector, which lists tools and calls one;
- the client of the TypeScript SDK, which gets a credential, is refused one, and ends its lease.

Versions are pinned in ``package-lock.json``. They need Node 22, which comes with them where npm has it, else from the
machine. Where there is no npm, nothing is checked, and that is said.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
VAULTCTL = str(Path(sys.executable).with_name("vaultctl"))
LEAST_NODE = (22, 19)
PATIENCE = 120
SECRET = "shpat_7f3c9a1e5b2d4860"
HANDSHAKE, ALONE = "legacy", "2026-07-28"
TOOLS = {"vault_get_credential", "vault_list_credentials", "vault_renew_lease", "vault_revoke_lease"}


def main() -> int:
    """Run all checks; 0 if they pass, or if there is no npm to run them with."""
    if shutil.which("npm") is None:
        print("interop: skipped, there is no npm on this machine (install Node.js 20 or later)")
        return 0
    install()
    node = usable_node()
    if node is None:
        print(f"interop: skipped, Node {'.'.join(map(str, LEAST_NODE))} or later is needed and npm has none for this")
        return 0
    began = time.monotonic()
    failed = []
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="vaultctl-interop-"))
        vault = Vault(Path(home))
        urls = {
            "mcp serve": stack.enter_context(serving(vault, "mcp", "serve", "--transport", "http")),
            "server": stack.enter_context(serving(vault, "server", "start")) + "/mcp",
        }
        checks = [(f"TypeScript SDK, stdio, {HANDSHAKE}", lambda: typescript(vault, node, HANDSHAKE))]
        for name, url in urls.items():
            proxied = stack.enter_context(bearer_proxy(vault, node, url))
            checks += [
                (f"TypeScript SDK, {name}, {HANDSHAKE}", lambda url=url: typescript(vault, node, HANDSHAKE, url)),
                (f"TypeScript SDK, {name}, {ALONE}", lambda url=url: typescript(vault, node, ALONE, url)),
                (f"Inspector, {name}", lambda url=url: inspector(vault, node, url)),
                (f"Conformance, {name}", lambda url=proxied: conformance(vault, node, url)),
                (f"Conformance, {name}, {ALONE}", lambda url=proxied: conformance(vault, node, url, ALONE)),
            ]
            checks += [
                (f"Conformance, {name}, {each}", lambda url=proxied, each=each: scenario(vault, node, url, each))
                for each in ("server-session-lifecycle", "http-header-validation")
            ]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for (name, _), problem in zip(checks, pool.map(lambda named: named[1](), checks), strict=True):
            print(f"interop: {'FAILED' if problem else 'ok':6} {name}", flush=True)
            if problem:
                failed.append(name)
                print(problem)
        print(f"interop: {len(checks) - len(failed)} of {len(checks)} passed in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def install() -> None:
    """What ``package-lock.json`` pins, unless it is there."""
    lock, installed = HERE / "package-lock.json", MODULES / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        print("interop: installing what package-lock.json pins ...", flush=True)
        subprocess.run(["npm", "ci", "--loglevel", "error"], cwd=HERE, check=True, stdout=subprocess.DEVNULL)


def usable_node() -> str | None:
    """The Node to run with."""
    brought = [str(path) for path in MODULES.glob("node-*/bin/node")]
    for node in [*filter(None, [shutil.which("node")]), *brought]:
        version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip().lstrip("v")
        if version and tuple(int(part) for part in version.split(".")[:2]) >= LEAST_NODE:
            return node
    return None


class Vault:
    """A vault with a credential that the agent may lease, and one that it may not."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT", "CORTEX"))}
        self.environment = {**kept, "VAULTCTL_HOME": str(home), "HOME": str(home)}
        self.directory = home
        self("init", "--tenant", "my-org", "--root-key", "file")
        self("credential", "create", "shopify-api-key", "--type", "api-key", value=SECRET)
        self("credential", "create", "orders-db", "--type", "database-url", value="postgresql://u:pw12345678@db/orders")

    def __call__(self, *arguments: str, value: str = "") -> str:
        """What a command prints."""
        return subprocess.run(
            [VAULTCTL, *arguments], env=self.environment, input=value, capture_output=True, text=True, check=True
        ).stdout.strip()

    def token(self) -> str:
        """A token of the agent."""
        return self("token", "create", "--agent", "interop-agent", "--credential", "shopify-*", "-q")

    def run(self, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """A command with an agent's token in its environment."""
        environment = {**self.environment, "VAULT_TOKEN": self.token(), **variables}
        return subprocess.run(
            command,
            env=environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@contextmanager
def serving(vault: Vault, *command: str) -> Iterator[str]:
    """A server on a free port; its URL."""
    log = vault.directory / f"{command[0]}.log"
    with open(log, "wb") as stderr:
        arguments = [VAULTCTL, *command, "--listen", "127.0.0.1:0", "--log-format", "json"]
        process = subprocess.Popen(arguments, env=vault.environment, cwd=vault.directory, stderr=stderr)
    with finally_ended(process):
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no server: {log.read_text()}")
            time.sleep(0.05)
        yield json.loads(log.read_text().splitlines()[0])["url"]


@contextmanager
def bearer_proxy(vault: Vault, node: str, url: str) -> Iterator[str]:
    """A proxy before ``url`` that adds a token, since the conformance suite sends none; its URL."""
    process = subprocess.Popen(
        [node, str(HERE / "bearer_proxy.mjs"), url],
        env={**vault.environment, "VAULT_TOKEN": vault.token()},
        stdout=subprocess.PIPE,
        text=True,
    )
    with finally_ended(process):
        assert process.stdout
        yield process.stdout.readline().strip()


@contextmanager
def finally_ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """A process that ends with the context."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def typescript(vault: Vault, node: str, era: str, url: str = "") -> str:
    """What is wrong with what the TypeScript SDK's client got; empty if nothing is."""
    target = [url] if url else [VAULTCTL, "mcp", "serve"]
    done = vault.run(node, str(HERE / "typescript_client.mjs"), era, *target)
    if done.returncode:
        return done.stderr
    got = json.loads(done.stdout)
    expected = {"tools": sorted(TOOLS), "value": SECRET, "refused": True, "state": "revoked"}
    return "" if {**got, "tools": sorted(got["tools"])} == expected else f"it got {got}"


def inspector(vault: Vault, node: str, url: str) -> str:
    """What is wrong with what the Inspector shows; empty if nothing is."""
    token = vault.token()
    command = [node, str(MODULES / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"), "--cli", url]
    command += ["--transport", "http", "--header", f"Authorization: Bearer {token}"]
    listed = vault.run(*command, "--method", "tools/list")
    if listed.returncode or {tool["name"] for tool in json.loads(listed.stdout)["tools"]} != TOOLS:
        return f"tools/list: {listed.stdout}{listed.stderr}"
    call = ("--method", "tools/call", "--tool-name", "vault_get_credential")
    called = vault.run(*command, *call, "--tool-arg", "name=shopify-api-key", "purpose=Inspect the vault")
    if called.returncode or json.loads(called.stdout)["structuredContent"]["value"] != SECRET:
        return f"tools/call: {called.stdout}{called.stderr}"
    return ""


def conformance(vault: Vault, node: str, url: str, revision: str = "") -> str:
    """What the suite finds that its baseline does not say; empty if nothing."""
    package = "conformance-2026" if revision else "@modelcontextprotocol/conformance"
    command: Sequence[str] = [node, str(MODULES / package / "dist/index.js"), "server", "--url", url]
    baseline = ["--expected-failures", str(HERE / f"conformance-baseline{'-' + revision if revision else ''}.yml")]
    done = vault.run(*command, *baseline, *(["--spec-version", revision] if revision else []))
    return f"{done.stdout[-4000:]}{done.stderr[-2000:]}" if done.returncode else ""


def scenario(vault: Vault, node: str, url: str, name: str) -> str:
    """What one scenario finds that its suites leave out; empty if nothing."""
    suite = str(MODULES / "conformance-2026" / "dist/index.js")
    done = vault.run(node, suite, "server", "--url", url, "--scenario", name)
    return f"{done.stdout[-4000:]}{done.stderr[-2000:]}" if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())

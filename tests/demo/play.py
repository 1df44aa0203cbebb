"""The guide, played for real: a vault, three agents, their credentials over MCP, and the audit trail of one run.

Everything it does, it does through the ``vaultctl`` command and a real MCP client, in a temporary folder.
"""

import json
import os
import secrets
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mcp import Client, StdioServerParameters

VAULTCTL = str(Path(sys.executable).with_name("vaultctl"))
TENANT = "my-org"


def say(text: str = "") -> None:
    """Print a line of the story."""
    print(text, flush=True)


def chapter(title: str) -> None:
    """Print a heading."""
    say(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n== {title}")


class Operator:
    """Whoever sits at the terminal."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("VAULT", "CORTEX"))
        } | {"VAULTCTL_HOME": str(home)}

    def run(self, *arguments: str, stdin: str | None = None, quiet: bool = False) -> str:
        """Run a command as it would be typed; with ``quiet`` its output is not shown but returned."""
        say(f"$ vaultctl {shlex.join(arguments)}" + (" < (the secret)" if stdin else ""))
        done = subprocess.run(
            [VAULTCTL, *arguments],
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE if quiet else None,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"vaultctl ended with status {done.returncode}")
        return (done.stdout or "").strip()


def ssh_key() -> str:
    """A new private key, as ``ssh-keygen -t ed25519`` would make it."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def agent_server(operator: Operator, token: str, session_id: str) -> StdioServerParameters:
    """How an MCP client starts the vault's server for an agent: the guide's ``mcpServers.vault``."""
    return StdioServerParameters(
        command=VAULTCTL,
        args=["mcp", "serve"],
        env={
            "PATH": os.environ["PATH"],
            "VAULTCTL_HOME": operator.environment["VAULTCTL_HOME"],
            "VAULT_TENANT": TENANT,
            "VAULT_TOKEN": token,
            "CORTEX_SESSION_ID": session_id,
        },
    )


async def ask(client: Client, tool: str, **arguments: Any) -> None:
    """Call a tool as the agent's model would, and show what came back, the secret itself masked."""
    say(f"  agent → {tool}({json.dumps(arguments)})")
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        say(f"  vault → refused: {result.content[0].text}")  # type: ignore[union-attr]
        return
    answer = dict(result.structured_content or {})
    if "value" in answer:
        answer["value"] = f"({len(answer['value'])} characters)"
    say(f"  vault → {json.dumps(answer)}")


async def deploy(operator: Operator, token: str, session_id: str) -> None:
    """A run of the deploy agent."""
    async with Client(agent_server(operator, token, session_id)) as client:
        await ask(client, "vault_list_credentials")
        purpose = "Deploying v2.1.0 to production"
        await ask(client, "vault_get_credential", name="deploy-ssh-key", purpose=purpose, ttl="15m")
        await ask(client, "vault_get_credential", name="deploy-cloud", purpose=purpose)
        await ask(client, "vault_get_credential", name="analytics-db-readonly", purpose="Curious about the orders")


async def analyse(operator: Operator, token: str, session_id: str) -> None:
    """A run of the analytics agent."""
    async with Client(agent_server(operator, token, session_id)) as client:
        await ask(client, "vault_get_credential", name="analytics-db-readonly", purpose="Weekly revenue report")


def main() -> None:
    """Play."""
    home = Path(tempfile.mkdtemp(prefix="vaultctl-demo-"))
    operator = Operator(home)

    chapter("1. A vault, with nothing to run")
    operator.run("init", "--tenant", TENANT, "--root-key", "file")

    chapter("2. The guide's credentials, each validated by its type")
    password = secrets.token_urlsafe(12)
    cloud = {"accessKeyId": "AKIADEMO", "secretAccessKey": secrets.token_hex(20)}
    for name, kind, value, options in (
        ("shopify-api-key", "api-key", f"shpat_{secrets.token_hex(16)}", ["--max-ttl", "4h"]),
        ("deploy-ssh-key", "ssh-key", ssh_key(), ["--allow", "agent:deploy-*"]),
        ("deploy-cloud", "generic-secret", json.dumps(cloud), ["--allow", "agent:deploy-*"]),
        (
            "analytics-db-readonly",
            "database-url",
            f"postgresql://readonly:{password}@db.internal:5432/orders",
            ["--allow", "agent:analytics-*"],
        ),
        ("slack-bot-token", "api-key", f"xoxb-{secrets.token_hex(20)}", ["--metadata", "channel=releases"]),
    ):
        operator.run("-q", "credential", "create", name, "--type", kind, *options, stdin=value)
    operator.run("credential", "list")

    chapter("3. A token for each agent, scoped to what it needs")
    tokens = {
        agent: operator.run("-q", "token", "create", "--agent", agent, "--credential", glob, quiet=True)
        for agent, glob in (
            ("deploy-agent", "deploy-*"),
            ("analytics-agent", "analytics-*"),
            ("notification-agent", "slack-*"),
        )
    }
    operator.run("token", "list")

    chapter("4. A run of deploy-agent: its credentials over MCP, and one that is not its own")
    deploy_run = f"cortex_sess_{secrets.token_hex(6)}"
    anyio.run(deploy, operator, tokens["deploy-agent"], deploy_run)

    chapter("5. A run of analytics-agent, with a trail of its own")
    anyio.run(analyse, operator, tokens["analytics-agent"], f"cortex_sess_{secrets.token_hex(6)}")

    chapter("6. What did that run of deploy-agent use, when and why?")
    operator.run("audit", "--session", deploy_run)

    say()
    say("Go on by hand:")
    say()
    say(f"  export VAULTCTL_HOME={home} PATH={Path(VAULTCTL).parent}:$PATH")
    say(f"  vaultctl audit --session {deploy_run} -o json")
    say("  vaultctl audit --agent analytics-agent")
    say("  vaultctl lease list")
    say("  vaultctl token create --agent deploy-agent --credential 'deploy-*' --ttl 30d")
    say("  vaultctl doctor")
    say()
    say(f"The demo's vault is in {home}; delete the folder when you are done.")


if __name__ == "__main__":
    main()

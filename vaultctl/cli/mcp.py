"""``vaultctl mcp``: the MCP server that agents talk to."""

from pathlib import Path
from typing import Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli.base import invocation, noun, verb

app = noun("mcp", 'VAULT_TOKEN="$(vaultctl token create --agent deploy-agent -q)" vaultctl mcp serve')


@verb(
    app,
    "serve",
    'VAULT_TOKEN="$(vaultctl token create --agent deploy-agent -q)" vaultctl mcp serve',
)
def serve(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        opt.option("--config", metavar="FILE", help="Its configuration; else .vault-mcp.json in this directory."),
    ] = None,
) -> None:
    """Serve one MCP client on stdin and stdout, as the agent whose token is in VAULT_TOKEN.

    An MCP client starts this. It ends when the client goes away, and takes its leases with it.
    """
    run = invocation(ctx)
    from vaultctl.mcp.main import serve as serve_mcp

    raise typer.Exit(
        serve_mcp(config=config, tenant=run.tenant, context=run.context, base_url=run.base_url, database=run.database)
    )

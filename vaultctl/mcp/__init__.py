"""The MCP server that agents talk to, over stdio: four tools on one session of one agent.

It knows the SDK :class:`~vaultctl.client.Vault` and the words of the domain, and nothing behind them.
"""

"""MCP over Streamable HTTP: many agents at once in one process, each with a session and a trail of its own.

A host (``vaultctl.api``) takes the requests, lets the vault say whose token they carry, and hands them over. Only
:mod:`~vaultctl.mcp.http.endpoint` loads the SDK, which a server does when an agent first speaks MCP to it.
"""

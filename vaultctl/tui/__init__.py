"""The dashboard: what agents hold right now, and what happens, in a terminal that stays open all day.

It knows the vault through :class:`vaultctl.client.Vault` alone. :mod:`~vaultctl.tui.model` and
:mod:`~vaultctl.tui.ordering` are plain data, :mod:`~vaultctl.tui.feed` fills them from a thread, and the rest draws.
Only ``vaultctl dashboard`` imports this room.
"""

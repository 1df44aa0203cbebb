"""What of a tenant's audit log leaves the vault as a whole: announced exports, and tiles in the layout of C2SP.

An export begins with its own entry: who exports, which entries and how long the log was are recorded before the first
of them can be asked for. A tile of hashes says nothing of what is in the log, and so whoever may have a checkpoint may
have it; entries are for admins.
"""

from typing import Any

import msgspec

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import Conflict, NotFound, VerificationFailed
from vaultctl.domain.records import Event, LogCheckpoint
from vaultctl.domain.rules import Caller
from vaultctl.domain.text import check_free_text
from vaultctl.engine.checkpoints import newest_checkpoint, refuse_agents, require_admin, shown_checkpoint
from vaultctl.engine.free_text import refuse_disclosure
from vaultctl.engine.transaction import Transaction
from vaultctl.ledger.merkle import HASH_BYTES, leaf_hash
from vaultctl.ledger.tiles import TILE_WIDTH, Tile, encode_bundle, is_in_tree, parse_path
from vaultctl.store.interface import Where
from vaultctl.store.rows import CheckpointRow, EntryRow, LogRow, TileRow


def begin_export(tx: Transaction, caller: Caller, request: ask.BeginExport) -> LogCheckpoint:
    """The checkpoint over the entries that may leave now: all that were committed before."""
    require_admin(caller)
    filters = _filters(request)
    texts = [text for text in filters.values() if isinstance(text, str)]
    for text in texts:
        check_free_text(text, "filter")
    refuse_disclosure(tx, caller, texts, Event.ACCESS_DENIED)
    tx.sign_log(caller.tenant)
    end = newest_checkpoint(tx, caller.tenant)
    details = {"format": request.format.value, "size": end.size, "filters": filters}
    tx.audit(caller.tenant, Event.AUDIT_EXPORTED, caller.identity, details)
    return end


def checkpoint_of_export(tx: Transaction, caller: Caller, size: int) -> LogCheckpoint:
    """The answer to an export that was announced already."""
    require_admin(caller)
    rows = tx.find(CheckpointRow, Where("tenant", "=", caller.tenant), Where("size", "=", size), limit=1)
    if not rows:
        raise Conflict("The checkpoint of that export is not there any more.", hint="Find out: vaultctl audit verify")
    return shown_checkpoint(tx, caller.tenant, rows[0])


def get_tile(tx: Transaction, caller: Caller, request: ask.GetTile) -> bytes:
    """The bytes of a tile or of a bundle of entries."""
    refuse_agents(caller)
    tile = parse_path(f"tile/{request.path}")
    if tile is not None and tile.level is None:
        require_admin(caller)
    log = tx.get(LogRow, caller.tenant)
    if tile is None or log is None or not is_in_tree(tile, log.size):
        raise NotFound(
            "The audit log has no such tile.", hint="Its checkpoint says how long it is: vaultctl audit checkpoint"
        )
    if tile.level is None:
        return encode_bundle(_entries(tx, caller.tenant, tile))
    if tile.level == 0 and log.size < (tile.number + 1) * TILE_WIDTH:
        return b"".join(map(leaf_hash, _entries(tx, caller.tenant, tile)))
    row = tx.get(TileRow, caller.tenant, tile.level, tile.number)
    hashes = row.hashes[: tile.width * HASH_BYTES] if row is not None and isinstance(row.hashes, bytes) else b""
    if len(hashes) != tile.width * HASH_BYTES:
        raise _damaged(f"The tile {tile.path}")
    return hashes


def _entries(tx: Transaction, tenant: str, tile: Tile) -> list[bytes]:
    first, beyond = tile.leaves
    span = (Where("seq", ">=", first), Where("seq", "<", beyond))
    rows = tx.find(EntryRow, Where("tenant", "=", tenant), *span, order="seq", limit=TILE_WIDTH)
    bodies = [row.body for row in rows if isinstance(row.body, bytes)]
    if len(bodies) != tile.width:
        raise _damaged(f"Of the entries {first} to {beyond - 1}, one")
    return bodies


def _damaged(what: str) -> VerificationFailed:
    return VerificationFailed(
        f"{what} of the audit log was removed or changed by something other than the vault.",
        hint="Find out which: vaultctl audit verify",
    )


def _filters(request: ask.BeginExport) -> dict[str, Any]:
    """What narrows an export, by its JSON names; nothing if nothing does."""
    filters: dict[str, Any] = msgspec.to_builtins(request)
    filters.pop("format", None)
    if request.events:
        filters["events"] = sorted({event.value for event in request.events})
    return filters

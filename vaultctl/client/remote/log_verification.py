"""Verifies a server's audit log here: its entries are downloaded, and hashed as the log's checkpoints say.

The server is believed nothing but, unless it is given, the log's key. What it answers is turned back into the bytes
that were hashed, so an entry that it has changed is noticed, though not which one: that only its database tells.
"""

import base64
from collections.abc import Generator
from typing import Any

import msgspec

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InternalError, VerificationFailed
from vaultctl.domain.records import AuditEntry, Event, LogProblem, LogVerification
from vaultctl.domain.times import rfc3339
from vaultctl.ledger.canonical import canonical_json
from vaultctl.ledger.checkpoint import EarlierLog, key_now, open_checkpoint, open_kept_checkpoint
from vaultctl.ledger.merkle import leaf_hash
from vaultctl.ledger.note import parse_verifier_key
from vaultctl.ledger.tiles import TILE_WIDTH
from vaultctl.ledger.verification import Expected, Problem, TreeCheck


def verification(request: ask.VerifyLog) -> Generator[ask.Request[Any], Any, LogVerification]:
    """What to ask a server, one request after the other; returns what came of it.

    Raises:
        VerificationFailed: A checkpoint is none of this log.
    """
    made = yield ask.CreateCheckpoint()
    kept = [*request.against, *([request.since] if request.since else [])]
    key = parse_verifier_key(request.key or made.verifier_key)
    earlier: list[EarlierLog] = []
    if key.name != made.origin or not all(note.startswith(f"{made.origin}\n") for note in kept):
        restorations = yield ask.QueryAudit(events=(Event.VAULT_RESTORED,), after_seq=-1)
        earlier = [EarlierLog(str(entry.details.get("origin")), entry.seq) for entry in restorations.items]
        key = key_now(key, made.origin, earlier)
    newest = open_checkpoint(made.note.encode(), key)
    name = "The checkpoint that was kept elsewhere"
    expected = [Expected(open_kept_checkpoint(note.encode(), key, earlier), name) for note in kept]
    expected.append(Expected(newest, "The newest checkpoint"))
    expected.sort(key=lambda one: one.checkpoint.size)
    problems: list[Problem] = []
    tree = TreeCheck(iter(expected), problems.append)
    leaves: list[bytes | None] = []
    seen = 0
    while seen < newest.size:
        page = yield ask.QueryAudit(after_seq=seen - 1, limit=min(ask.MAX_PAGE_SIZE, newest.size - seen))
        for entry in page.items:
            if entry.seq < seen:
                raise VerificationFailed("The server does not answer with the entries in their order.")
            if entry.seq > seen:
                problems.append(Problem(f"{entry.seq - seen} entries are missing.", seen, entry.seq - 1))
                leaves += [None] * (entry.seq - seen)
            leaves.append(leaf_hash(_bytes_of(entry)))
            seen = entry.seq + 1
        if not page.items:
            problems.append(Problem(f"The last {newest.size - seen} entries are missing.", seen, newest.size - 1))
            leaves += [None] * (newest.size - seen)
            seen = newest.size
        while len(leaves) >= TILE_WIDTH:
            tree.hashed(leaves[:TILE_WIDTH])
            del leaves[:TILE_WIDTH]
        if request.progress is not None:
            request.progress(seen, newest.size)
    tree.hashed(leaves)
    tree.done()
    return LogVerification(
        verified=not problems,
        origin=key.name,
        size=newest.size,
        root_hash=base64.b64encode(newest.root).decode(),
        entries=seen,
        checkpoints=len(expected),
        problem_count=len(problems),
        problems=tuple(LogProblem(message=what, first_entry=first, last_entry=last) for what, first, last in problems),
    )


def _bytes_of(entry: AuditEntry) -> bytes:
    """The bytes that the vault stores of an entry."""
    whole = msgspec.to_builtins(entry)
    whole["timestamp"] = rfc3339(entry.timestamp)
    try:
        return canonical_json(whole)
    except InternalError as error:
        raise VerificationFailed(f"Entry {entry.seq} is not what a vault writes.") from error

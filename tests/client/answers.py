"""Answers of a server as they look on the wire, for scripts."""

from typing import Any

VALUE = "shpat_c4n4ry0123456789abcdef0123456789"
_WHEN = "2026-11-24T12:00:00.000000Z"

LEASE: dict[str, Any] = {
    "id": "lease_1",
    "credentialId": "cred_1",
    "credentialName": "shopify-api-key",
    "credentialVersion": 1,
    "identity": {"type": "agent", "name": "deploy-agent"},
    "ttl": "15m",
    "issuedAt": _WHEN,
    "expiresAt": "2026-11-24T12:15:00.000000Z",
    "maxExpiresAt": "2026-11-24T13:00:00.000000Z",
    "renewals": 0,
    "delivery": "value",
    "state": "active",
}
ISSUED_LEASE = LEASE | {"type": "api-key", "value": VALUE, "attributes": {}}
REVOKED_LEASE = LEASE | {"state": "revoked"}
WHOAMI = {"tenant": "my-org", "identity": {"type": "agent", "name": "deploy-agent"}, "role": "user", "reaches": []}
REVOCATION = {"leases": 1, "sessions": 0}
CREDENTIAL = {
    "id": "cred_1",
    "name": "shopify-api-key",
    "type": "api-key",
    "state": "active",
    "version": 1,
    "metadata": {},
    "attributes": {},
    "policy": {},
    "createdAt": _WHEN,
    "createdBy": "owner",
    "updatedAt": _WHEN,
}


def entry(seq: int) -> dict[str, Any]:
    """An entry of the audit log."""
    return {
        "id": f"entry_{seq}",
        "seq": seq,
        "event": "lease.created",
        "timestamp": _WHEN,
        "tenantId": "my-org",
        "identity": {"type": "agent", "name": "deploy-agent"},
        "details": {},
    }

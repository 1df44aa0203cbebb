"""``vaultctl credential``: named, typed, versioned secrets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.confirm import confirm
from vaultctl.cli.values import read_value
from vaultctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from vaultctl.client import Vault
    from vaultctl.domain.records import Credential

app = noun("credential", "vaultctl credential list")

_TYPES = "api-key, oauth-token, ssh-key, tls-certificate, database-url or generic-secret."

Metadata = Annotated[
    list[str] | None,
    opt.option("--metadata", metavar="KEY=VALUE", help="What people want to know about it; not secret. Repeatable."),
]
DefaultTTL = Annotated[
    Any,
    opt.option(
        "--default-ttl",
        metavar="DURATION",
        help="TTL of a lease that asks for none.",
        parser=opt.duration("default TTL"),
    ),
]
MaxTTL = Annotated[
    Any,
    opt.option(
        "--max-ttl",
        metavar="DURATION",
        help="Longest a lease may live, renewals included.",
        parser=opt.duration("maximum TTL"),
    ),
]
NewDefaultTTL = Annotated[
    Any,
    opt.option(
        "--default-ttl",
        metavar="DURATION",
        help="TTL of a lease that asks for none; 'none' takes it away.",
        parser=opt.duration("default TTL", clearable=True),
    ),
]
NewMaxTTL = Annotated[
    Any,
    opt.option(
        "--max-ttl",
        metavar="DURATION",
        help="Longest a lease may live; 'none' takes it away.",
        parser=opt.duration("maximum TTL", clearable=True),
    ),
]
Allow = Annotated[
    list[str] | None,
    opt.option(
        "--allow",
        metavar="WHO",
        help="Who may lease it: agent:GLOB or human:GLOB. Repeatable. Without it: whoever's token reaches its name.",
    ),
]
DeliveryOption = Annotated[
    str | None,
    opt.option(
        "--delivery",
        metavar="HOW",
        help="value, or reference: agents never see the value.",
        autocompletion=opt.values_of("Delivery"),
    ),
]

_LIST = [
    Column("name", lambda c: c.name),
    Column("type", lambda c: c.type.value),
    Column("version", lambda c: c.version),
    Column("state", lambda c: c.state.value, style=lambda c: "red" if c.state.value == "revoked" else ""),
    Column("allowed", lambda c: _allowed(c) or "by token", wrap=20, detail=1),
    Column("max ttl", lambda c: c.policy.max_lease_ttl, detail=2),
    Column("expires", lambda c: _expires(c), style=lambda c: _nearness(c), detail=1),
    Column("updated", lambda c: c.updated_at, detail=2),
]

_ONE = [
    Column("name", lambda c: c.name),
    Column("type", lambda c: c.type.value),
    Column("state", lambda c: c.state.value, style=lambda c: "red" if c.state.value == "revoked" else ""),
    Column("version", lambda c: c.version),
    Column("attributes", lambda c: c.attributes),
    Column("metadata", lambda c: c.metadata),
    Column("allowed", lambda c: _allowed(c) or "whoever's token reaches the name"),
    Column("default ttl", lambda c: c.policy.default_lease_ttl),
    Column("max ttl", lambda c: c.policy.max_lease_ttl),
    Column("delivery", lambda c: c.policy.delivery.value),
    Column("created", lambda c: c.created_at),
    Column("created by", lambda c: c.created_by),
    Column("updated", lambda c: c.updated_at),
    Column("id", lambda c: c.id),
]

_CHANGES = {"new": "green", "changed": "yellow", "unchanged": ""}

_IMPORTED = [
    Column("name", lambda i: i.name),
    Column("type", lambda i: i.type.value),
    Column("change", lambda i: i.change, style=lambda i: _CHANGES[i.change]),
    Column("version", lambda i: i.version or None),
]

_SOON = 30
"""Days before its end from which on a certificate or a token is pointed at."""

_VERSIONS = [
    Column("version", lambda v: v.version),
    Column("current", lambda v: v.current),
    Column("created", lambda v: v.created_at),
    Column("created by", lambda v: v.created_by),
    Column("restored from", lambda v: v.restored_from),
    Column("attributes", lambda v: v.attributes, wrap=24, detail=1),
]


@verb(
    app,
    "create",
    "vaultctl credential create shopify-api-key --type api-key --max-ttl 4h",
    "vaultctl credential create deploy-key --type ssh-key --from-file ~/.ssh/id_ed25519",
)
def create(
    ctx: typer.Context,
    name: opt.NewCredential,
    type: Annotated[
        str, opt.option("--type", metavar="TYPE", help=_TYPES, autocompletion=opt.values_of("CredentialType"))
    ],
    from_file: opt.FromFile = None,
    from_env: opt.FromEnv = None,
    metadata: Metadata = None,
    default_ttl: DefaultTTL = None,
    max_ttl: MaxTTL = None,
    allow: Allow = None,
    delivery: DeliveryOption = None,
) -> None:
    """Store a credential.

    Its value comes from --from-file, --from-env or stdin; on a terminal you are asked for it.
    """
    run = invocation(ctx)
    about = opt.pairs(metadata, "metadata")
    with run.vault() as vault:
        credential = vault.credentials.create(
            name,
            type,
            read_value(from_file, from_env),
            metadata=about,
            default_ttl=default_ttl,
            max_ttl=max_ttl,
            allow=allow or (),
            delivery=delivery or "value",
        )
    _print(run, credential)


@verb(
    app,
    "import",
    "vaultctl credential import .env --dry-run",
    "vaultctl credential import .env --prefix shop- --yes",
)
def import_file(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A dotenv file or JSON; - is stdin.", show_default=False)
    ],
    prefix: Annotated[str, opt.option("--prefix", metavar="TEXT", help="Comes before each name.")] = "",
    type: Annotated[
        str | None,
        opt.option(
            "--type",
            metavar="TYPE",
            help="Of all that are new; else what each looks like.",
            autocompletion=opt.values_of("CredentialType"),
        ),
    ] = None,
    yes: opt.Yes = False,
    dry_run: opt.DryRun = False,
) -> None:
    """Store the secrets of a file: SHOPIFY_API_KEY becomes shopify-api-key.

    It takes dotenv files, a JSON object of names and values (also Doppler's), and what HashiCorp Vault (vault kv get
    -format=json), Infisical (export --format=json) and 1Password (op item get --format json) write. What changes is
    shown first, values never. Up to 100 values are stored in one step, all or none; of more, what is done is not done
    again when the command is repeated.
    """
    run = invocation(ctx)
    from vaultctl.cli.importing import import_secrets

    result = import_secrets(run, file, prefix=prefix, type=type, yes=yes, dry_run=dry_run)
    from vaultctl.domain.records import ImportedCredential

    output.many(run, result, ImportedCredential, _IMPORTED, lambda i: i.name)


@verb(app, "list", "vaultctl credential list")
def list_credentials(ctx: typer.Context) -> None:
    """List the credentials that you may see, without their values."""
    run = invocation(ctx)
    with run.vault() as vault:
        found = vault.credentials.list()
    from vaultctl.domain.records import Credential

    output.many(run, found, Credential, _LIST, lambda c: c.name)


@verb(app, "show", "vaultctl credential show shopify-api-key")
def show(ctx: typer.Context, name: opt.Credential) -> None:
    """Show a credential, without its value."""
    run = invocation(ctx)
    with run.vault() as vault:
        credential = vault.credentials.get(name)
    _print(run, credential)


@verb(
    app,
    "update",
    "vaultctl credential update shopify-api-key --max-ttl 2h --metadata owner=shop-team",
    "vaultctl credential update shopify-api-key --allow 'agent:api-*' --allow 'human:*'",
)
def update(
    ctx: typer.Context,
    name: opt.Credential,
    metadata: Metadata = None,
    clear_metadata: Annotated[bool, opt.option("--clear-metadata", help="Take all metadata away.")] = False,
    default_ttl: NewDefaultTTL = None,
    max_ttl: NewMaxTTL = None,
    allow: Allow = None,
    clear_allow: Annotated[
        bool, opt.option("--clear-allow", help="Name nobody: whoever's token reaches its name may lease it.")
    ] = False,
    delivery: DeliveryOption = None,
) -> None:
    """Change metadata or policy; what is not named stays.

    --metadata and --allow each replace all that was there before.
    """
    if (metadata and clear_metadata) or (allow and clear_allow):
        raise InvalidInput("Replacing and clearing exclude each other.", hint="Leave out one of the two options.")
    if not any((metadata, clear_metadata, default_ttl, max_ttl, allow, clear_allow, delivery)):
        raise InvalidInput("There is nothing to change.", hint="See vaultctl credential update --help.")
    run = invocation(ctx)
    with run.vault() as vault:
        credential = vault.credentials.update(
            name,
            metadata={} if clear_metadata else opt.pairs(metadata, "metadata"),
            default_ttl=default_ttl,
            max_ttl=max_ttl,
            allow=[] if clear_allow else allow,
            delivery=delivery,
        )
    _print(run, credential)


@verb(app, "rotate", "vaultctl credential rotate shopify-api-key")
def rotate(
    ctx: typer.Context, name: opt.Credential, from_file: opt.FromFile = None, from_env: opt.FromEnv = None
) -> None:
    """Store a new value as a new version.

    Its value comes from --from-file, --from-env or stdin; on a terminal you are asked for it. Running leases go on,
    with the value that they delivered.
    """
    run = invocation(ctx)
    with run.vault() as vault:
        credential = vault.credentials.rotate(name, read_value(from_file, from_env))
    run.tell(f"{name} is now at version {credential.version}.")
    _print(run, credential)


@verb(app, "versions", "vaultctl credential versions shopify-api-key")
def versions(ctx: typer.Context, name: opt.Credential) -> None:
    """List the versions of a credential, newest first."""
    run = invocation(ctx)
    with run.vault() as vault:
        found = vault.credentials.versions(name)
    from vaultctl.domain.records import CredentialVersion

    output.many(run, found, CredentialVersion, _VERSIONS, lambda v: str(v.version))


@verb(app, "rollback", "vaultctl credential rollback shopify-api-key --to 1")
def rollback(
    ctx: typer.Context,
    name: opt.Credential,
    to: Annotated[
        Any, opt.option("--to", metavar="N", help="Version to go back to.", parser=opt.whole_number("The version"))
    ],
) -> None:
    """Make a new version that holds the value of an earlier one."""
    run = invocation(ctx)
    with run.vault() as vault:
        credential = vault.credentials.rollback(name, to)
    run.tell(f"{name} is now at version {credential.version}, with the value of version {to}.")
    _print(run, credential)


@verb(
    app,
    "revoke",
    "vaultctl credential revoke shopify-api-key --dry-run",
)
def revoke(ctx: typer.Context, name: opt.Credential, yes: opt.Yes = False, dry_run: opt.DryRun = False) -> None:
    """End all leases of a credential, and lease it never again.

    A value that was already delivered works until it is changed at the service that it is for.
    """
    run = invocation(ctx)
    with run.vault() as vault:
        if dry_run or not yes:
            plan = f"{name} could never be leased again, and {_leases(vault, name)} would end."
            if dry_run:
                run.tell(f"Would revoke: {plan}")
                return
            confirm(f"{plan} Revoke it?", yes=yes)
        ended = vault.credentials.revoke(name)
    run.tell(
        f"Revoked {name}; {opt.count(ended.leases, 'lease')} ended. A value already delivered works until it is "
        "changed at its service."
    )
    output.done(run, ended, name)


@verb(
    app,
    "delete",
    "vaultctl credential delete shopify-api-key --dry-run",
)
def delete(ctx: typer.Context, name: opt.Credential, yes: opt.Yes = False, dry_run: opt.DryRun = False) -> None:
    """Destroy a credential with all its versions. Its leases end, its audit trail stays."""
    run = invocation(ctx)
    with run.vault() as vault:
        if dry_run or not yes:
            kept = len(vault.credentials.versions(name))
            plan = f"{name} with {opt.count(kept, 'version')} would be destroyed, and {_leases(vault, name)} would end."
            if dry_run:
                run.tell(f"Would delete: {plan}")
                return
            confirm(f"{plan} This can't be undone. Delete it?", yes=yes)
        ended = vault.credentials.delete(name)
    run.tell(f"Deleted {name}; {opt.count(ended.leases, 'lease')} ended.")
    output.done(run, ended, name)


def _expires(credential: "Credential") -> "datetime | None":
    """When a certificate or a token ends by itself."""
    from datetime import datetime

    text = credential.attributes.get("expiresAt")
    return None if text is None else datetime.fromisoformat(text)


def _nearness(credential: "Credential") -> str:
    from datetime import UTC, datetime, timedelta

    expires = _expires(credential)
    if expires is None:
        return ""
    left = expires - datetime.now(UTC)
    return "red" if left <= timedelta() else "yellow" if left < timedelta(days=_SOON) else ""


def _allowed(credential: "Credential") -> list[str]:
    return [f"{allowed.type}:{allowed.glob}" for allowed in credential.policy.allowed_identities]


def _leases(vault: "Vault", name: str) -> str:
    vault.credentials.get(name)
    return opt.count(len(vault.leases.list(credential=name, state="active")), "active lease")


def _print(run: Any, credential: "Credential") -> None:
    output.one(run, credential, _ONE, lambda c: c.name)

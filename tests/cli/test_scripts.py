"""What scripts depend on: the same commands say the same on the vault itself and at its server."""

import re
from pathlib import Path

from tests.cli.conftest import API_KEY, Cli
from tests.cli.serving import serving
from vaultctl.domain.errors import ExitStatus

NEW_KEY = "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"

DAY: list[tuple[str, ExitStatus, str]] = [
    # The command, how it ends, and what it reads. {lease} and {token} are the ids that the last ones made were given.
    ("whoami", ExitStatus.DONE, ""),
    ("credential create stripe-key --type api-key --max-ttl 1h --metadata owner=shop", ExitStatus.DONE, API_KEY),
    ("credential create stripe-key --type api-key", ExitStatus.CONFLICT, API_KEY),
    ("credential create deploy-key --type ssh-key", ExitStatus.USAGE, "no key"),
    ("credential list", ExitStatus.DONE, ""),
    ("credential show stripe-key", ExitStatus.DONE, ""),
    ("credential show absent", ExitStatus.NOT_FOUND, ""),
    ("credential update stripe-key --default-ttl 10m --allow agent:billing-* --allow human:*", ExitStatus.DONE, ""),
    ("credential rotate stripe-key", ExitStatus.DONE, NEW_KEY),
    ("credential rollback stripe-key --to 1", ExitStatus.DONE, ""),
    ("credential rollback stripe-key --to 9", ExitStatus.NOT_FOUND, ""),
    ("credential versions stripe-key", ExitStatus.DONE, ""),
    ("token create --agent billing-agent --credential stripe-* --ttl 30d", ExitStatus.DONE, ""),
    ("token list", ExitStatus.DONE, ""),
    ("token show {token}", ExitStatus.DONE, ""),
    ("token rotate {token} --ttl 90d", ExitStatus.DONE, ""),
    ("token create --operator", ExitStatus.NOT_ALLOWED, ""),
    ("lease create stripe-key --ttl 5m --purpose Bill", ExitStatus.DONE, ""),
    ("lease show {lease}", ExitStatus.DONE, ""),
    ("lease list --state active", ExitStatus.DONE, ""),
    ("lease renew {lease} --ttl 10m", ExitStatus.DONE, ""),
    ("lease revoke {lease}", ExitStatus.DONE, ""),
    ("lease renew {lease}", ExitStatus.CONFLICT, ""),
    ("lease create stripe-key", ExitStatus.DONE, ""),
    ("lease revoke --credential stripe-key --dry-run", ExitStatus.DONE, ""),
    ("lease revoke --credential stripe-key --yes", ExitStatus.DONE, ""),
    ("lease create absent", ExitStatus.NOT_FOUND, ""),
    ("session list", ExitStatus.DONE, ""),
    ("session show cortex_sess_absent", ExitStatus.NOT_FOUND, ""),
    ("session end cortex_sess_absent --yes", ExitStatus.NOT_FOUND, ""),
    ("team invite bob@example.com --role user", ExitStatus.DONE, ""),
    ("team role bob@example.com manager", ExitStatus.DONE, ""),
    ("team list", ExitStatus.DONE, ""),
    ("team remove bob@example.com --yes", ExitStatus.DONE, ""),
    ("tenant show", ExitStatus.DONE, ""),
    ("tenant set --default-lease-ttl 30m", ExitStatus.DONE, ""),
    ("tenant rotate-kek --dry-run", ExitStatus.DONE, ""),
    ("tenant create other", ExitStatus.NOT_ALLOWED, ""),
    ("token revoke {token} --dry-run", ExitStatus.DONE, ""),
    ("token revoke {token} --yes", ExitStatus.DONE, ""),
    ("credential revoke stripe-key --dry-run", ExitStatus.DONE, ""),
    ("credential revoke stripe-key --yes", ExitStatus.DONE, ""),
    ("lease create stripe-key", ExitStatus.CONFLICT, ""),
    ("credential delete stripe-key", ExitStatus.USAGE, ""),
    ("credential delete stripe-key --yes", ExitStatus.DONE, ""),
    ("audit --limit 0", ExitStatus.DONE, ""),
    ("audit --credential stripe-key --event lease.created", ExitStatus.DONE, ""),
    ("audit export --bundle", ExitStatus.USAGE, ""),
]

MADE_ANEW = re.compile(
    r"(vault_token|vault|tok|lease|cred|entry)_[A-Za-z0-9]{8,}"
    r"|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z)"
)


def play(cli: Cli, **environment: str) -> list[tuple[str, int, str, str]]:
    """What each command of the day says, with what is made anew each time left out."""
    ids: dict[str, str] = {}
    said = []
    for line, _, stdin in DAY:
        argv = line.format(**ids).split()
        result = cli(*argv, "-o", "json", stdin=stdin, **environment)
        if result.status == ExitStatus.DONE and argv[:2] in (["lease", "create"], ["token", "create"]):
            ids[argv[0]] = result.json["id"]
        said.append((line, result.status, plain(result.out), plain(result.err)))
    return said


def plain(text: str) -> str:
    return MADE_ANEW.sub(lambda found: "TIME" if found["time"] else f"{found[1]}_ID", text)


def test_a_day_says_the_same_on_the_vault_itself_and_at_a_server(cli: Cli, tmp_path: Path) -> None:
    """Two new vaults, in each of which the same happens, by an admin of each."""
    homes = [str(tmp_path / name) for name in ("here", "there")]
    tokens = []
    for home in homes:
        cli.ok("init", "--tenant", "my-org", "--root-key", "file", VAULTCTL_HOME=home)
        alice = ("token", "create", "--human", "alice@example.com", "--role", "admin", "-q")
        tokens.append(cli.ok(*alice, VAULTCTL_HOME=home).out.strip())
    here = play(cli, VAULTCTL_HOME=homes[0], VAULT_TOKEN=tokens[0])
    assert [(line, status) for line, status, _, _ in here] == [(line, status) for line, status, _ in DAY]
    with serving(VAULTCTL_HOME=homes[1]) as server:
        away = str(tmp_path / "away")
        there = play(cli, VAULTCTL_HOME=away, VAULT_TOKEN=tokens[1], VAULT_BASE_URL=server.base_url)
    assert [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]] == []

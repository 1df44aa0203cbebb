"""Rule 8: free text is short, plain, and holds no value that was leased in that session, in any of its forms."""

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from tests.contract.checks import Trail, as_text, fails_unrecorded, refused
from tests.contract.values import ssh_key
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import InvalidInput, NotAllowed, VaultError

SECRET = 'p@ss/wörd+"x" & y?~\'(1)'
"""Something that every encoding changes."""
PLAIN = "0123456789abcdef-secret"
"""Something that could be a name."""


def _as_javascript_encodes(text: str) -> str:
    return quote(text, safe="!'()*~")


def _lower_case_escapes(text: str) -> str:
    return re.sub("%..", lambda match: match[0].lower(), text)


FORMS: dict[str, Callable[[str], str]] = {
    "raw": lambda s: s,
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 with one byte before": lambda s: base64.b64encode(f"x{s}".encode()).decode(),
    "base64 with two bytes before and some after": lambda s: base64.b64encode(f"u:{s}@host".encode()).decode(),
    "base64 within a header": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "base64url without padding": lambda s: base64.urlsafe_b64encode(s.encode()).decode().rstrip("="),
    "hex": lambda s: s.encode().hex(),
    "hex in capitals": lambda s: s.encode().hex().upper(),
    "URL-encoded": lambda s: quote(s, safe=""),
    "URL-encoded but for slashes": quote,
    "URL-encoded in a form": quote_plus,
    "URL-encoded by a browser": _as_javascript_encodes,
    "URL-encoded in lower case": lambda s: _lower_case_escapes(quote(s, safe="")),
    "JSON-escaped": lambda s: json.dumps(s)[1:-1],
    "JSON-escaped with letters as they are": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
}


@pytest.fixture
def owner(world: World) -> Vault:
    owner = world.owner()
    owner.credentials.create("api", "generic-secret", SECRET)
    owner.credentials.create("plain", "api-key", PLAIN)
    owner.credentials.create("other", "api-key", "key-of-another")
    return owner


def nowhere(owner: Vault, *texts: str) -> None:
    """None of the texts is in the log, in any list or in an identity."""
    shown = as_text([*owner.audit_log.query(limit=None), *owner.leases.list(), *owner.sessions.list()])
    shown += as_text(owner.credentials.list())
    for text in texts:
        assert text not in shown
        assert json.dumps(text, ensure_ascii=False)[1:-1] not in shown


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", ["purpose", "claim", "session claim"])
def test_a_value_that_was_leased_is_refused_in_any_form_and_kept_nowhere(
    world: World, owner: Vault, form: str, where: str
) -> None:
    agent = world.agent("ours", "*")
    session = world.session(agent, "cortex_sess_1")
    (agent if where == "session claim" else session).leases.create("api")
    text = FORMS[form](SECRET)

    def tell() -> object:
        match where:
            case "purpose":
                return session.leases.create("other", purpose=f"Calling with {text} now")
            case "claim":
                return session.leases.create("other", claimed={"client": text})
        return agent.sessions.open("mcp_sess_2", claimed={"client": text})

    refusal = refused(owner, InvalidInput, tell)
    assert refusal.rule == "secret-in-text"
    assert refusal.entry.event == ("access.denied" if where == "session claim" else "lease.denied")
    assert refusal.entry.details.keys() == {"operation", "rule"}
    assert refusal.entry.identity.purpose is None
    assert text not in f"{refusal.error} {refusal.error.hint}"
    nowhere(owner, text, SECRET)


@pytest.mark.parametrize("form", FORMS)
def test_metadata_does_not_hold_the_value_that_it_describes(owner: Vault, form: str) -> None:
    text = FORMS[form](SECRET)
    for act in (
        lambda: owner.credentials.update("api", metadata={"note": f"is {text}"}),
        lambda: owner.credentials.create("new", "generic-secret", SECRET, metadata={"note": f"is {text}"}),
    ):
        # It answers a guess at the value, so it is recorded.
        assert refused(owner, InvalidInput, act).rule == "secret-in-text"
    nowhere(owner, text)


class TestWhatIsLookedFor:
    """Whatever was leased in the session, whether or not the lease still runs."""

    def test_the_value_that_is_being_leased_right_now(self, world: World, owner: Vault) -> None:
        session = world.session(world.agent("ours", "*"))
        refused(owner, InvalidInput, lambda: session.leases.create("api", purpose=f"I know {SECRET} already"))
        nowhere(owner, SECRET)

    def test_the_value_of_a_lease_that_ended(self, world: World, owner: Vault) -> None:
        session = world.session(world.agent("ours", "*"))
        session.leases.create("plain", ttl="1m").revoke()
        session.leases.create("api", ttl="1m")
        world.clock.advance("2m")
        for value in (PLAIN, SECRET):
            refused(owner, InvalidInput, lambda value=value: session.leases.create("other", purpose=f"With {value}"))
        nowhere(owner, PLAIN, SECRET)

    def test_the_value_of_an_earlier_version(self, world: World, owner: Vault) -> None:
        session = world.session(world.agent("ours", "*"))
        session.leases.create("plain")
        owner.credentials.rotate("plain", "another-value-now")
        session.leases.create("plain")
        for value in (PLAIN, "another-value-now"):
            refused(owner, InvalidInput, lambda value=value: session.leases.create("other", purpose=f"With {value}"))
        nowhere(owner, PLAIN, "another-value-now")

    def test_a_line_of_a_private_key(self, world: World, owner: Vault) -> None:
        owner.credentials.create("ssh", "ssh-key", ssh_key())
        session = world.session(world.agent("ours", "*"))
        session.leases.create("ssh")
        line = ssh_key().splitlines()[2]
        refused(owner, InvalidInput, lambda: session.leases.create("other", purpose=f"With {line}"))
        nowhere(owner, line)

    def test_the_password_of_a_database_url(self, world: World, owner: Vault) -> None:
        owner.credentials.create("db", "database-url", "postgresql://reader:geheim%2Fwort@db.example.com/orders")
        session = world.session(world.agent("ours", "*"))
        session.leases.create("db")
        for text in ("geheim%2Fwort", "geheim/wort"):
            refused(owner, InvalidInput, lambda text=text: session.leases.create("other", purpose=f"With {text}"))
        session.leases.create("other", purpose="Reading from db.example.com")
        nowhere(owner, "geheim")

    def test_what_a_human_holds_a_lease_of(self, world: World, owner: Vault) -> None:
        human = world.human("ada@example.com", "user")
        human.leases.create("plain")
        refused(owner, InvalidInput, lambda: human.leases.create("other", purpose=f"With {PLAIN}"))
        nowhere(owner, PLAIN)

    def test_metadata_does_not_hold_the_value_of_another_credential_that_its_author_leased(
        self, world: World, owner: Vault
    ) -> None:
        manager = world.human("mia@example.com", "manager")
        manager.leases.create("plain")
        for act in (
            lambda: manager.credentials.update("other", metadata={"note": f"goes with {PLAIN}"}),
            lambda: manager.credentials.create("new", "api-key", "key-0123456789", metadata={"note": PLAIN}),
        ):
            with pytest.raises(InvalidInput):
                act()
        nowhere(owner, PLAIN)

    def test_metadata_does_not_hold_the_value_of_an_earlier_version_that_can_come_back(self, owner: Vault) -> None:
        owner.credentials.rotate("plain", "another-value-now")
        with pytest.raises(InvalidInput):
            owner.credentials.update("plain", metadata={"note": f"was {PLAIN}"})
        nowhere(owner, PLAIN)

    def test_another_sessions_values_are_its_own_matter(self, world: World, owner: Vault) -> None:
        agent = world.agent("ours", "*")
        world.session(agent).leases.create("plain")
        session = world.session(agent)
        assert session.leases.create("other", purpose=f"Unrelated {PLAIN}").lease.identity.purpose is not None


class TestSecretsInTheWrongPlace:
    """A value that could be a name is not kept as one."""

    @pytest.mark.parametrize(
        "operation", ["lease", "get", "versions", "update", "rotate", "rollback", "revoke", "delete", "create"]
    )
    def test_an_agent_that_gives_a_leased_value_for_a_name_is_refused_and_it_is_kept_nowhere(
        self, world: World, owner: Vault, operation: str
    ) -> None:
        session = world.session(world.agent("ours", "*"))
        session.leases.create("plain")
        acts: dict[str, Callable[[], object]] = {
            "lease": lambda: session.leases.create(PLAIN),
            "get": lambda: session.credentials.get(PLAIN),
            "versions": lambda: session.credentials.versions(PLAIN),
            "update": lambda: session.credentials.update(PLAIN, metadata={}),
            "rotate": lambda: session.credentials.rotate(PLAIN, "key-0123456789"),
            "rollback": lambda: session.credentials.rollback(PLAIN, 1),
            "revoke": lambda: session.credentials.revoke(PLAIN),
            "delete": lambda: session.credentials.delete(PLAIN),
            "create": lambda: session.credentials.create(PLAIN, "api-key", "key-0123456789"),
        }
        with pytest.raises(VaultError) as raised:
            acts[operation]()
        assert PLAIN not in f"{raised.value} {raised.value.hint}"
        nowhere(owner, PLAIN)

    def test_a_value_given_for_an_id_is_kept_nowhere(self, world: World, owner: Vault) -> None:
        agent = world.agent("ours", "*")
        session = world.session(agent)
        session.leases.create("plain")
        for act in (
            session.leases.get,
            session.leases.renew,
            session.leases.revoke,
            session.sessions.get,
            session.sessions.end,
            session.tokens.get,
            lambda value: agent.sessions.open(f"mcp_sess_{value}"),
            lambda value: session.audit_log.query(session=value),
        ):
            with pytest.raises(VaultError) as raised:
                act(PLAIN)
            assert PLAIN not in f"{raised.value} {raised.value.hint}"
        nowhere(owner, PLAIN)

    def test_a_credential_is_not_named_by_its_value(self, owner: Vault) -> None:
        value = "key-0123456789"
        refusal = refused(owner, InvalidInput, lambda: owner.credentials.create(value, "api-key", value))
        assert refusal.rule == "secret-in-text"
        nowhere(owner, value)

    def test_a_malformed_name_is_not_quoted(self, owner: Vault) -> None:
        for act in (owner.credentials.get, owner.leases.create, owner.credentials.delete):
            error = fails_unrecorded(owner, InvalidInput, lambda act=act: act("Canary/Value"))
            assert "Canary" not in f"{error} {error.hint}"


class TestLimits:
    """At most 500 characters, none of them a control character."""

    def test_five_hundred_characters_are_enough(self, owner: Vault) -> None:
        purpose = "é" * 500
        assert owner.leases.create("other", purpose=purpose).lease.identity.purpose == purpose
        fails_unrecorded(owner, InvalidInput, lambda: owner.leases.create("other", purpose=purpose + "é"))

    @pytest.mark.parametrize(
        "character", ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x9b", "\u2028", "\u2029", "\ud800"]
    )
    @pytest.mark.parametrize("where", ["purpose", "claim", "metadata"])
    def test_control_characters_are_refused(self, owner: Vault, where: str, character: str) -> None:
        text = f"Deploying{character}v2"
        acts: dict[str, Callable[[], object]] = {
            "purpose": lambda: owner.leases.create("other", purpose=text),
            "claim": lambda: owner.leases.create("other", claimed={"client": text}),
            "metadata": lambda: owner.credentials.update("other", metadata={"note": text}),
        }
        fails_unrecorded(owner, InvalidInput, acts[where])

    def test_ordinary_text_of_any_script_is_kept_as_it_is(self, owner: Vault) -> None:
        purpose = "Déploiement de la v2.1.0 → 生产 (100 %), “vite” 🚀 <b>[red]x[/red]</b> =1+1"
        id = owner.leases.create("other", purpose=purpose).id
        assert owner.leases.get(id).identity.purpose == purpose
        assert owner.audit_log.query(lease=id)[0].identity.purpose == purpose

    def test_metadata_has_at_most_32_entries_with_names_for_keys(self, owner: Vault) -> None:
        most = {f"key{i}": "x" * 500 for i in range(32)}
        assert owner.credentials.update("other", metadata=most).metadata == most
        for wrong in (most | {"one-more": "x"}, {"": "x"}, {"a b": "x"}, {"1a": "x"}, {"a" * 65: "x"}, {"é": "x"}):
            fails_unrecorded(owner, InvalidInput, lambda wrong=wrong: owner.credentials.update("other", metadata=wrong))

    def test_claims_have_at_most_8_entries(self, owner: Vault) -> None:
        claims = {f"key{i}": "é" * 500 for i in range(8)}
        owner.leases.create("other", claimed=claims)
        fails_unrecorded(owner, InvalidInput, lambda: owner.leases.create("other", claimed=claims | {"one-more": "x"}))

    def test_the_largest_entry_that_callers_can_make_fits(self, owner: Vault) -> None:
        names = [f"{i:03}{'*?' * 62}" for i in range(100)]
        owner.credentials.update("other", allow=[f"human:{name}" for name in names])
        owner.tokens.create(agent="a" * 128, credentials=names)
        text = '"' * 250 + "𝄞" * 250
        owner.credentials.update("other", allow=[])
        owner.leases.create("other", purpose=text, claimed={f"k{i}": text for i in range(8)})


def test_what_is_refused_for_its_role_is_recorded_without_what_was_sent(world: World, owner: Vault) -> None:
    agent = world.agent("ours", "*")
    trail = Trail(owner)
    with pytest.raises(NotAllowed):
        agent.credentials.create("brand-new", "api-key", "canary-0123456789", metadata={"note": "canary"})
    with pytest.raises(NotAllowed):
        agent.credentials.rotate("other", "canary-0123456789")
    with pytest.raises(NotAllowed):
        agent.tokens.create(human="canary@example.com", role="admin")
    assert "canary" not in as_text(trail.gained())

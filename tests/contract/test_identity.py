"""Rule 4: identity comes from the token, never from the request."""

import pytest

from tests.contract.checks import Trail, as_text, refused, told
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import NotAuthenticated, NotFound, VaultError
from vaultctl.domain.records import Identity, Role

CLAIMS = {"name": "root-agent", "sessionId": "cortex_sess_stolen", "type": "human", "email": "root@example.com"}


@pytest.fixture
def owner(world: World) -> Vault:
    owner = world.owner()
    owner.credentials.create("api", "api-key", "key-0123456789")
    return owner


def test_a_lease_carries_the_agent_and_session_of_its_token(world: World, owner: Vault) -> None:
    session = world.session(world.agent("ours", "*"), "cortex_sess_1")
    lease = session.leases.create("api", purpose="Deploying").lease
    assert lease.identity == Identity(type="agent", name="ours", session_id="cortex_sess_1", purpose="Deploying")


def test_a_lease_of_an_agents_own_token_has_no_session(world: World, owner: Vault) -> None:
    lease = world.agent("ours", "*").leases.create("api").lease
    assert lease.identity == Identity(type="agent", name="ours")


def test_a_human_acts_by_user_and_address(world: World, owner: Vault) -> None:
    lease = world.human("ada@example.com", "user").leases.create("api", purpose="Looking").lease
    identity = Identity(type="human", user_id="ada@example.com", email="ada@example.com", purpose="Looking")
    assert lease.identity == identity
    assert owner.audit_log.query(lease=lease.id)[0].identity == identity


def test_whoami_says_whom_the_token_stands_for(world: World, owner: Vault) -> None:
    agent = world.agent("ours", "*")
    assert agent.whoami().identity == Identity(type="agent", name="ours")
    assert agent.whoami().role is Role.USER
    session = world.session(agent, "cortex_sess_1").whoami()
    assert session.identity == Identity(type="agent", name="ours", session_id="cortex_sess_1")
    assert session.session is not None
    assert session.session.id == "cortex_sess_1"
    assert session.tenant == "my-org"
    assert owner.whoami().identity.type == "human"
    assert owner.whoami().token is None


def test_what_a_caller_claims_of_itself_is_kept_apart(world: World, owner: Vault) -> None:
    session = world.session(world.agent("ours", "*"), "cortex_sess_1")
    lease = session.leases.create("api", claimed=CLAIMS).lease
    assert lease.identity == Identity(type="agent", name="ours", session_id="cortex_sess_1")
    (entry,) = owner.audit_log.query(lease=lease.id)
    assert entry.identity == lease.identity
    assert entry.details["claimed"] == CLAIMS
    assert "root-agent" not in as_text(lease)


def test_what_a_refused_caller_claimed_is_kept_apart_too(world: World, owner: Vault) -> None:
    session = world.session(world.agent("ours", "*"), "cortex_sess_1")
    refusal = refused(owner, NotFound, lambda: session.leases.create("nope", purpose="Deploying", claimed=CLAIMS))
    assert refusal.entry.details["claimed"] == CLAIMS
    assert refusal.entry.identity == Identity(
        type="agent", name="ours", session_id="cortex_sess_1", purpose="Deploying"
    )


def test_what_a_client_claims_when_it_opens_a_session_is_kept_apart(world: World, owner: Vault) -> None:
    world.agent("ours", "*").sessions.open("mcp_sess_1", claimed=CLAIMS)
    (entry,) = owner.audit_log.query(events=["session.started"])
    assert entry.identity == Identity(type="agent", name="ours", session_id="mcp_sess_1")
    assert entry.details["claimed"] == CLAIMS


def test_claims_bring_an_entry_into_nobodys_trail(world: World, owner: Vault) -> None:
    session = world.session(world.agent("ours", "*"), "cortex_sess_1")
    session.leases.create("api", claimed=CLAIMS)
    session.leases.create("api", claimed={"agent": "root-agent"})
    assert owner.audit_log.query(agent="root-agent") == []
    assert owner.audit_log.query(session="cortex_sess_stolen") == []
    assert owner.audit_log.query({"identity.name": "root-agent"}) == []
    assert owner.audit_log.query({"identity.sessionId": "cortex_sess_stolen"}) == []
    assert owner.audit_log.query({"identity.email": "root@example.com"}) == []


def test_a_refused_session_id_is_only_claimed(world: World, owner: Vault) -> None:
    world.agent("other", "*").sessions.open("cortex_sess_theirs")
    trail = Trail(owner)
    with pytest.raises(VaultError):
        world.agent("ours", "*").sessions.open("cortex_sess_theirs")
    denial = trail.gained()[-1]
    assert denial.identity == Identity(type="agent", name="ours")
    assert denial.details["claimed"] == {"sessionId": "cortex_sess_theirs"}
    assert "ours" not in {entry.identity.name for entry in owner.audit_log.query(session="cortex_sess_theirs")}


def test_an_unknown_token_is_told_so_and_is_in_no_log(world: World, owner: Vault) -> None:
    token = owner.tokens.create(agent="ours")
    owner.tokens.rotate(token.token.id)
    trail = Trail(owner)
    with pytest.raises(NotAuthenticated):
        world.connect(token).whoami()
    assert trail.gained() == []


def test_a_mistyped_token_is_caught_before_the_vault_is_asked(world: World, owner: Vault) -> None:
    secret = owner.tokens.create(agent="ours").secret.reveal()
    trail = Trail(owner)
    swapped = secret[:20] + secret[21] + secret[20] + secret[22:]
    mistyped = secret[:20] + ("a" if secret[20] != "a" else "b") + secret[21:]
    for wrong in ("", "hello", secret[:-1], secret + "0", secret.upper(), mistyped, f" {secret}"):
        with pytest.raises(NotAuthenticated) as raised:
            world.connect(wrong).whoami()
        assert secret[20:40] not in told(raised.value)
    if swapped != secret:
        with pytest.raises(NotAuthenticated):
            world.connect(swapped).whoami()
    assert trail.gained() == []


def test_a_token_of_another_tenant_is_refused_like_an_unknown_one_and_recorded_at_home(
    world: World, owner: Vault
) -> None:
    token = owner.tokens.create(agent="ours", credentials=["*"])
    world.owner("other")
    dead = owner.tokens.create(agent="dead")
    owner.tokens.rotate(dead.token.id)
    with pytest.raises(NotAuthenticated) as unknown:
        world.connect(dead, tenant="other").whoami()
    for tenant in ("other", "not-there"):
        refusal = refused(owner, NotAuthenticated, lambda tenant=tenant: world.connect(token, tenant=tenant).whoami())
        assert refusal.rule == "tenant"
        assert told(refusal.error) == told(unknown.value)
    assert len(world.owner("other").audit_log.query()) == 1
    assert world.connect(token, tenant="my-org").whoami().tenant == "my-org"


def test_the_owner_of_the_vault_is_a_human_in_the_log(owner: Vault) -> None:
    created = owner.audit_log.query(events=["credential.created"])[0]
    assert (created.identity.type, created.identity.user_id) == ("human", "owner")

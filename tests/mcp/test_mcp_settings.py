"""Where the server's settings come from, which wins, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from vaultctl.client import contexts, logins
from vaultctl.client.location import Home, locate
from vaultctl.crypto.tokens import new_token_secret
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput, NotAuthenticated
from vaultctl.domain.secrets import Secret
from vaultctl.mcp.settings import FILE_NAME, Settings, lease_settings, load


def write(directory: Path, *, mode: int = 0o600, name: str = FILE_NAME, **content: Any) -> Path:
    path = directory / name
    path.write_text(json.dumps(content))
    path.chmod(mode)
    return path


def settings(directory: Path, *, config: Path | None = None, tenant: str | None = None, **variables: Any) -> Settings:
    return load(config=config, tenant=tenant, environment=variables, directory=directory)


def as_keywords(key: str, value: Any) -> dict[str, Any]:
    return {key: value}


def test_the_configuration_of_the_guide_is_understood(tmp_path: Path) -> None:
    write(tmp_path, tenant="my-org", defaultTTL="30m", maxTTL="4h", autoRenew=True, renewBeforeExpiry="5m")
    found = settings(tmp_path, VAULT_TOKEN="t")
    assert (found.tenant, found.default_ttl, found.max_ttl) == ("my-org", Duration.of(1800), Duration.of(14_400))
    assert (found.auto_renew, found.renew_before_expiry) == (True, Duration.of(300))


def test_without_a_file_the_environment_and_the_defaults_count(tmp_path: Path) -> None:
    found = settings(tmp_path, VAULT_TOKEN="t")
    assert (found.auto_renew, found.renew_before_expiry, found.log_level) == (False, Duration.of(300), "info")
    assert (found.tenant, found.default_ttl, found.max_ttl, found.agent_name, found.home) == (None,) * 5


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        tenant="file",
        token="file",
        defaultTTL="1m",
        maxTTL="1m",
        agentName="file",
        autoRenew=False,
        renewBeforeExpiry="1m",
        logLevel="error",
        home="/file",
    )
    found = settings(
        tmp_path,
        VAULT_TENANT="env",
        VAULT_TOKEN="env",
        VAULT_DEFAULT_TTL="2m",
        VAULT_MAX_TTL="3m",
        VAULT_AGENT_NAME="agent",
        VAULT_AUTO_RENEW="1",
        VAULT_RENEW_BEFORE_EXPIRY="4m",
        VAULT_LOG_LEVEL="DEBUG",
        VAULTCTL_HOME="/env",
        CORTEX_SESSION_ID="cortex_sess_1",
    )
    assert (found.tenant, found.token.reveal(), found.agent_name, found.home) == ("env", "env", "agent", "/env")
    assert [str(ttl) for ttl in (found.default_ttl, found.max_ttl, found.renew_before_expiry)] == ["2m", "3m", "4m"]
    assert (found.auto_renew, found.log_level, found.session_id) == (True, "debug", "cortex_sess_1")


def test_a_flag_overrides_the_environment(tmp_path: Path) -> None:
    assert settings(tmp_path, tenant="flag", VAULT_TENANT="env", VAULT_TOKEN="t").tenant == "flag"


def test_a_named_file_replaces_the_one_in_the_working_directory(tmp_path: Path) -> None:
    write(tmp_path, tenant="here", maxTTL="1h")
    named = write(tmp_path, name="named.json", tenant="named")
    found = settings(tmp_path, config=named, VAULT_TOKEN="t")
    assert (found.tenant, found.max_ttl) == ("named", None)


def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no absent\.json"):
        settings(tmp_path, config=tmp_path / "absent.json", VAULT_TOKEN="t")


def test_no_token_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotAuthenticated):
        settings(tmp_path)


def test_an_emptied_token_does_not_fall_back_to_the_file(tmp_path: Path) -> None:
    write(tmp_path, token="file")
    with pytest.raises(NotAuthenticated):
        settings(tmp_path, VAULT_TOKEN="")


def test_other_empty_variables_are_as_good_as_none(tmp_path: Path) -> None:
    write(tmp_path, tenant="file")
    found = settings(tmp_path, VAULT_TOKEN="t", VAULT_TENANT="", VAULT_AUTO_RENEW="", CORTEX_SESSION_ID="")
    assert (found.tenant, found.auto_renew, found.session_id) == ("file", False, None)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VAULT_TENANT", "Not A Tenant"),
        ("VAULT_AGENT_NAME", "Not An Agent"),
        ("VAULT_DEFAULT_TTL", "5x"),
        ("VAULT_MAX_TTL", "0s"),
        ("VAULT_RENEW_BEFORE_EXPIRY", "-1s"),
        ("VAULT_AUTO_RENEW", "perhaps"),
        ("VAULT_LOG_LEVEL", "loud"),
        ("VAULT_RESPONSE_FORMAT", "s3cret"),
        ("CORTEX_SESSION_ID", "sess_1"),
    ],
)
def test_a_malformed_variable_is_named_and_its_value_is_not(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        settings(tmp_path, VAULT_TOKEN="t", **as_keywords(variable, value))
    assert variable in refused.value.message
    assert value not in refused.value.message + refused.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tenant", "Not A Tenant"),
        ("tenant", 5),
        ("token", ["s3cret"]),
        ("defaultTTL", "5x"),
        ("maxTTL", 3600),
        ("autoRenew", "true"),
        ("autoRenew", 1),
        ("renewBeforeExpiry", "soon"),
        ("logLevel", "loud"),
        ("responseFormat", "s3cret"),
        ("home", 1),
    ],
)
def test_a_malformed_value_in_the_file_is_named_and_not_quoted(tmp_path: Path, key: str, value: Any) -> None:
    write(tmp_path, **as_keywords(key, value))
    variables: dict[str, Any] = {} if key in ("token", "home") else {"VAULT_TOKEN": "t"}
    with pytest.raises(InvalidInput) as refused:
        settings(tmp_path, **variables)
    assert key in refused.value.message
    assert "s3cret" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize("wanted", [None, "value", "reference"])
def test_how_credentials_are_delivered_is_said_in_the_file(tmp_path: Path, wanted: str | None) -> None:
    write(tmp_path, **({} if wanted is None else {"responseFormat": wanted}))
    assert settings(tmp_path, VAULT_TOKEN="t").response_format == (wanted or "value")


def test_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, maxTtl="4h")
    with pytest.raises(InvalidInput, match="maxTtl") as refused:
        settings(tmp_path, VAULT_TOKEN="t")
    assert "maxTTL" in refused.value.hint


def test_an_unknown_key_that_looks_like_a_secret_is_not_shown(tmp_path: Path) -> None:
    write(tmp_path, vault_token_0123="x")
    with pytest.raises(InvalidInput) as refused:
        settings(tmp_path, VAULT_TOKEN="t")
    assert "0123" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize("text", ["", "[]", '"s3cret', "\xff", '{"a":' * 50_000, "{} " * 40_000])
def test_a_file_that_is_no_json_object_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidInput, match="not a JSON object") as refused:
        settings(tmp_path, VAULT_TOKEN="t")
    assert "s3cret" not in str(refused.value)


def test_a_pipe_in_place_of_the_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    with pytest.raises(InvalidInput, match=FILE_NAME):
        settings(tmp_path, VAULT_TOKEN="t")


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(InvalidInput, match=FILE_NAME):
        settings(tmp_path, VAULT_TOKEN="t")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_with_a_token_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    write(tmp_path, token="s3cret", mode=mode)
    with pytest.raises(InvalidInput, match="token") as refused:
        settings(tmp_path)
    assert "chmod 600" in refused.value.hint
    assert "s3cret" not in str(refused.value)


def test_a_file_without_a_token_may_be_read_by_anyone(tmp_path: Path) -> None:
    write(tmp_path, tenant="my-org", mode=0o644)
    assert settings(tmp_path, VAULT_TOKEN="t").tenant == "my-org"


@pytest.mark.parametrize("key", ["home", "baseUrl"])
def test_a_file_in_the_working_directory_may_not_send_the_environments_token_anywhere(tmp_path: Path, key: str) -> None:
    write(tmp_path, **as_keywords(key, "/elsewhere"))
    with pytest.raises(InvalidInput, match=key):
        settings(tmp_path, VAULT_TOKEN="t")


def test_an_environment_that_names_the_home_overrides_such_a_file(tmp_path: Path) -> None:
    write(tmp_path, home="/elsewhere")
    assert settings(tmp_path, VAULT_TOKEN="t", VAULTCTL_HOME="/mine").home == "/mine"


def test_a_file_may_say_where_its_own_token_goes(tmp_path: Path) -> None:
    write(tmp_path, home="/elsewhere", token="t")
    assert settings(tmp_path).home == "/elsewhere"


def test_a_named_file_may_say_where_the_environments_token_goes(tmp_path: Path) -> None:
    named = write(tmp_path, name="named.json", home="/elsewhere")
    assert settings(tmp_path, config=named, VAULT_TOKEN="t").home == "/elsewhere"


class TestWhichVault:
    """Flag, environment, the server's own file, the context in use, the vault of this machine."""

    @pytest.fixture
    def home(self, tmp_path: Path) -> Home:
        """A home in which the context prod is in use."""
        home = locate(tmp_path / "home")
        contexts.add(home, "prod", "https://prod.example.com", "prod-org", use=True)
        contexts.add(home, "staging", "https://staging.example.com")
        return home

    def test_without_anything_it_is_that_of_this_machine(self, tmp_path: Path) -> None:
        assert settings(tmp_path, VAULT_TOKEN="t").base_url is None

    def test_the_environment_names_a_server(self, tmp_path: Path) -> None:
        found = settings(tmp_path, VAULT_TOKEN="t", VAULT_BASE_URL="HTTPS://Vault.example/")
        assert (found.base_url, found.tenant) == ("https://vault.example", None)
        assert settings(tmp_path, VAULT_TOKEN="t", VAULT_BASE_URL="").base_url is None

    def test_the_context_in_use_names_a_server_and_its_tenant(self, tmp_path: Path, home: Home) -> None:
        found = settings(tmp_path, VAULT_TOKEN="t", VAULTCTL_HOME=str(home.data))
        assert (found.base_url, found.tenant) == ("https://prod.example.com", "prod-org")
        found = settings(tmp_path, VAULT_TOKEN="t", VAULTCTL_HOME=str(home.data), VAULT_TENANT="mine")
        assert found.tenant == "mine"

    def test_a_flag_outweighs_environment_and_file(self, tmp_path: Path, home: Home) -> None:
        named = write(tmp_path, name="named.json", baseUrl="https://file.example")
        variables = {"VAULT_TOKEN": "t", "VAULTCTL_HOME": str(home.data), "VAULT_BASE_URL": "https://env.example"}

        def base_url(**flags: str) -> str | None:
            return load(config=named, environment=variables, directory=tmp_path, **flags).base_url  # type: ignore[arg-type]

        assert base_url() == "https://env.example"
        assert base_url(base_url="https://flag.example") == "https://flag.example"
        assert base_url(context="staging") == "https://staging.example.com"
        assert base_url(context="embedded") is None
        with pytest.raises(InvalidInput, match="VAULT_BASE_URL"):
            base_url(database="/srv/vault.db")

    def test_a_file_for_this_server_outweighs_the_context_in_use(self, tmp_path: Path, home: Home) -> None:
        named = write(tmp_path, name="named.json", baseUrl="https://file.example/")
        variables = {"VAULT_TOKEN": "t", "VAULTCTL_HOME": str(home.data)}
        assert settings(tmp_path, config=named, **variables).base_url == "https://file.example"

    def test_a_database_outweighs_file_and_context(self, tmp_path: Path, home: Home) -> None:
        named = write(tmp_path, name="named.json", baseUrl="https://file.example")
        found = load(
            config=named,
            database="/srv/vault.db",
            environment={"VAULT_TOKEN": "t", "VAULTCTL_HOME": str(home.data)},
            directory=tmp_path,
        )
        assert (found.base_url, found.database) == (None, "/srv/vault.db")
        variables = {"VAULT_TOKEN": "t", "VAULTCTL_HOME": str(home.data), "VAULT_DATABASE_URL": "/srv/vault.db"}
        assert settings(tmp_path, config=named, **variables).base_url is None

    @pytest.mark.parametrize("url", ["http://vault.example", "https://ann:s3cr3t@vault.example", "vault.example"])
    def test_one_that_a_token_must_not_go_to_is_refused_and_not_quoted(self, tmp_path: Path, url: str) -> None:
        named = write(tmp_path, name="named.json", baseUrl=url)
        for variables in ({"VAULT_TOKEN": "t"}, {"VAULT_TOKEN": "t", "VAULT_BASE_URL": url}):
            with pytest.raises(InvalidInput, match=r"baseUrl|VAULT_BASE_URL") as refused:
                settings(tmp_path, config=named, **variables)
            assert "s3cr3t" not in f"{refused.value} {refused.value.hint}"


class TestTheTokenForAServer:
    """No token goes to a base URL from a less trusted source."""

    URL = "https://vault.example"

    @pytest.fixture
    def token(self) -> Secret:
        return new_token_secret(os.urandom)

    @pytest.fixture
    def home(self, tmp_path: Path, token: Secret, monkeypatch: pytest.MonkeyPatch) -> str:
        """A home with a login at the server, kept in a file."""
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        logins.keep(self.URL, None, token, home=tmp_path / "home")
        return str(tmp_path / "home")

    def test_the_login_serves_where_no_token_is_named(self, tmp_path: Path, home: str, token: Secret) -> None:
        found = settings(tmp_path, VAULT_BASE_URL=self.URL, VAULTCTL_HOME=home)
        assert (found.base_url, found.token) == (self.URL, token)

    def test_a_token_of_the_environment_outweighs_the_login(self, tmp_path: Path, home: str) -> None:
        found = settings(tmp_path, VAULT_BASE_URL=self.URL, VAULTCTL_HOME=home, VAULT_TOKEN="t")
        assert found.token == Secret("t")

    @pytest.mark.parametrize("variables", [{"VAULT_TOKEN": ""}, {}])
    def test_an_empty_token_is_no_way_back_to_the_login(
        self, tmp_path: Path, home: str, variables: dict[str, str]
    ) -> None:
        write(tmp_path, token="")
        with pytest.raises(NotAuthenticated):
            settings(tmp_path, VAULT_BASE_URL=self.URL, VAULTCTL_HOME=home, **variables)

    def test_the_vault_of_this_machine_gets_no_login(self, tmp_path: Path, home: str) -> None:
        with pytest.raises(NotAuthenticated):
            settings(tmp_path, VAULTCTL_HOME=home)

    def test_a_file_in_the_working_directory_gets_the_login_for_exactly_the_server_that_it_names(
        self, tmp_path: Path, home: str, token: Secret
    ) -> None:
        write(tmp_path, baseUrl=self.URL)
        assert settings(tmp_path, VAULTCTL_HOME=home).token == token
        for other in (f"{self.URL}:8200", f"{self.URL}/x", "https://evil.example"):
            write(tmp_path, baseUrl=other)
            with pytest.raises(NotAuthenticated):
                settings(tmp_path, VAULTCTL_HOME=home)

    def test_a_file_in_the_working_directory_may_say_where_its_own_token_goes(self, tmp_path: Path, home: str) -> None:
        write(tmp_path, baseUrl="https://elsewhere.example", token="own")
        found = settings(tmp_path, VAULTCTL_HOME=home)
        assert (found.base_url, found.token) == ("https://elsewhere.example", Secret("own"))

    @pytest.mark.parametrize("key", ["baseUrl", "home"])
    def test_a_token_of_the_environment_does_not_go_where_such_a_file_says(
        self, tmp_path: Path, key: str, home: str
    ) -> None:
        write(tmp_path, **as_keywords(key, "https://evil.example"))
        with pytest.raises(InvalidInput, match=key):
            settings(tmp_path, VAULT_TOKEN="t")

    def test_what_such_a_file_says_does_not_matter_where_a_flag_or_the_environment_says_it(
        self, tmp_path: Path, home: str
    ) -> None:
        write(tmp_path, baseUrl="https://evil.example")
        assert settings(tmp_path, VAULT_TOKEN="t", VAULT_BASE_URL=self.URL).base_url == self.URL
        found = load(base_url=self.URL, environment={"VAULT_TOKEN": "t"}, directory=tmp_path)
        assert found.base_url == self.URL


def test_a_token_does_not_show_in_the_settings(tmp_path: Path) -> None:
    assert "s3cret" not in repr(settings(tmp_path, VAULT_TOKEN="s3cret"))


def test_a_server_for_many_has_no_token_of_its_own_wherever_one_is(tmp_path: Path) -> None:
    write(tmp_path, token="file", defaultTTL="10m")
    found = load(for_many=True, environment={"VAULT_TOKEN": "env"}, directory=tmp_path)
    assert (found.token, found.default_ttl) == (Secret(""), Duration.of(600))


@pytest.mark.parametrize("key", ["baseUrl", "home"])
def test_tokens_of_clients_are_not_sent_where_a_file_in_the_working_directory_says(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, token="file", **as_keywords(key, "https://vault.example.com"))
    with pytest.raises(InvalidInput, match=f"sets {key}"):
        load(for_many=True, environment={}, directory=tmp_path)
    assert load(for_many=True, config=path, environment={}, directory=tmp_path)


def test_a_server_of_a_vault_takes_what_is_about_leases_from_the_environment() -> None:
    variables = {"VAULT_DEFAULT_TTL": "2m", "VAULT_MAX_TTL": "3m", "VAULT_AUTO_RENEW": "1", "VAULT_TOKEN": "t"}
    found = lease_settings(variables | {"VAULT_RENEW_BEFORE_EXPIRY": ""})
    assert (found.default_ttl, found.max_ttl, found.auto_renew) == (Duration.of(120), Duration.of(180), True)
    assert (found.token, found.renew_before_expiry) == (Secret(""), Duration.of(300))
    with pytest.raises(InvalidInput, match="VAULT_AUTO_RENEW"):
        lease_settings({"VAULT_AUTO_RENEW": "perhaps"})
    with pytest.raises(InvalidInput, match="VAULT_MAX_TTL"):
        lease_settings({"VAULT_MAX_TTL": "soon"})
    assert found.response_format == "value"
    assert lease_settings({"VAULT_RESPONSE_FORMAT": "reference"}).response_format == "reference"
    with pytest.raises(InvalidInput, match="VAULT_RESPONSE_FORMAT"):
        lease_settings({"VAULT_RESPONSE_FORMAT": "both"})

"""What of a database's URL may be shown, and what may stand on a command line."""

from pathlib import Path

import pytest

from vaultctl.client.database import Database, named_database, refuse_password
from vaultctl.client.location import Home
from vaultctl.domain.errors import InvalidInput

HOME = Home(Path("/home"), Path("/home"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h/db", "postgresql://u@h/db"),
        ("postgres://u:hun#ter2@h/db", "postgres://u@h/db"),
        ("postgresql://u:hun?ter2@h/db", "postgresql://u@h/db"),
        ("postgresql://:hunter2@h", "postgresql://@h"),
        ("postgresql://h/db?password=hunter2", "postgresql://h/db"),
        ("postgresql://h/db?pass%77ord=hunter2&sslmode=require", "postgresql://h/db?sslmode=require"),
        (
            "postgresql://u:hunter2@h1:1,[::1]:2/db?options=-c%20search_path%3Dx&password=hunter2",
            "postgresql://u@h1:1,[::1]:2/db?options=-c%20search_path%3Dx",
        ),
    ],
)
def test_a_password_is_neither_shown_nor_taken_from_a_command_line(url: str, shown: str) -> None:
    assert str(named_database(HOME, url, None, {})) == shown
    assert "hun" not in repr(Database(url=url))
    with pytest.raises(InvalidInput, match="password") as refused:
        refuse_password(url)
    assert "hun" not in f"{refused.value.message}{refused.value.hint}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h/db",
        "postgresql:///db?host=/run/postgresql&application_name=a@b",
        "postgresql://h1:5432,h2:5433/db?target_session_attrs=read-write",
        "postgresql://[::1]:5432/db",
    ],
)
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert str(Database(url=url)) == refuse_password(url) == url


@pytest.mark.parametrize("url", ["postgresql://u:hun/ter2@h/db", "postgresql://u:hunter2@h:port/db"])
def test_a_url_that_can_not_be_read_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        named_database(HOME, url, None, {})
    assert "hun" not in f"{refused.value.message}{refused.value.hint}{Database(url=url)}"

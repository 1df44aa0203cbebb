"""Names and globs: taken exactly as written, or refused."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.names import check_email, check_glob, check_name, check_session_id, matches

GLOBS = st.text("ab.*?", max_size=8)
NAMES = st.text("ab.", max_size=10)


def oracle(glob: str, name: str) -> bool:
    """What a glob means, by a regular expression that is safe for texts this short."""
    pattern = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in glob)
    return re.fullmatch(pattern, name, re.DOTALL) is not None


@given(GLOBS, NAMES)
def test_a_glob_matches_like_its_regular_expression(glob: str, name: str) -> None:
    assert matches(glob, name) == oracle(glob, name)


@given(st.text(max_size=12))
def test_a_text_without_stars_matches_itself_and_a_star_matches_everything(text: str) -> None:
    assert matches(text.replace("*", "x"), text.replace("*", "x"))
    assert matches("*", text)
    assert matches(text, text)


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("deploy-*", "deploy-key", True),
        ("deploy-*", "deploy-", True),
        ("deploy-*", "my-deploy-key", False),
        ("deploy-?", "deploy-", False),
        ("deploy", "deploy-key", False),
        ("DEPLOY-*", "deploy-key", False),
        ("[a-z]", "a", False),
        (".*", "anything", False),
        ("*@example.com", "ada@example.com", True),
        ("*@example.com", "ada@example.com.evil.org", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_globs_match_whole_names_and_know_two_signs(glob: str, name: str, expected: bool) -> None:
    assert matches(glob, name) is expected


def test_a_hostile_glob_takes_no_time() -> None:
    assert not matches("*a" * 60 + "b", "a" * 128)
    assert matches("*" * 128, "a" * 128)


@pytest.mark.parametrize("name", ["a", "0", "my-org", "a.b_c-d", "a..b", "x" * 128, "7z.", "a-"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert check_name(name, "credential") == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "A", "Api", "-a", ".", "..", "_a", " a", "a ", "a\n", "a b", "a/b", "a\\b", "a:b", "a*", "é", "x" * 129),
        *("a\0", "a\u200b", "\uff41", "\u017f", "\u0130", "\u212a"),
    ],
)
def test_anything_else_is_no_name_and_is_neither_normalised_nor_quoted(name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_name(name, "credential")
    assert len(name) < 5 or name not in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize("email", ["ada@example.com", "Ada.L+x_1%2-@a-b.example", "a@b"])
def test_an_address_is_taken_as_it_is(email: str) -> None:
    assert check_email(email) == email


@pytest.mark.parametrize("email", ["", "ada", "@b", "a@", "a b@c", "a@b c", "a@b\n", "a@b@c", "é@b", "a*@b", '"a"@b'])
def test_anything_else_is_no_address(email: str) -> None:
    with pytest.raises(InvalidInput):
        check_email(email)


@pytest.mark.parametrize("id", ["cortex_sess_abc123", "mcp_sess_x", "mcp_sess_" + "-_Az09" * 10])
def test_a_session_id_is_taken_as_it_is(id: str) -> None:
    assert check_session_id(id) == id


@pytest.mark.parametrize(
    "id", ["", "abc", "sess_1", "cortex_sess_", "cortex_sess_a.b", "x cortex_sess_1", "mcp_sess_1\n"]
)
def test_anything_else_is_no_session_id(id: str) -> None:
    with pytest.raises(InvalidInput):
        check_session_id(id)


@pytest.mark.parametrize(
    ("what", "glob"),
    [("credential", "*"), ("credential", "deploy-*"), ("agent", "?x"), ("human", "*@example.com"), ("human", "Ada@*")],
)
def test_a_glob_is_taken_as_it_is(what: str, glob: str) -> None:
    assert check_glob(glob, what) == glob


@pytest.mark.parametrize(
    ("what", "glob"),
    [("credential", glob) for glob in ("", "A*", "-*", "a b", "a/*", "[a]", "*\n", "x" * 129, "a@b")]
    + [("agent", "a@b"), ("human", ""), ("human", "a b"), ("human", "é*"), ("human", "x" * 255), ("human", "a\n")],
)
def test_a_glob_that_could_match_no_name_is_refused(what: str, glob: str) -> None:
    with pytest.raises(InvalidInput):
        check_glob(glob, what)


LEGAL: dict[str, Callable[[str], str]] = {
    "credential": lambda text: check_name(text, "credential"),
    "human": check_email,
}


@given(what=st.sampled_from(sorted(LEGAL)), text=st.text("ab1.-@", min_size=1, max_size=10))
def test_every_legal_name_is_a_glob_that_matches_it(what: str, text: str) -> None:
    try:
        LEGAL[what](text)
    except InvalidInput:
        return
    assert matches(check_glob(text, what), text)

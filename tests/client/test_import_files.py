"""What other programs keep is read as they mean it; what can't be read is said without quoting a value."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.values import certificate, ssh_key
from vaultctl.client.import_files import guess_type, read_secrets
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import CredentialType as Type

SECRET = "s3cr3t-value-that-is-never-quoted"


def values_of(text: str, **options: Any) -> dict[str, str]:
    found, _ = read_secrets(text.encode(), **options)
    return {it.name: it.value.reveal() for it in found}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=plain", "plain"),
        ("K=", None),
        ("  export K = spaced  ", "spaced"),
        ("K=with # a comment", "with"),
        ("K=with#no-comment", "with#no-comment"),
        ("K='single $x \\n # kept'", "single $x \\n # kept"),
        ('K="double \\"quoted\\"\\nline"  # comment', 'double "quoted"\nline'),
        ('K="two\nlines"', "two\nlines"),
        ("K=$NOT_EXPANDED", "$NOT_EXPANDED"),
        ("K=a=b==", "a=b=="),
        ("K=it's", "it's"),
        ("K=windows\r", "windows"),
        ("\ufeffK=after-a-mark", "after-a-mark"),
    ],
)
def test_a_line_of_a_dotenv_file_is_read_as_its_programs_do(line: str, value: str | None) -> None:
    text = f"# a comment\n\n{line}\nLAST=one".removeprefix("") if not line.startswith("\ufeff") else f"{line}\nLAST=one"
    expected = {"last": "one"} | ({} if value is None else {"k": value})
    assert values_of(text) == expected


@pytest.mark.parametrize("line", [f"K='{SECRET}", f'K="{SECRET}', f"K='{SECRET}' {SECRET}", SECRET, f"={SECRET}"])
def test_a_line_that_is_none_is_told_by_its_number(line: str) -> None:
    with pytest.raises(InvalidInput, match=r"Line 2 ") as raised:
        values_of(f"A=b\n{line}\n")
    assert SECRET not in raised.value.message + raised.value.hint


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}[A-Z0-9]", fullmatch=True), st.text(max_size=40)))
def test_what_is_quoted_comes_back_whole(content: dict[str, str]) -> None:
    content = {key: value for key, value in content.items() if "__" not in key}
    escaped = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in content.items()}
    text = "".join(f'{key}="{value}"\n' for key, value in escaped.items())
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    if not content:
        return
    expected = {key.lower().replace("_", "-"): value for key, value in content.items() if value}
    assert values_of(text) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"API_KEY": "a", "db-url": "b"}, {"api-key": "a", "db-url": "b"}),
        (
            {"request_id": "x", "data": {"data": {"api_key": "a"}, "metadata": {"version": 2}}},
            {"api-key": "a"},
        ),
        ({"request_id": "x", "lease_id": "", "data": {"api_key": "a"}}, {"api-key": "a"}),
        ([{"key": "API_KEY", "value": "a", "type": "shared"}, {"key": "B", "value": "b"}], {"api-key": "a", "b": "b"}),
        (
            {
                "title": "Shop",
                "fields": [
                    {"type": "STRING", "label": "username", "value": "me"},
                    {"type": "CONCEALED", "label": "password", "value": "a"},
                ],
            },
            {"shop-password": "a"},
        ),
    ],
    ids=["object, Doppler", "HashiCorp KV 2", "HashiCorp KV 1", "Infisical", "1Password"],
)
def test_exports_are_recognised(content: Any, expected: dict[str, str]) -> None:
    assert values_of(json.dumps(content)) == expected


@pytest.mark.parametrize("content", [{"a": {"b": SECRET}}, {"a": 1}, [SECRET], [[SECRET]], {}, [], "{", "[" * 60_000])
def test_json_that_is_no_export_is_refused_without_a_quotation(content: Any) -> None:
    with pytest.raises(InvalidInput) as raised:
        values_of(content if isinstance(content, str) else json.dumps(content))
    assert SECRET not in raised.value.message + raised.value.hint


def test_names_that_collide_and_keys_without_a_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="API_KEY and api-key would both be 'x-api-key'"):
        values_of("API_KEY=a\napi-key=b", prefix="x-")
    with pytest.raises(InvalidInput, match="second time"):
        values_of("A=a\nA=b")
    with pytest.raises(InvalidInput, match="No name") as raised:
        values_of(json.dumps({f"!{SECRET}": "a"}))
    assert SECRET not in raised.value.message
    assert values_of("_A_B_=x", prefix="shop.") == {"shop.a-b": "x"}


def test_a_file_that_is_no_text_or_has_nothing_in_it_says_so() -> None:
    for data in (b"\xff\xfe", b"", b"# nothing\n"):
        with pytest.raises(InvalidInput):
            read_secrets(data)
    found, empty = read_secrets(b"A=\nB=x")
    assert ([it.name for it in found], empty) == (["b"], 1)
    assert "x" not in repr(found[0].value)


@pytest.mark.parametrize(
    ("name", "value", "type"),
    [
        ("deploy", ssh_key(), Type.SSH_KEY),
        ("web", certificate(), Type.TLS_CERTIFICATE),
        ("database", "postgresql://u:p@db.example.com/orders", Type.DATABASE_URL),
        ("homepage", "https://example.com/", Type.GENERIC_SECRET),
        ("google", '{"access_token": "abcdefgh", "token_type": "Bearer"}', Type.OAUTH_TOKEN),
        ("settings", '{"a": "b"}', Type.GENERIC_SECRET),
        ("shopify-api-key", "shpat_0123456789", Type.API_KEY),
        ("github-token", "ghp_0123456789", Type.API_KEY),
        ("version-key", "1.2.3", Type.API_KEY),
        ("api-key", "with spaces in it", Type.GENERIC_SECRET),
        ("password", "whatever", Type.GENERIC_SECRET),
    ],
)
def test_the_type_is_what_the_value_looks_like(name: str, value: str, type: Type) -> None:
    assert guess_type(name, value) is type

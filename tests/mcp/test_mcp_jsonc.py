"""Files of other programs: a member is put in and taken out, and every other byte stays."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultctl.mcp.jsonc import Malformed, parse, put_in, take_out, undo

ENTRY = {"command": "/usr/bin/vaultctl", "args": ["mcp", "serve", "--profile", "p"]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{\n  "mcpServers": {\n    "a": {}\n  }\n}\n',
            '{\n  "mcpServers": {\n    "a": {},\n    "vault": {\n      "k": 1\n    }\n  }\n}\n',
        ),
        ('{"mcpServers": {"a": {}}}', '{"mcpServers": {"a": {}, "vault": {"k": 1}}}'),
        ('{"mcpServers": {"a": {},}}', '{"mcpServers": {"a": {}, "vault": {"k": 1},}}'),
        (
            '{\n\t"theme": "dark", // mine\n\t"mcpServers": {\n\t}\n}',
            '{\n\t"theme": "dark", // mine\n\t"mcpServers": {\n\t\t"vault": {\n\t\t\t"k": 1\n\t\t}\n\t}\n}',
        ),
        (
            '{\r\n    "theme": "dark" // mine\r\n}\r\n',
            '{\r\n    "theme": "dark", // mine\r\n    "mcpServers": {\r\n        "vault": {\r\n            "k": 1\r\n'
            "        }\r\n    }\r\n}\r\n",
        ),
        (
            '\ufeff{\n  "mcpServers": {\n    "a": {}, /* last */\n    // "b": {}\n  },\n}\n',
            '\ufeff{\n  "mcpServers": {\n    "a": {}, /* last */\n    "vault": {\n      "k": 1\n    },\n'
            '    // "b": {}\n  },\n}\n',
        ),
        ("{}", '{\n  "mcpServers": {\n    "vault": {\n      "k": 1\n    }\n  }\n}'),
        ("", '{\n  "mcpServers": {\n    "vault": {\n      "k": 1\n    }\n  }\n}\n'),
        (
            '{\n  "mcpServers": {} // none yet\n}\n',
            '{\n  "mcpServers": {\n    "vault": {\n      "k": 1\n    }\n  } // none yet\n}\n',
        ),
        (
            '{\n  "mcpServers": {\n    // none yet\n  }\n}\n',
            '{\n  "mcpServers": {\n    // none yet\n    "vault": {\n      "k": 1\n    }\n  }\n}\n',
        ),
    ],
)
def test_a_member_is_put_in_as_its_neighbours_are_written(before: str, after: str) -> None:
    edited = put_in(before, "mcpServers", "vault", {"k": 1})
    assert edited.text == after
    assert undo(edited.text, edited.insertions) == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"s": {"a": 1, "vault": {}, "b": 2}}', '{"s": {"a": 1, "b": 2}}'),
        ('{"s": {"vault": {}, "b": 2}}', '{"s": {"b": 2}}'),
        ('{"s": {"a": 1, "vault": {}}}', '{"s": {"a": 1}}'),
        ('{"s": {"a": 1, "vault": {},}}', '{"s": {"a": 1,}}'),
        ('{"s": {"vault": {}}}', '{"s": {}}'),
        (
            '{\n  "s": {\n    "vault": {\n      "k": 1\n    },\n    // of b\n    "b": 2\n  }\n}',
            '{\n  "s": {\n    // of b\n    "b": 2\n  }\n}',
        ),
        ('{\n  "s": {\n    "a": 1, // of a\n    "vault": {}\n  }\n}', '{\n  "s": {\n    "a": 1 // of a\n  }\n}'),
        ('{\n  "s": {\n    "vault": {}\n  }\n}', '{\n  "s": {}\n}'),
        ('{\n  "s": {\n    // keep\n    "vault": {}\n  }\n}', '{\n  "s": {\n    // keep\n  }\n}'),
        ('{"other": 1}', '{"other": 1}'),
    ],
)
def test_a_member_is_taken_out_with_the_lines_that_are_its_own(before: str, after: str) -> None:
    assert take_out(before, "s", "vault", with_container=False) == after


def test_a_container_goes_if_nothing_is_left_in_it() -> None:
    text = '{\n  "a": 1,\n  "s": {\n    "vault": {}\n  }\n}\n'
    assert take_out(text, "s", "vault", with_container=True) == '{\n  "a": 1\n}\n'
    kept = '{\n  "s": {\n    // mine\n    "vault": {}\n  }\n}\n'
    assert "// mine" in take_out(kept, "s", "vault", with_container=True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", 1),
        ('{"a": 1 "b": 2}', 1),
        ('{\n"a": 1,\n"b": tru\n}', 3),
        ("{'a': 1}", 1),
        ('{"a": 01}', 1),
        ('{"a": "\n"}', 1),
        ("{/* }", 1),
        ("{} {}", 1),
        ("[,]", 1),
        ('{"a":}', 1),
        ("[" * 100_000, 1),
        ("\x00", 1),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(Malformed) as refused:
        put_in(text, "mcpServers", "vault", ENTRY)
    assert refused.value.line == line


@pytest.mark.parametrize("text", ["[]", '"text"', '{"mcpServers": []}', '{"mcpServers": null}'])
def test_what_has_no_place_for_a_member_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        put_in(text, "mcpServers", "vault", ENTRY)


def test_a_member_of_that_name_is_not_put_in_twice() -> None:
    with pytest.raises(KeyError):
        put_in('{"mcpServers": {"vault": 1}}', "mcpServers", "vault", ENTRY)


SPACE = st.lists(st.sampled_from(["", " ", "\n", "\n  ", "\r\n\t", '// c, "{\n', "/* } */", "/**/"]), max_size=2).map(
    "".join
)
NAMES = st.sampled_from(["mcpServers", "servers", "a", "b\\u0041", "vault ", "ü", "//", "{"])


@st.composite
def jsonc(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON with comments and commas wherever they may be."""
    kind = draw(st.sampled_from(["plain", "array", "object"] if depth else ["plain"]))
    if kind == "plain":
        return draw(st.sampled_from(["1", "-0.5e+3", '"x"', '"}, //"', '"\\""', "true", "null"]))
    opening, closing = "[]" if kind == "array" else "{}"
    parts = [opening, draw(SPACE)]
    count = draw(st.integers(0, 3))
    for number in range(count):
        if kind == "object":
            parts += [f'"{draw(NAMES)}"', draw(SPACE), ":", draw(SPACE)]
        parts += [draw(jsonc(depth - 1)), draw(SPACE)]  # type: ignore[call-arg]
        if number + 1 < count or draw(st.booleans()):
            parts += [",", draw(SPACE)]
    return "".join([*parts, closing])


@st.composite
def files(draw: st.DrawFn) -> str:
    """A client's file: an object, or nothing yet."""
    servers = draw(st.none() | jsonc(2).filter(lambda text: text.startswith("{")))  # type: ignore[call-arg]
    root = draw(jsonc(2).filter(lambda text: text.startswith("{") and '"mcpServers"' not in text))  # type: ignore[call-arg]
    if servers is not None:
        separator = "" if parse(root).members == () else ","
        root = root[0] + f'"mcpServers":{servers}{separator}' + root[1:]
    return draw(st.sampled_from(["", "\ufeff"])) + draw(SPACE) + root + draw(SPACE)


@settings(max_examples=60)
@given(files() | st.sampled_from(["", "\n", "\ufeff", " \r\n"]))
def test_any_file_has_the_member_then_and_is_as_it_was_afterwards(text: str) -> None:
    before: dict[str, Any] = parse(text).plain if text.strip("\ufeff \r\n") else {}
    edited = put_in(text, "mcpServers", "vault", ENTRY)
    expected = before | {"mcpServers": before.get("mcpServers", {}) | {"vault": ENTRY}}
    assert parse(edited.text).plain == expected
    assert undo(edited.text, edited.insertions) == text


@settings(max_examples=60)
@given(files())
def test_a_member_is_taken_out_of_any_file_and_nothing_else_is(text: str) -> None:
    before = parse(text).plain
    edited = put_in(text, "mcpServers", "vault", ENTRY)
    # As if somebody had edited the file in between, so that it can't be undone letter by letter.
    touched = edited.text + "// edited"
    rest = take_out(touched, "mcpServers", "vault", with_container=edited.made_container)
    assert parse(rest).plain == before
    assert rest.endswith("// edited")
    assert [part for part in ("// c,", "/* } */") if text.count(part) != rest.count(part)] == []


@given(
    st.recursive(
        st.none() | st.integers(-9, 9) | st.text(max_size=4),
        lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ).filter(lambda value: isinstance(value, dict)),
    st.sampled_from([None, 2, "\t"]),
)
def test_what_a_program_wrote_is_as_it_was_even_if_other_parts_were_edited(value: Any, indent: Any) -> None:
    text = json.dumps(value, indent=indent)
    if "mcpServers" in value:
        return
    edited = put_in(text, "mcpServers", "vault", ENTRY)
    assert take_out(edited.text, "mcpServers", "vault", with_container=True) == text

"""Edits JSON files that people write: one member is put in or taken out, every other byte stays as it is.

Comments and commas before a closing bracket are understood (as VS Code and others read them) and left alone. A file
is never parsed and written anew, which would lose its comments, its order and its form. Pure: texts in, texts out.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_DEEPEST = 200
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<comment>//[^\r\n]*|/\*.*?\*/)
    |(?P<punctuation>[{}\[\]:,])
    |(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
    |(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![0-9A-Za-z_.])
    |(?P<word>true|false|null)(?![0-9A-Za-z_])""",
    re.VERBOSE | re.DOTALL,
)
_REST_OF_LINE = re.compile(r"[ \t]*(?:/\*(?:[^\r\n*]|\*(?!/))*\*/[ \t]*)*(?://[^\r\n]*)?(?=[\r\n])")
_WORDS = {"true": True, "false": False, "null": None}


class Malformed(ValueError):
    """A text is no JSON, even with comments.

    Attributes:
        line: The line where that shows, counted from 1.
    """

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


class Insertion(NamedTuple):
    """What was put into a text.

    Attributes:
        offset: Where it begins in the new text.
        text: It.
    """

    offset: int
    text: str


class Edited(NamedTuple):
    """A text with a member put in.

    Attributes:
        text: The new text.
        insertions: What was put in, in the order of the text; taking it out again gives the text that was.
        made_container: Whether the object that holds the member was put in with it.
    """

    text: str
    insertions: tuple[Insertion, ...]
    made_container: bool


class Member(NamedTuple):
    """A member of an object.

    Attributes:
        name: Its name.
        start: Where the name begins.
        value: Its value.
        comma: Where the comma after it is; None if there is none.
    """

    name: str
    start: int
    value: "Node"
    comma: int | None


class Node(NamedTuple):
    """A value in a text.

    Attributes:
        start: Where it begins.
        end: Where it has ended.
        plain: It as Python has it; the last of several members of one name counts.
        members: Its members, if it is an object.
        content_end: For an object: where what is in it, comments included, has ended.
    """

    start: int
    end: int
    plain: Any
    members: tuple[Member, ...] | None = None
    content_end: int = 0

    def member(self, name: str) -> Member | None:
        """The member ``name``, if it is an object that has one."""
        return next((member for member in reversed(self.members or ()) if member.name == name), None)


def parse(text: str) -> Node:
    """The value that ``text`` is.

    Raises:
        Malformed: It is none.
    """
    parser = _Parser(text)
    parser.advance()
    node = parser.value(0)
    if parser.kind:
        parser.fail()
    return node


def is_blank(text: str) -> bool:
    """Whether there is nothing in ``text`` but spaces."""
    return not text.removeprefix("\ufeff").strip(" \t\r\n")


def put_in(text: str, container: str, name: str, value: Mapping[str, Any]) -> Edited:
    """Put the member ``name`` in at the end of the object ``container``, which is made if it is not there.

    A text that is blank becomes an object that has it.

    Raises:
        Malformed: The text is no JSON, or no object; or ``container`` is there and is none.
        KeyError: There is such a member already.
    """
    line_end = "\r\n" if "\r\n" in text else "\n"
    if is_blank(text):
        whole = json.dumps({container: {name: value}}, indent=2, ensure_ascii=False).replace("\n", line_end) + line_end
        return Edited(text + whole, (Insertion(len(text), whole),), made_container=True)
    root = parse(text)
    if root.members is None:
        raise Malformed(_line(text, root.start))
    held = root.member(container)
    if held is None:
        insertions = _insertions(text, root, container, {name: value}, _indentation(text, root), line_end)
    elif held.value.members is None:
        raise Malformed(_line(text, held.value.start))
    elif held.value.member(name):
        raise KeyError(name)
    else:
        insertions = _insertions(text, held.value, name, value, _indentation(text, root), line_end)
    for insertion in insertions:
        text = text[: insertion.offset] + insertion.text + text[insertion.offset :]
    return Edited(text, insertions, held is None)


def undo(text: str, insertions: Sequence[Insertion]) -> str:
    """The text that was, from the one that :func:`put_in` made of it."""
    for insertion in reversed(insertions):
        end = insertion.offset + len(insertion.text)
        text = text[: insertion.offset] + text[end:]
    return text


def take_out(text: str, container: str, name: str, *, with_container: bool) -> str:
    """Take the member ``name`` out of ``container``, with the lines that are its own; nothing if it is not there.

    Args:
        text: The text.
        container: The object that has it.
        name: The member's name.
        with_container: Take the container out too, if nothing is left in it.

    Raises:
        Malformed: The text is no JSON.
    """
    held = parse(text).member(container)
    if held is None or (member := held.value.member(name)) is None:
        return text
    text = _without(text, held.value, member)
    root = parse(text)
    held = root.member(container)
    if with_container and held is not None and held.value.content_end == held.value.start + 1:
        text = _without(text, root, held)
    return text


def _insertions(
    text: str, holder: Node, name: str, value: Mapping[str, Any], unit: str | None, line_end: str
) -> tuple[Insertion, ...]:
    """What has to be put in, each at its offset in the text that has those before it."""
    assert holder.members is not None  # noqa: S101  # as the caller saw
    last = holder.members[-1] if holder.members else None
    if last is not None and (unit is None or _margin(text, last.start) is None):  # on one line
        member = f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
        if last.comma is None:
            return (Insertion(last.value.end, f", {member}"),)
        return (Insertion(last.comma + 1, f" {member},"),)
    unit = unit or "  "
    outer = _margin_of_line(text, holder.start)
    margin = outer + unit if last is None else _margin(text, last.start) or ""
    shown = json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", f"\n{margin}")
    member = f"\n{margin}{json.dumps(name)}: {shown}"
    if last is None:
        at = holder.content_end
        if not re.search(r"[\r\n]", text[at : holder.end]):
            member += f"\n{outer}"
        return (Insertion(at, member.replace("\n", line_end)),)
    ended = last.value.end if last.comma is None else last.comma + 1
    rest = _REST_OF_LINE.match(text, ended)
    at = rest.end() if rest else ended
    member = member.replace("\n", line_end)
    if last.comma is not None:
        return (Insertion(at, f"{member},"),)
    if at == ended:
        return (Insertion(at, f",{member}"),)
    return (Insertion(ended, ","), Insertion(at + 1, member))


def _without(text: str, holder: Node, member: Member) -> str:
    """``text`` without ``member``, and without the comma that is one too many then."""
    assert holder.members is not None  # noqa: S101  # as the caller saw
    place = holder.members.index(member)
    start, end = member.start, member.value.end if member.comma is None else member.comma + 1
    margin = _margin(text, start)
    rest = re.compile(r"[ \t]*(\r\n|\n|\r)").match(text, end)
    if margin is not None and rest is not None:  # the lines are its own
        start, end = start - len(margin), rest.end()
        if (
            place == 0
            and len(holder.members) == 1
            and re.match(r"[ \t]*\}", text[end:])
            and _opens_line(text, holder, start)
        ):
            start, end = holder.start + 1, holder.end - 1  # as `{}`
    elif place + 1 < len(holder.members):
        end += len(text[end:]) - len(text[end:].lstrip(" \t"))
    elif place:
        start -= len(text[:start]) - len(text[:start].rstrip(" \t"))
    text = text[:start] + text[end:]
    before = holder.members[place - 1].comma if place else None
    if before is not None and place == len(holder.members) - 1 and member.comma is None:
        text = text[:before] + text[before + 1 :]
    return text


def _opens_line(text: str, holder: Node, start: int) -> bool:
    """Whether there is nothing between the beginning of ``holder`` and ``start`` but the end of its line."""
    return not text[holder.start + 1 : start].strip(" \t\r\n")


def _indentation(text: str, root: Node) -> str | None:
    """What a level is indented by; None if the text is on one line."""
    for member in root.members or ():
        margin = _margin(text, member.start)
        if margin:
            return margin.removeprefix(_margin_of_line(text, root.start)) or margin
    return None if root.members and "\n" not in text[root.start : root.end] else "  "


def _margin(text: str, at: int) -> str | None:
    """What stands before ``at`` on its line, if that is nothing but spaces."""
    begin = max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1
    before = text[begin:at].removeprefix("\ufeff")
    return None if before.strip(" \t") else before


def _margin_of_line(text: str, at: int) -> str:
    begin = max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1
    line = text[begin:at].removeprefix("\ufeff")
    return line[: len(line) - len(line.lstrip(" \t"))]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


class _Parser:
    """One token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 1 if text.startswith("\ufeff") else 0
        self.kind = ""
        self.start = self.end = self.ended = self._at

    def fail(self) -> None:
        raise Malformed(_line(self._text, self.start))

    def advance(self) -> None:
        """Go to the next token; ``ended`` is where what came before it, comments included, has ended."""
        self.ended = self.end
        while True:
            match = _TOKEN.match(self._text, self._at)
            self.start = self._at
            if match is None:
                if self._at < len(self._text):
                    self.fail()
                self.kind, self.end = "", self._at
                return
            self._at = match.end()
            if match.lastgroup == "comment":
                self.ended = match.end()
            elif match.lastgroup != "space":
                kind = str(match.lastgroup)
                self.kind, self.end = match[0] if kind == "punctuation" else kind, match.end()
                return

    def value(self, depth: int) -> Node:
        start, text = self.start, self._text[self.start : self.end]
        if depth > _DEEPEST:
            self.fail()
        if self.kind == "{":
            return self._object(depth)
        if self.kind == "[":
            return self._array(depth)
        if self.kind == "word":
            plain: Any = _WORDS[text]
        elif self.kind in ("string", "number"):
            plain = json.loads(text)
        else:
            self.fail()
        end = self.end
        self.advance()
        return Node(start, end, plain)

    def _object(self, depth: int) -> Node:
        start = self.start
        members: list[Member] = []
        self.advance()
        while self.kind != "}":
            if self.kind != "string" or (members and members[-1].comma is None):
                self.fail()
            name, at = json.loads(self._text[self.start : self.end]), self.start
            self.advance()
            if self.kind != ":":
                self.fail()
            self.advance()
            value = self.value(depth + 1)
            comma = None
            if self.kind == ",":
                comma = self.start
                self.advance()
            members.append(Member(name, at, value, comma))
        content_end, end = self.ended, self.end
        self.advance()
        return Node(start, end, {member.name: member.value.plain for member in members}, tuple(members), content_end)

    def _array(self, depth: int) -> Node:
        start = self.start
        items: list[Any] = []
        separated = True
        self.advance()
        while self.kind != "]":
            if not separated:
                self.fail()
            items.append(self.value(depth + 1).plain)
            separated = self.kind == ","
            if separated:
                self.advance()
        end = self.end
        self.advance()
        return Node(start, end, items)

"""Removes secrets from a stream of bytes, in whatever form a program would write them without malice.

There are many ways to encode and one to decode: the stream is read as it is, with URL-encoding and with JSON escapes
taken off, and in each reading the texts, their base64 (standard and URL-safe, wherever they begin in a group of three
bytes, wrapped or not) and their hex are looked for at once, by an Aho-Corasick automaton. So the time is linear in
the stream, whatever the secrets and whoever wrote it, and all that is held back is what may yet become a secret.

What base64 mixes with the byte before a secret (its first two or four bits) stays.
"""

import re
from array import array
from base64 import b64encode
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from vaultctl.domain.disclosure import ENCODED_FROM, JSON_SHORT, unescape_json

MARK = b"****"
"""What stands where a secret was."""
SHORTEST = 4
"""Characters of the shortest secret that is removed: fewer are in nearly everything."""

_WRAPPED_FROM = 32
"""Digits of the shortest line of wrapped base64 or hex."""
_LONGEST_GAP = 64
"""Line end and indentation between two lines of it."""
_LEAD = 3
"""Bytes by which the place where a secret may begin is found."""

_BASE64_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HEX_DIGITS = b"0123456789abcdef"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_SPACE = b" \t\r\n"

_Span = tuple[int, int]


class Scrubber:
    """Replaces each secret in a stream by ``****``; everything else passes as it is, byte for byte.

    Secrets of fewer than four characters are left alone, and those of fewer than six bytes are looked for as text
    only. Secrets that overlap become one mark. One scrubber is for one stream; :meth:`scrub` is for a whole text.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._searches = _searches(secrets)
        self._begin()

    def feed(self, data: bytes) -> bytes:
        """What may be let through once ``data`` has come."""
        self._held += data
        self._end += len(data)
        clear = self._end
        for reading in self._readings:
            clear = min(clear, reading.feed(data, self._spans))
        return self._let_through(clear)

    def flush(self) -> bytes:
        """What was held back, now that nothing more comes. The next :meth:`feed` begins another stream."""
        rest = self._let_through(self._end)
        self._begin()
        return rest

    def scrub(self, data: bytes) -> bytes:
        """The whole of ``data`` without the secrets. What :meth:`feed` holds is not touched."""
        other = Scrubber.__new__(Scrubber)
        other._searches = self._searches
        other._begin()
        return other.feed(data) + other.flush()

    def scrub_text(self, text: str) -> str:
        """The whole of ``text`` without the secrets."""
        data = text.encode("utf-8", "surrogatepass")
        return self.scrub(data).decode("utf-8", "surrogatepass")

    def _begin(self) -> None:
        self._readings = [_Reading(decoder, automata) for decoder, automata in self._searches]
        self._held = bytearray()
        self._start = self._end = self._covered = 0
        self._spans: list[_Span] = []

    def _let_through(self, clear: int) -> bytes:
        """Let go of what comes before the offset ``clear``, beyond which no secret has been decided on."""
        held, first = self._held, self._start
        done = max(first, self._covered)
        out = bytearray()
        self._spans.sort()
        waiting: list[_Span] = []
        for start, end in self._spans:
            if start >= clear:
                waiting.append((start, end))
            elif start < self._covered:
                self._covered = max(self._covered, end)
            else:
                out += held[done - first : start - first] + MARK
                self._covered = end
            done = max(done, self._covered)
        if done < clear:
            out += held[done - first : clear - first]
        del held[: clear - first]
        self._start, self._spans = clear, waiting
        return bytes(out)


class _Pattern(NamedTuple):
    """One form of one secret.

    Attributes:
        units: What is looked for.
        tail: What may follow and belongs to it, place by place: the digit that holds its last bits, and padding.
        first: What the first unit may have been written as, each text without escapes.
    """

    units: bytes
    tail: tuple[bytes, ...]
    first: tuple[str, ...]


class _Alphabet(NamedTuple):
    """How what a reading yields is written: as text, or in digits."""

    canonical: Callable[[bytes], bytes]
    digits: bytes


_TEXT = _Alphabet(bytes, b"")
_BASE64 = _Alphabet(lambda units: units.translate(_STANDARD), _BASE64_DIGITS)
_HEX = _Alphabet(bytes.lower, _HEX_DIGITS)


class _Decoder(NamedTuple):
    """A way to read the stream.

    Attributes:
        escape: Finds an escape, or the beginning of one at the end.
        decode: What an escape stands for; empty for the beginning of one.
        escapes: The escapes for a character, in lower case.
        plus_is_space: Whether a plus sign is a space.
    """

    escape: re.Pattern[bytes]
    decode: Callable[[re.Match[bytes]], bytes]
    escapes: Callable[[str], Iterable[bytes]]
    plus_is_space: bool = False


def _percent_decode(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)]) if match[1] else b""


def _percent_escapes(character: str) -> Iterator[bytes]:
    yield b"%%%02x" % character.encode("utf-8", "surrogatepass")[0]


def _json_decode(match: re.Match[bytes]) -> bytes:
    return unescape_json(match[1].decode()).encode("utf-8", "surrogatepass") if match[1] else b""


def _json_escapes(character: str) -> Iterator[bytes]:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    yield "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)).encode()
    yield from (b"\\" + short.encode() for short, meant in JSON_SHORT.items() if meant == character)


_AS_IT_IS = _Decoder(re.compile(rb"(?!)"), lambda _: b"", lambda _: ())
_URL = _Decoder(re.compile(rb"%(?:([0-9A-Fa-f]{2})|[0-9A-Fa-f]?\Z)"), _percent_decode, _percent_escapes)
_FORM = _URL._replace(plus_is_space=True)
_JSON = _Decoder(
    re.compile(
        rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
        # A surrogate whose other half may yet come, at the end, is none alone.
        rb"|(?!\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z)\\u[0-9a-fA-F]{4}"
        rb'|\\["\\/bfnrt])'
        rb"|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z"
        rb"|\\(?:u[0-9a-fA-F]{0,3})?\Z"
    ),
    _json_decode,
    _json_escapes,
)


class _Automaton:
    """Finds the longest of the patterns that ends at a place (Aho-Corasick), in a few bytes for each of theirs."""

    def __init__(self, alphabet: _Alphabet, patterns: Iterable[_Pattern]) -> None:
        self.alphabet = alphabet
        self.patterns = list({pattern.units: pattern for pattern in patterns}.values())
        # Nearly every node has one child, which is all that the arrays hold; the other children are in `more`.
        self.child = array("I", [0])
        self.label = bytearray(1)
        self.depth = array("I", [0])
        self.ending = array("I", [0])
        self.more: dict[int, int] = {}
        for number, pattern in enumerate(self.patterns, 1):
            self.ending[self._add(pattern.units)] = number
        self.fail = array("I", bytes(self.child.itemsize * len(self.child)))
        self._link()
        self.start = self._start_pattern()

    def _add(self, units: bytes) -> int:
        node = place = 0
        while place < len(units) and (found := self._child(node, units[place])):
            node = found
            place += 1
        if place == len(units):
            return node
        # From here on nothing is shared.
        first, count = len(self.child), len(units) - place
        if self.child[node]:
            self.more[node << 8 | units[place]] = first
        else:
            self.child[node] = first
        self.child.extend(range(first + 1, first + count))
        self.child.append(0)
        self.label += units[place:]
        self.depth.extend(range(place + 1, len(units) + 1))
        self.ending.frombytes(bytes(self.ending.itemsize * count))
        return first + count - 1

    def _child(self, node: int, unit: int) -> int:
        child = self.child[node]
        return child if child and self.label[child] == unit else self.more.get(node << 8 | unit, 0)

    def _link(self) -> None:
        """For each node, the longest beginning of a pattern that is a true end of the node's text."""
        others: dict[int, list[int]] = {}
        for key, child in self.more.items():
            others.setdefault(key >> 8, []).append(child)
        level = [0]
        while level:
            below: list[int] = []
            for node in level:
                if not self.child[node]:
                    continue
                for child in (self.child[node], *others.get(node, ())):
                    if node:
                        self.fail[child] = self.step(self.fail[node], self.label[child])
                    self.ending[child] = self.ending[child] or self.ending[self.fail[child]]
                    below.append(child)
            level = below

    def step(self, node: int, unit: int) -> int:
        """The node after ``unit``."""
        while True:
            child = self.child[node]
            if child and self.label[child] == unit:
                return child
            found = self.more.get(node << 8 | unit)
            if found is not None:
                return found
            if not node:
                return 0
            node = self.fail[node]

    def _start_pattern(self) -> re.Pattern[bytes]:
        """Finds where a pattern may begin; also where only its beginning has come yet, or its line ends."""
        end = rb"(?:[ \t\r\n]|\Z)" if self.alphabet.digits else rb"\Z"
        leads: dict[int, dict[int, set[int]]] = {}
        for pattern in self.patterns:
            one, two, three = pattern.units[:_LEAD]
            leads.setdefault(one, {}).setdefault(two, set()).add(three)

        def alternatives(parts: Iterable[bytes]) -> bytes:
            return b"(?:" + b"|".join((*parts, end)) + b")"

        return re.compile(
            b"|".join(
                _any_of({one})
                + alternatives(_any_of({two}) + alternatives([_any_of(threes)]) for two, threes in more.items())
                for one, more in leads.items()
            )
        )


def _any_of(units: set[int]) -> bytes:
    return b"[%s]" % re.escape(bytes(units))


class _Search:
    """An automaton at work on one reading of one stream."""

    def __init__(self, automaton: _Automaton) -> None:
        self._automaton = automaton
        self._node = 0
        self._starts: deque[int] = deque()  # where in the stream each unit of the text of `_node` began
        self._gap = 0
        self._line = b""  # the end of the line so far, if it is in digits
        self._tail: tuple[bytes, ...] = ()  # what may follow the secret that has just ended, and belongs to it

    @property
    def held_from(self) -> int | None:
        """Where in the stream that begins which may yet become a secret."""
        return self._starts[0] if self._starts else None

    @property
    def awaits_tail(self) -> bool:
        """Whether the next unit may belong to a secret that has ended."""
        return bool(self._tail)

    def feed(self, decoded: bytes, offset: Callable[[int], int], spans: list[_Span]) -> None:
        """Go through what the reading yields next; add to ``spans`` where the secrets are that end in it."""
        automaton = self._automaton
        units = automaton.alphabet.canonical(decoded)
        node, starts = self._node, self._starts
        place, end = 0, len(units)
        while place < end:
            if not node and not self._tail:
                match = automaton.start.search(units, place)
                if match is None:
                    break
                place = match.start()
            unit = units[place]
            if self._tail:
                belongs = unit in self._tail[0]
                if belongs:
                    spans.append((offset(place) - 1, offset(place + 1)))  # overlaps, so that it becomes one with it
                self._tail = self._tail[1:] if belongs else ()
            if node and unit in _SPACE and self._is_wrapped(units, place):
                self._gap += 1
                place += 1
                continue
            self._gap = 0
            node = automaton.step(node, unit)
            starts.append(offset(place))
            while len(starts) > automaton.depth[node]:
                starts.popleft()
            place += 1
            if number := automaton.ending[node]:
                pattern = automaton.patterns[number - 1]
                spans.append((starts[-len(pattern.units)], offset(place)))
                self._tail = pattern.tail
        self._node = node
        if automaton.alphabet.digits:
            self._line = (self._line + units)[-_WRAPPED_FROM:]

    def _is_wrapped(self, units: bytes, place: int) -> bool:
        digits = self._automaton.alphabet.digits
        if self._gap:
            return self._gap < _LONGEST_GAP
        line = (self._line + units[max(0, place - _WRAPPED_FROM) : place])[-_WRAPPED_FROM:]
        return bool(digits) and len(line) == _WRAPPED_FROM and not line.translate(None, digits)


class _Reading:
    """The stream read in one way, and what is looked for in it."""

    def __init__(self, decoder: _Decoder, automata: Iterable[_Automaton]) -> None:
        self._decoder = decoder
        self._searches = [_Search(automaton) for automaton in automata]
        self._escapes = tuple(
            escape
            for automaton in automata
            for pattern in automaton.patterns
            for character in pattern.first
            for escape in decoder.escapes(character)
        )
        self._pending = b""  # the beginning of an escape
        self._offset = 0  # where in the stream it began

    def feed(self, data: bytes, spans: list[_Span]) -> int:
        """Read on.

        Returns:
            The offset in the stream before which all has been decided on.
        """
        data = self._pending + data
        decoded, offset = self._decode(data)
        for search in self._searches:
            search.feed(decoded, offset, spans)
        clear = self._offset
        if not self._pending_counts():
            clear += len(self._pending)
        return min([clear, *(search.held_from for search in self._searches if search.held_from is not None)])

    def _decode(self, data: bytes) -> tuple[bytes, Callable[[int], int]]:
        """What ``data`` says, and where in the stream each byte of that began; what is pending is put aside."""
        if self._decoder.plus_is_space:
            data = data.replace(b"+", b" ")
        parts: list[bytes] = []
        length = done = 0
        lengths: list[int] = []  # what was decoded up to the end of each escape,
        ends: list[int] = []  # and where that was in the stream
        self._pending = b""
        for match in self._decoder.escape.finditer(data):
            unit = self._decoder.decode(match)
            if not unit:
                self._pending = match[0]
                break
            parts += (data[done : match.start()], unit)
            length += match.start() - done + len(unit)
            done = match.end()
            lengths.append(length)
            ends.append(self._offset + done)
        stop = len(data) - len(self._pending)
        parts.append(data[done:stop])
        first = self._offset
        self._offset += stop

        def offset(index: int) -> int:
            escapes = bisect_right(lengths, index)
            return ends[escapes - 1] + index - lengths[escapes - 1] if escapes else first + index

        return b"".join(parts), offset

    def _pending_counts(self) -> bool:
        """Whether what is pending may yet belong to a secret of which nothing else has come, or to its tail."""
        pending = self._pending.lower()
        return bool(pending) and (
            any(search.awaits_tail for search in self._searches)
            or any(escape.startswith(pending) for escape in self._escapes)
        )


def _searches(secrets: Iterable[str]) -> list[tuple[_Decoder, list[_Automaton]]]:
    """What is looked for in which reading of the stream."""
    stripped = [text for text in dict.fromkeys(map(str.strip, secrets)) if len(text) >= SHORTEST]
    if not stripped:
        return []
    texts = list(dict.fromkeys(shown for text in stripped for shown in _as_shown(text)))
    encoded = [data for text in stripped if len(data := _bytes(text)) >= ENCODED_FROM]
    automata = [_Automaton(_TEXT, map(_text, texts))]
    if encoded:
        automata.append(_Automaton(_BASE64, (_base64(data, lead) for data in encoded for lead in range(3))))
        automata.append(_Automaton(_HEX, map(_hex, encoded)))
    spaced = [_text(text) for text in texts if " " in text]
    form = [(_FORM, [_Automaton(_TEXT, spaced)])] if spaced else []
    return [(_AS_IT_IS, automata), (_URL, automata), (_JSON, automata), *form]


def _as_shown(text: str) -> tuple[str, ...]:
    """``text`` with either kind of line end: a terminal has its own."""
    if "\n" not in text:
        return (text,)
    unix = text.replace("\r\n", "\n")
    return (text, unix, unix.replace("\n", "\r\n"))


def _text(text: str) -> _Pattern:
    return _Pattern(_bytes(text), (), (text[0],))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _base64(data: bytes, lead: int) -> _Pattern:
    """The digits that ``data`` decides on when it comes ``lead`` bytes after the beginning of a group of three."""
    code = b64encode(bytes(lead) + data)
    whole, rest = divmod(8 * (lead + len(data)), 6)
    tail: tuple[bytes, ...] = ()
    if rest:
        value = _BASE64_DIGITS.index(code[whole])
        digits = _BASE64_DIGITS[value : value + (1 << 6 - rest)]
        tail = (digits, b"=", b"=") if rest == 2 else (digits, b"=")
    units = code[-(-8 * lead // 6) : whole]
    first = chr(units[0])
    return _Pattern(units, tail, {"+": ("+", "-"), "/": ("/", "_")}.get(first, (first,)))


def _hex(data: bytes) -> _Pattern:
    code = data.hex()
    return _Pattern(code.encode(), (), (code[0], code[0].upper()))

"""Reads a document's bytes into plain values: YAML 1.2 or JSON, bounded in size, depth, nodes and aliases."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from rewards.domain.program.problems import Position, Problem

SIZE_MAX_BYTES: Final = 1024 * 1024
DEPTH_MAX: Final = 32
NODES_MAX: Final = 100_000
ALIASES_MAX: Final = 200

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,40}")
_OTHER_BASE: Final = re.compile(r"0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TAGS: Final = frozenset({"str", "int", "float", "bool", "null", "map", "seq"})
_STANDARD: Final = "tag:yaml.org,2002:"
_YAML_END: Final = (MappingEndEvent, SequenceEndEvent)


class Unreadable(ValueError):
    """The bytes are no document. `problem` says where and why."""

    def __init__(self, code: str, message: str, place: Position | None = None) -> None:
        super().__init__(message)
        self.problem = Problem("", code, message, place=place)


@dataclass(frozen=True, slots=True)
class Source:
    """Plain values, and where each path (`rules.0.when`) begins in the file."""

    data: Any
    places: dict[str, Position] = field(default_factory=dict)


def read_document(source: bytes) -> Source:
    """JSON is read as the YAML 1.2 that it is. Raises `Unreadable`."""
    if len(source) > SIZE_MAX_BYTES:
        raise Unreadable("too-large", f"the document has {len(source)} bytes, at most {SIZE_MAX_BYTES} are read")
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("encoding", f"the document is not UTF-8 (byte {error.start})") from None
    return _Reader(text).read()


@dataclass(slots=True)
class _Open:
    """A mapping or list being read. `size` counts its nodes, aliases written out."""

    value: Any
    path: str
    anchor: str | None
    key: str | None = None
    waiting: bool = False
    size: int = 1


class _Reader:
    """Builds values from parser events with its own stack: no recursion, and a stop at the first excess."""

    def __init__(self, text: str) -> None:
        self._events = YAML(typ="safe", pure=True).parse(io.StringIO(text))
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._places: dict[str, Position] = {}
        self._nodes = 0
        self._aliases = 0
        self._documents = 0
        self._result: Any = None

    def read(self) -> Source:
        try:
            for event in self._events:
                self._take(event)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise Unreadable("syntax", str(error.problem or error.context), _position(mark)) from None
        except YAMLError as error:
            raise Unreadable("syntax", str(error).partition("\n")[0]) from None
        except Unreadable:
            raise
        except (OverflowError, ValueError):  # the parser takes "\UFFFFFFFF" for a character
            raise Unreadable("syntax", "an escape names no character") from None
        except RecursionError:
            raise Unreadable("too-deep", f"nested more than {DEPTH_MAX} deep") from None
        return Source(self._result, self._places)

    def _take(self, event: Any) -> None:
        place = _position(event.start_mark)
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise Unreadable("syntax", "one file holds one document", place)
        elif isinstance(event, ScalarEvent):
            self._scalar(event, place)
        elif isinstance(event, AliasEvent):
            self._alias(event, place)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._open(event, place)
        elif isinstance(event, _YAML_END):
            done = self._stack.pop()
            if done.anchor:
                self._anchors[done.anchor] = (done.value, done.size)
            self._put(done.value, done.size)

    def _scalar(self, event: Any, place: Position) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.value, dict) and not parent.waiting:
            self._key(parent, event, place)
            return
        self._note(place)
        value = _resolve(event, place)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._put(value, 1)

    def _key(self, parent: _Open, event: Any, place: Position) -> None:
        key = _unicode(event.value, place)
        if event.anchor:
            self._anchors[event.anchor] = (key, 1)
        if key in parent.value:
            raise Unreadable("duplicate-key", f"the key {key!r} stands here twice", place)
        parent.key, parent.waiting = key, True
        self._places[_join(parent.path, key)] = place
        self._count(1, place)

    def _alias(self, event: Any, place: Position) -> None:
        self._aliases += 1
        if self._aliases > ALIASES_MAX:
            raise Unreadable("too-many-aliases", f"more than {ALIASES_MAX} aliases", place)
        found = self._anchors.get(event.anchor)
        if found is None:
            raise Unreadable("syntax", f"*{event.anchor} refers to nothing before it", place)
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.value, dict) and not parent.waiting:
            raise Unreadable("syntax", "a key must be written out", place)
        self._note(place)
        self._count(found[1], place)
        self._put(found[0], found[1])

    def _open(self, event: Any, place: Position) -> None:
        if len(self._stack) >= DEPTH_MAX:
            raise Unreadable("too-deep", f"nested more than {DEPTH_MAX} deep", place)
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.value, dict) and not parent.waiting:
            raise Unreadable("syntax", "a key must be a word", place)
        if event.tag is not None and str(event.tag).removeprefix(_STANDARD) not in {"map", "seq"}:
            raise Unreadable("tag", f"the tag {event.tag} is not known here", place)
        path = self._note(place)
        self._count(1, place)
        value: Any = {} if isinstance(event, MappingStartEvent) else []
        self._stack.append(_Open(value, path, event.anchor))

    def _note(self, place: Position) -> str:
        """Where the next value goes; remembers its place unless its key already did."""
        if not self._stack:
            return ""
        parent = self._stack[-1]
        path = _join(parent.path, parent.key if parent.waiting else str(len(parent.value)))
        self._places.setdefault(path, place)
        return path

    def _put(self, value: Any, size: int) -> None:
        if not self._stack:
            self._result = value
            return
        parent = self._stack[-1]
        parent.size += size
        if isinstance(parent.value, dict):
            parent.value[parent.key] = value
            parent.waiting = False
        else:
            parent.value.append(value)

    def _count(self, nodes: int, place: Position) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise Unreadable("too-large", f"more than {NODES_MAX} values, aliases written out", place)


def _join(path: str, key: str | None) -> str:
    return f"{path}.{key}" if path else str(key)


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)


def _resolve(event: Any, place: Position) -> Any:
    """The YAML 1.2 core schema: `no` and `on` are words, `12:30` is text, dates are text."""
    text = _unicode(event.value, place)
    tag = str(event.tag).removeprefix(_STANDARD) if event.tag is not None else None
    if tag is not None and tag not in _TAGS:
        raise Unreadable("tag", f"the tag {event.tag} is not known here", place)
    if tag == "str" or (tag is None and event.style is not None):
        return text
    if text in _NULLS:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    return _number(text, place)


def _unicode(text: str, place: Position) -> str:
    """JSON escapes one character in two halves (`\\ud83d\\ude00`); half a character and NUL are refused."""
    if "\x00" in text:
        raise Unreadable("encoding", "a text holds a NUL character", place)
    if not text.isascii():
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise Unreadable("encoding", "a text holds half a character (a lone surrogate)", place) from None
    return text


def _number(text: str, place: Position) -> Any:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if _NOT_FINITE.fullmatch(text):
        raise Unreadable("not-finite", f"{text} is not a number that can be counted", place)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value in {float("inf"), float("-inf")}:
            raise Unreadable("not-finite", f"{text} is not a number that can be counted", place)
        return value
    return text

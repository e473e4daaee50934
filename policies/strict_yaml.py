"""YAML as bundles use it: plain mappings, lists, strings, integers and booleans.

Rules upheld here: a repeated key is an error, as are tags, anchors, aliases and non-string keys; a
date and a decimal stay the strings that were written. `yes`, `no`, `on` and `off` stay strings too: only `true` and
`false` are booleans. Not here: what a file has to contain (`bundle.py`, `bundle_tests.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import yaml

from jurat.schemas.canonical import MAX_INTEGER

if TYPE_CHECKING:
    from jurat.schemas.canonical import JsonValue

MAX_DEPTH = 16
"""Nesting that people still read."""

MAX_YAML_BYTES = 1_000_000
"""A bundle's YAML is written by people; a megabyte of it is a mistake."""


MAX_DIGITS = 17
"""Digits of 2**53, and a sign."""

_INTEGER = re.compile(r"^-?(0|[1-9][0-9]*)\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")


Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys and positions from the top."""


class StrictYamlError(ValueError):
    """A YAML text outside the profile; `line` counts from 1, where one is to blame."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """A document, and the line on which every key and every item of it stands."""

    value: JsonValue
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int | None:
        """The line of a place, or of the nearest one above it that the document has."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)


EMPTY = Document(None, {(): 1})
"""What a file without a value holds."""


class _Loader(yaml.SafeLoader):
    """SafeLoader without the readings that surprise people."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own class attribute
        "t": [("tag:yaml.org,2002:bool", re.compile(r"^true$"))],
        "f": [("tag:yaml.org,2002:bool", re.compile(r"^false$"))],
        "n": [("tag:yaml.org,2002:null", re.compile(r"^null$"))],
        "": [("tag:yaml.org,2002:null", re.compile(r"^$"))],
        **{c: [("tag:yaml.org,2002:int", _INTEGER)] for c in "-0123456789"},
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse what the nodes no longer tell: an anchor that nothing refers to, a tag that changes nothing."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        if not isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1
            if getattr(event, "anchor", None) is not None:
                raise StrictYamlError(
                    f"got the anchor &{event.anchor}, expected no anchors and aliases", line
                )
            if getattr(event, "tag", None) is not None:
                raise StrictYamlError(f"got the tag {event.tag!r}, expected plain YAML without tags", line)
        return super().compose_node(parent, index)


def load(text: str) -> Document:
    """Read one YAML document.

    Raises:
        StrictYamlError: not YAML, or outside the profile.
    """
    if len(text.encode()) > MAX_YAML_BYTES:
        raise StrictYamlError(f"got more than {MAX_YAML_BYTES} bytes of YAML")
    try:
        node = yaml.compose(text, Loader=_Loader)  # composing builds nodes only, never an object
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise StrictYamlError(
            f"got what is not YAML, {what}, expected plain YAML", mark.line + 1 if mark else None
        ) from error
    except yaml.YAMLError as error:
        raise StrictYamlError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise StrictYamlError("got YAML nested too deeply") from error
    if node is None:
        return EMPTY
    reading = _Reading()
    return Document(reading.value(node, ()), reading.lines)


class _Reading:
    """Values of nodes, each node once, with the lines that they stand on."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, place: Place) -> JsonValue:
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        if len(place) > MAX_DEPTH:
            raise StrictYamlError(f"got nesting deeper than {MAX_DEPTH}", line)
        if id(node) in self._seen:
            raise StrictYamlError("got an alias, expected the value itself", line)
        self._seen.add(id(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag.rpartition(":")[2] not in ("map", "seq"):
            raise StrictYamlError(f"got the tag {node.tag!r}, expected plain YAML without tags", line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        return _scalar(node.tag.rpartition(":")[2], str(node.value), line)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> JsonValue:
        found: dict[str, JsonValue] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise StrictYamlError("got a key that is not a word", line)
            if key.value in found:
                raise StrictYamlError(f"got the key {key.value!r} twice, expected it once", line)
            self.lines[(*place, key.value)] = line
            found[key.value] = self.value(value, (*place, key.value))
        return found


def _scalar(tag: str, value: str, line: int) -> JsonValue:
    match tag:
        case "str" if value.isascii() or not _SURROGATE.search(value):
            return value
        case "str":
            raise StrictYamlError("got a string that is not Unicode", line)
        case "int" if len(value) <= MAX_DIGITS and _INTEGER.match(value) and abs(int(value)) <= MAX_INTEGER:
            return int(value)
        case "int" if _INTEGER.match(value):
            raise StrictYamlError(
                f"got an integer of {len(value)} characters, expected one below 2**53", line
            )
        case "bool" if value in ("true", "false"):
            return value == "true"
        case "null" if value in ("", "null"):
            return None
    raise StrictYamlError(f"got the tag {tag!r}, expected plain YAML without tags", line)

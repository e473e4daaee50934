"""YAML as bundles use it: plain mappings, lists, strings, integers and booleans.

Rules upheld here: a repeated key is an error, as are tags, anchors, aliases and non-string keys; a
date and a decimal stay the strings that were written. `yes`, `no`, `on` and `off` stay strings too: only `true` and
`false` are booleans. Not here: what a file has to contain (`bundle.py`, `bundle_tests.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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


class StrictYamlError(ValueError):
    """A YAML text outside the profile; the message ends with the line where there is one."""


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
                    f"got the anchor &{event.anchor}, expected no anchors and aliases (line {line})"
                )
            if getattr(event, "tag", None) is not None:
                raise StrictYamlError(
                    f"got the tag {event.tag!r}, expected plain YAML without tags (line {line})"
                )
        return super().compose_node(parent, index)


def load(text: str) -> JsonValue:
    """Read one YAML document.

    Raises:
        StrictYamlError: not YAML, or outside the profile.
    """
    if len(text.encode()) > MAX_YAML_BYTES:
        raise StrictYamlError(f"got more than {MAX_YAML_BYTES} bytes of YAML")
    try:
        node = yaml.compose(text, Loader=_Loader)  # composing builds nodes only, never an object
    except yaml.YAMLError as error:
        raise StrictYamlError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise StrictYamlError("got YAML nested too deeply") from error
    return None if node is None else _value(node, set(), 0)


def _value(node: yaml.Node, seen: set[int], depth: int) -> JsonValue:
    line = node.start_mark.line + 1
    if depth > MAX_DEPTH:
        raise StrictYamlError(f"got nesting deeper than {MAX_DEPTH} (line {line})")
    if id(node) in seen:
        raise StrictYamlError(f"got an alias, expected the value itself (line {line})")
    seen.add(id(node))
    if not isinstance(node, yaml.ScalarNode) and node.tag.rpartition(":")[2] not in ("map", "seq"):
        raise StrictYamlError(f"got the tag {node.tag!r}, expected plain YAML without tags (line {line})")
    if isinstance(node, yaml.MappingNode):
        found: dict[str, JsonValue] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise StrictYamlError(f"got a key that is not a word (line {line})")
            if key.value in found:
                raise StrictYamlError(f"got the key {key.value!r} twice (line {key.start_mark.line + 1})")
            found[key.value] = _value(value, seen, depth + 1)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, seen, depth + 1) for item in node.value]
    return _scalar(node.tag.rpartition(":")[2], str(node.value), line)


def _scalar(tag: str, value: str, line: int) -> JsonValue:
    match tag:
        case "str" if value.isascii() or not _SURROGATE.search(value):
            return value
        case "str":
            raise StrictYamlError(f"got a string that is not Unicode (line {line})")
        case "int" if len(value) <= MAX_DIGITS and _INTEGER.match(value) and abs(int(value)) <= MAX_INTEGER:
            return int(value)
        case "int" if _INTEGER.match(value):
            raise StrictYamlError(
                f"got an integer of {len(value)} characters, expected one below 2**53 (line {line})"
            )
        case "bool" if value in ("true", "false"):
            return value == "true"
        case "null" if value in ("", "null"):
            return None
    raise StrictYamlError(f"got the tag {tag!r}, expected plain YAML without tags (line {line})")

"""The action space as a JSON schema: what a model that answers in structured output may say.

Rules upheld here: only firm refusals are left out, so nothing that the policies allow is barred; a parameter keeps the
bounds of its own model; the schema uses what servers of the OpenAI kind enforce: objects that are closed and have every
field required, `enum`, `anyOf`, and bounds on integers alone. Texts and moments have no order there: which of them are
refused is said in words (`action_words.py`) and checked afterwards. A text is listed only where it is a name, as no
fence stands around a schema. Not here: finding the space (`action_space.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from jurat.agents.action_axes import KEPT_MODELS
from jurat.agents.action_space import ActionSpace, DecisionSpace
from jurat.policies.space import Kind, Only, ParameterSpace, Range, Value
from jurat.schemas.canonical import JsonObject, JsonValue
from jurat.schemas.model import Model

_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/#@+-]{0,64}")
"""Texts that a schema may list: names in one word. They may be an event's, and servers put schemas into prompts, where
no fence stands around them."""

_DROPPED: Final = frozenset({"title", "default", "description"})
"""What a schema says to people: the words of the policies stand beside it."""


def decision_schema(space: DecisionSpace) -> JsonObject:
    """The schema of an answer `{"action": {"name": ..., "parameters": {...}}}`, or null where nothing is offered."""
    actions: list[JsonValue] = [
        closed({"name": {"type": "string", "enum": [one.name]}, "parameters": action_schema(one)})
        for one in space.offered
    ]
    return closed({"action": any_of(actions) if actions else {"type": "null"}})


def action_schema(space: ActionSpace) -> JsonObject:
    """The schema of the parameters of an action that is offered, narrowed."""
    fields: JsonObject = deepcopy(_fields(space.action))
    for parameter in space.parameters:
        fields[parameter.name] = _narrowed(parameter, fields[parameter.name])
    return closed(fields)


def model_schema(model: type[Model]) -> JsonObject:
    """The schema of any model, closed and without words for people."""
    return closed(deepcopy(_fields(model)))


def closed(fields: JsonObject) -> JsonObject:
    """An object with these fields, all required and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": [*fields],
        "additionalProperties": False,
    }


def _narrowed(space: ParameterSpace, own: JsonValue) -> JsonValue:
    spans = space.offered
    alternatives: list[JsonValue] = []
    match space.kind:
        case Kind.INTEGER:
            ranges = [span.of for span in spans if isinstance(span.of, Range)]
            alternatives += [_integers(low, high) for low, high in _adjoining(ranges)]
        case Kind.CHOICE:
            alternatives += _values(span.of.value for span in spans if isinstance(span.of, Only))
            return any_of(alternatives)
        case Kind.TEXT if all(isinstance(span.of, Only) and _is_plain(span.of.value) for span in spans):
            alternatives += _values(span.of.value for span in spans if isinstance(span.of, Only))
            return any_of(alternatives)
        case _:
            return own
    if any(span.of == Only(None) for span in spans):
        alternatives.append({"type": "null"})
    return any_of(alternatives)


def any_of(alternatives: list[JsonValue]) -> JsonValue:
    """One of several schemas; the schema itself where there is one."""
    return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}


def _is_plain(value: Value) -> bool:
    return value is None or (isinstance(value, str) and _PLAIN.fullmatch(value) is not None)


def _integers(low: int, high: int) -> JsonObject:
    if low == high:
        return {"type": "integer", "enum": [low]}
    return {"type": "integer", "minimum": low, "maximum": high}


def _adjoining(ranges: Iterable[Range]) -> list[tuple[int, int]]:
    """Ranges that follow each other, as one."""
    joined: list[tuple[int, int]] = []
    for one in ranges:
        if joined and joined[-1][1] + 1 == one.low:
            joined[-1] = (joined[-1][0], one.high)
        else:
            joined.append((one.low, one.high))
    return joined


_TYPES: Final = {bool: "boolean", int: "integer", str: "string", type(None): "null"}


def _values(values: Iterable[Value]) -> list[JsonValue]:
    """One alternative for the values of each type."""
    grouped = groupby(sorted(values, key=lambda value: _TYPES[type(value)]), key=type)
    return [
        {"type": "null"} if kind is type(None) else {"type": _TYPES[kind], "enum": [*same]}
        for kind, same in grouped
    ]


@lru_cache(KEPT_MODELS)
def _fields(model: type[Model]) -> JsonObject:
    """The schemas of a model's fields, without references."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    return {name: _plain(field, definitions) for name, field in schema.get("properties", {}).items()}


def _plain(node: Any, definitions: dict[str, Any]) -> Any:
    """A schema with its references filled in and without words for people."""
    match node:
        case {"$ref": str(name)}:
            return _plain(definitions[name.rpartition("/")[2]], definitions)
        case {"properties": dict(properties)}:
            return closed({name: _plain(field, definitions) for name, field in properties.items()})
        case dict():
            return {key: _plain(value, definitions) for key, value in node.items() if key not in _DROPPED}
        case list():
            return [_plain(item, definitions) for item in node]
    return node

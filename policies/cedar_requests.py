"""A Cedar request with its entities as one line of JSON, in the forms that Cedar's own tools and corpora write.

Rules upheld here:
1. a line is read strictly: one object, no key twice, no field that means nothing here, no number and no text that JSON
   cannot carry from one program to another; an error repeats a bounded part of it;
2. an entity is named as `{"type", "id"}`, as `{"__entity": {"type", "id"}}` or as `Type::"id"`, and becomes the first;
3. what a corpus says of a request (`decision`, `reason`, `errors`, `desc`) may stand beside it and changes nothing.

Not here: what the policies say of it (`evaluating.py`).
Source: https://docs.cedarpolicy.com/auth/entities-syntax.html, https://github.com/cedar-policy/cedar-integration-tests
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeGuard

from jurat.policies import cedar
from jurat.policies.faults import did_you_mean, listed
from jurat.policies.normal import printable

MAX_REQUEST_BYTES: Final = 8_000_000
"""One request with its entities; corpora need some kilobytes, the largest record of a log has one million."""

MAX_DEPTH: Final = 100
"""Lists and objects within each other: Cedar's own reader ends at 128, with a request around them."""

MAX_DIGITS: Final = 100
"""Digits of an integer that is read at all: Cedar's have 19."""

UIDS: Final = ("principal", "action", "resource")
EXPECTED: Final = ("decision", "reason", "reasons", "errors", "description", "desc")
"""What corpora say of a request, those of older versions of Cedar too."""

FIELDS: Final = (*UIDS, "context", "entities", "validateRequest", *EXPECTED)


class LineError(ValueError):
    """A line that is no Cedar request; the message says what was got and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CedarRequest:
    """One request.

    Attributes:
        uids: who would do what to what.
        context: JSON values by name.
        entities: the request's own entities in Cedar's JSON form.
        validated: whether the request itself is checked against the schema; corpora switch that off now and then.
    """

    uids: cedar.Uids
    context: dict[str, Any]
    entities: list[Any]
    validated: bool = True


def parse(line: bytes) -> CedarRequest:
    """Read one line.

    Raises:
        LineError: it is no Cedar request.
    """
    value = _read(line)
    if not isinstance(value, dict):
        raise LineError(
            "got JSON that is no object, expected {principal, action, resource, context, entities}"
        )
    for name in sorted(value):
        if name not in FIELDS:
            raise LineError(
                f"got the field {printable(name)}, expected one of {listed(FIELDS)}{did_you_mean(name, FIELDS)}"
            )
    context, entities = value.get("context"), value.get("entities")
    if not isinstance(context, dict | None) or not isinstance(entities, list | None):
        raise LineError("got a context that is no object or entities that are no list, expected these")
    validated = value.get("validateRequest", True)
    if not isinstance(validated, bool):
        raise LineError("got a validateRequest that is neither true nor false, expected one of them")
    principal, action, resource = (_uid(value.get(name), name) for name in UIDS)
    return CedarRequest(
        uids=cedar.Uids(principal=principal, action=action, resource=resource),
        context=context or {},
        entities=[_entity(entity) for entity in entities or []],
        validated=validated,
    )


def _read(line: bytes) -> object:
    """The JSON of a line, as far as JSON can carry it.

    Raises:
        LineError: it is none.
    """
    if len(line) > MAX_REQUEST_BYTES:
        raise LineError(f"got a line of more than {MAX_REQUEST_BYTES} bytes, expected one request")
    try:
        text = line.decode()
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
        )
        _check_depth(value, MAX_DEPTH)
        if "\\u" in text:  # the only way to write half of a surrogate pair
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise LineError(f"got a text with {half}, half of a surrogate pair, expected Unicode") from error
    except UnicodeDecodeError as error:
        raise LineError(f"got bytes that are not UTF-8 at {error.start}, expected JSON") from error
    except RecursionError as error:
        raise LineError(
            f"got JSON nested too deeply, expected a request of at most {MAX_DEPTH} lists and objects within each other"
        ) from error
    except json.JSONDecodeError as error:
        where = f"{error.msg}, at character {error.pos + 1}"
        raise LineError(f"got no JSON ({where}), expected one object a line") from error
    return value


def _check_depth(value: object, most: int) -> None:
    """Raise the error that Python's reader raises far deeper."""
    if not isinstance(value, dict | list):
        return
    if most == 0:
        raise RecursionError
    for below in value.values() if isinstance(value, dict) else value:
        _check_depth(below, most - 1)


def _entity(entity: object) -> object:
    """An entity with its own name and its parents' in the first form; what else is wrong, Cedar says."""
    if not isinstance(entity, dict) or "uid" not in entity:
        raise LineError("got an entity without a uid, expected {uid, attrs, parents}")
    parents = entity.get("parents", [])
    if not isinstance(parents, list):
        raise LineError("got parents that are no list, expected one of entities' names")
    return {
        **entity,
        "uid": _uid(entity["uid"], "uid of an entity"),
        "attrs": entity.get("attrs", {}),
        "parents": [_uid(parent, "parent of an entity") for parent in parents],
    }


def _uid(value: object, name: str) -> cedar.Uid:
    if isinstance(value, dict) and set(value) == {"__entity"}:
        value = value["__entity"]
    if isinstance(value, str):
        try:
            return _named(value)
        except cedar.CedarError as error:
            raise LineError(f'got the {name} {printable(value)!r}, expected Type::"id" ({error})') from error
    if not _is_uid(value):
        got = "no" if value is None else "another kind of"
        raise LineError(f'got {got} {name}, expected {{"type", "id"}}, {{"__entity"}} or Type::"id"')
    return cedar.Uid(type=value["type"], id=value["id"])


def _named(text: str) -> cedar.Uid:
    """Read an entity's name as policies write it: `Type::"id"`.

    Raises:
        CedarError: it is no name of an entity.
    """
    # Cedar reads it where a policy names its principal; whatever else it may have made of the policy is refused.
    found = cedar.parse_policies(f"permit (principal == {text}\n, action, resource);")
    anything = cedar.pst.ScopeAny()
    match found:
        case (
            cedar.pst.Template(
                _, "permit", cedar.pst.ScopeEq(cedar.pst.EntityUid(type_, id_)), action, resource, (), notes
            ),
        ) if action == anything and resource == anything and not notes:
            return cedar.Uid(type=str(type_), id=id_)
    raise cedar.CedarError("it is more than the name of an entity")


def _is_uid(value: object) -> TypeGuard[dict[str, str]]:
    return (
        isinstance(value, dict)
        and set(value) == {"type", "id"}
        and all(isinstance(part, str) for part in value.values())
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _value in pairs:
            if name in seen:
                raise LineError(f"got the field {printable(name)} twice, expected each once")
            seen.add(name)
    return found


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise LineError(f"got an integer of {len(text)} characters, expected one of 64 bits")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise LineError(f"got the number {text[:MAX_DIGITS]}, expected one that 64 bits can hold")
    return number


def _constant(text: str) -> NoReturn:
    raise LineError(f"got {text}, expected JSON")

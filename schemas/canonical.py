"""Canonical JSON: the one byte form of a value that is hashed or signed.

The profile is a strict subset of RFC 8785 (JCS), chosen so that sorting by code point, by UTF-16 unit and by UTF-8
byte agree and no number is ever rounded:

1. object keys are ASCII strings, each once; objects print their keys sorted;
2. numbers are integers with an absolute value below 2**53; no floats (money travels in minor units, decimals as
   strings);
3. strings are valid Unicode, printed as UTF-8 with RFC 8785's escapes; no white space outside strings;
4. parse then print is identity: `loads` refuses every other spelling of the same value, duplicate keys included.

Specified in `docs/spec/canonical-json.md`. Source: RFC 8785, sections 3.2.2 and 3.2.3.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

import orjson

from jurat.schemas.errors import CanonicalError

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | bool | None"
JsonObject: TypeAlias = dict[str, JsonValue]

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON implementation keeps exactly (RFC 7493, section 2.2)."""

MAX_DEPTH = 64
"""Nesting bound: deeper input is hostile, and parsers differ beyond it."""


def dumps(value: object) -> bytes:
    """Print a value in canonical form.

    Args:
        value: dicts with ASCII keys, lists or tuples, strings, booleans, None and integers below 2**53.

    Returns:
        The canonical UTF-8 bytes.

    Raises:
        CanonicalError: the value is outside the profile; the message names the place.
    """
    check(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, UnicodeEncodeError) as error:
        raise CanonicalError(f"a value cannot be printed as canonical JSON: {error}") from error


def fits(value: object, *, depth: int = 0) -> bool:
    """Tell whether a value is inside the profile; what strings hold is only told by printing.

    Args:
        value: the value.
        depth: how deep it stands in the value that will be printed.
    """
    return _fits(value, depth)


def check(value: object) -> None:
    """Check that a value is inside the profile, without printing it.

    Raises:
        CanonicalError: it is not; the message names the place.
    """
    if not _fits(value, 0):
        _refuse(value, "$", 0)


def loads(data: bytes) -> JsonValue:
    """Parse canonical bytes, refusing any other spelling.

    Raises:
        CanonicalError: not JSON, outside the profile, or not the canonical form of what it says.
    """
    try:
        value: JsonValue = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CanonicalError(f"got bytes that are not JSON ({error}), expected canonical JSON") from error
    if dumps(value) != data:
        raise CanonicalError(
            "got JSON in another form than the canonical one (key order, white space, escapes or a repeated key);"
            " expected the exact bytes that RFC 8785 prints"
        )
    return value


def loads_object(data: bytes) -> JsonObject:
    """Parse canonical bytes that must be an object."""
    value = loads(data)
    if not isinstance(value, dict):
        raise CanonicalError(f"got a JSON {type(value).__name__}, expected an object")
    return value


def digest(value: object) -> str:
    """Name a value by the lower-case hex SHA-256 of its canonical form."""
    return hashlib.sha256(dumps(value)).hexdigest()


def _fits(value: object, depth: int) -> bool:
    # The common case, decided without building the path that only an error message needs.
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is int:
        return -MAX_INTEGER <= value <= MAX_INTEGER  # type: ignore[operator]  # kind is int here
    if depth >= MAX_DEPTH:
        return False
    if kind is dict:
        return _object_fits(value, depth)  # type: ignore[arg-type]  # kind is dict here
    return (kind is list or kind is tuple) and _list_fits(value, depth)  # type: ignore[arg-type]  # it is here


_PLAIN: Final = frozenset((str, bool, type(None)))
"""Types of values that are inside the profile whatever they are."""


def _object_fits(value: dict[object, object], depth: int) -> bool:
    # Most of what objects hold is looked at in this loop: a call for each would cost more than the look.
    for key, item in value.items():
        if type(key) is not str or not key.isascii():
            return False
        kind = type(item)
        if kind in _PLAIN:
            continue
        if kind is int:
            if not -MAX_INTEGER <= item <= MAX_INTEGER:  # type: ignore[operator]  # kind is int here
                return False
        elif not _fits(item, depth + 1):
            return False
    return True


def _list_fits(value: list[object] | tuple[object, ...], depth: int) -> bool:
    for item in value:  # noqa: SIM110 - a generator costs more than looking at what a list mostly holds
        if type(item) not in _PLAIN and not _fits(item, depth + 1):
            return False
    return True


def _refuse(value: object, where: str, depth: int) -> None:
    if _fits(value, depth):
        return
    if depth >= MAX_DEPTH:
        raise CanonicalError(f"got nesting deeper than {MAX_DEPTH} at {where}")
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise CanonicalError(f"got the key {key!r} at {where}, expected an ASCII string")
            _refuse(item, f"{where}.{key}", depth + 1)
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):  # type: ignore[arg-type]  # a list or a tuple here
            _refuse(item, f"{where}[{index}]", depth + 1)
    elif type(value) is int:
        raise CanonicalError(
            f"got the integer {value} at {where}, expected one below 2**53; send it as a string"
        )
    elif isinstance(value, float):
        raise CanonicalError(
            f"got the float {value!r} at {where}, expected an integer or a string; send money in minor units"
        )
    else:
        raise CanonicalError(f"got a {type(value).__name__} at {where}, expected JSON types")

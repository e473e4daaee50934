"""What is known of a term of a policy while one parameter moves: a value, a line, or that it is not understood.

Rules upheld here: moments and durations are milliseconds; what has no exact reading is `Sort.STILL` where it cannot
move and `Sort.VARIES` where it can. Not here: reading expressions (`space_points.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias, TypeGuard

from jurat.schemas.canonical import JsonValue

MILLISECOND: Final = timedelta(milliseconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
DAY_MS: Final = UNITS_MS["d"]
_DURATION = re.compile(r"-?(?=\d)(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+s)?(?:\d+ms)?")


class Sort(Enum):
    """What is known of a term that is not a plain value.

    Attributes:
        STILL: it does not move with the parameter; its value is not worked out.
        STEP: a truth that changes at the points that were noted, and nowhere else.
        VARIES: it moves with the parameter, and how is not understood.
        TEXT: the parameter itself, where that is a text.
    """

    STILL = "still"
    STEP = "step"
    VARIES = "varies"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Line:
    """`(slope * parameter + offset) / divisor`, cut towards zero."""

    slope: int
    offset: int
    divisor: int = 1


Term: TypeAlias = "bool | int | str | Line | Sort | tuple[Term, ...] | dict[str, Term]"


def decoded(value: JsonValue) -> Term:
    """A value of a normalised input as a term: dates and durations as milliseconds."""
    match value:
        case bool() | int() | str():
            return value
        case list():
            return tuple([decoded(item) for item in value])
        case {"__extn": {"fn": str(kind), "arg": str(text)}}:
            return literal(kind, text)
        case dict():
            return {name: decoded(item) for name, item in value.items()}
    return Sort.STILL


def literal(kind: str, text: str) -> Term:
    """A datetime or a duration that Cedar writes as a text, in milliseconds."""
    if kind == "duration" and _DURATION.fullmatch(text):
        parts = re.findall(r"(\d+)(ms|[dhms])", text)
        whole = sum(int(number) * UNITS_MS[unit] for number, unit in parts)
        return -whole if text.startswith("-") else whole
    if kind == "datetime":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return Sort.STILL
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (zoned - EPOCH) // MILLISECOND
    return Sort.STILL


def is_integer(term: Term) -> TypeGuard[int]:
    """Tell whether a term is a plain integer."""
    return isinstance(term, int) and not isinstance(term, bool)


def is_truth(term: Term) -> bool:
    """Tell whether a term is a truth that is understood."""
    return isinstance(term, bool) or term in (Sort.STEP, Sort.STILL)


def cut(value: int, divisor: int) -> int:
    """Divide as Cedar does, towards zero."""
    whole = abs(value) // divisor
    return -whole if value < 0 else whole


def line(term: Term) -> Line | None:
    """A number as a line, flat where it does not move; None for everything else."""
    if isinstance(term, Line):
        return term
    return Line(0, term) if is_integer(term) else None


def moves(term: Term) -> bool:
    """Tell whether a term moves with the parameter."""
    if isinstance(term, tuple):
        return any(moves(item) for item in term)
    if isinstance(term, dict):
        return any(moves(item) for item in term.values())
    return isinstance(term, Line) or term in (Sort.VARIES, Sort.STEP, Sort.TEXT)


def negated(term: Term) -> Term:
    """What is known of the opposite of a truth."""
    return not term if isinstance(term, bool) else term


def joined(*terms: Term) -> Term:
    """What is known of a truth that several truths make up."""
    if Sort.VARIES in terms or any(not is_truth(term) for term in terms):
        return Sort.VARIES
    if Sort.STEP in terms:
        return Sort.STEP
    return Sort.STILL if Sort.STILL in terms else terms[-1]

"""The action space in words, for people and for prompts, and as JSON for programs.

Rules upheld here: a refusal is told with the titles that its policies have, so that who reads the space learns the rule
and not only the number; what is not known is said to be checked afterwards. Not here: finding the space
(`action_space.py`), the schema for structured output (`action_schema.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Final

import orjson

from jurat.agents.action_axes import EDGES
from jurat.agents.action_space import ActionSpace
from jurat.policies.space import ORDERED, AnythingElse, Kind, Only, ParameterSpace, Range, Span, Value
from jurat.policies.space_terms import EPOCH, MILLISECOND, UNITS_MS
from jurat.schemas.canonical import JsonObject, JsonValue
from jurat.schemas.decision import Verdict

_INDENT: Final = "  "
_AFTERWARDS: Final = "checked afterwards"


def lines(space: ActionSpace) -> Iterator[str]:
    """One action's space, line by line."""
    offered = "" if space.is_offered else " (not offered)"
    yield f"{space.name}: {space.action.title}{offered}"
    if space.judgement is None:
        yield f"{_INDENT}{'deny' if space.is_barred else _AFTERWARDS}: {space.why}"
        return
    if not space.parameters:
        span = Span(
            of=AnythingElse(),
            verdict=space.judgement.verdict,
            policies=space.judgement.policies,
            reasons=space.judgement.reasons,
            approvers=space.judgement.approvers,
            errors=space.judgement.errors,
        )
        yield f"{_INDENT}{_said(span)}"
    for parameter in space.parameters:
        others = {name: value for name, value in (space.base or {}).items() if name != parameter.name}
        with_others = f", with {_shown(others)}" if others else ""
        yield f"{_INDENT}{parameter.name}{with_others}"
        width = max(len(_values(parameter, span)) for span in parameter.spans)
        for span in parameter.spans:
            yield f"{_INDENT * 2}{_values(parameter, span):<{width}}  {_said(span)}"
        if parameter.opaque:
            yield f"{_INDENT * 2}only checked afterwards: {', '.join(parameter.opaque)}"


def to_json(space: ActionSpace) -> JsonObject:
    """One action's space as JSON; moments and durations in milliseconds, as on their axes."""
    judgement = space.judgement
    return {
        "action": space.name,
        "title": space.action.title,
        "offered": space.is_offered,
        "base": space.base,
        "verdict": None if judgement is None else judgement.verdict.value,
        "policies": [] if judgement is None else [*judgement.policies],
        "parameters": [
            {
                "name": parameter.name,
                "kind": parameter.kind.value,
                "spans": [_span_json(span) for span in parameter.spans],
                "moves": [*parameter.moves],
                "opaque": [*parameter.opaque],
            }
            for parameter in space.parameters
        ],
    }


def _span_json(span: Span) -> JsonObject:
    of: JsonObject
    match span.of:
        case Range(low, high):
            of = {"from": low, "to": high}
        case Only(value):
            of = {"value": value}
        case AnythingElse():
            of = {"anything_else": True}
    return {
        **of,
        "verdict": None if span.verdict is None else span.verdict.value,
        "policies": [*span.policies],
        "reasons": [*span.reasons],
        "approvers": [*span.approvers],
        "firm": span.firm,
    }


def _said(span: Span) -> str:
    match span.verdict:
        case None:
            return _AFTERWARDS
        case Verdict.ALLOW:
            verdict = "allow"
        case Verdict.ESCALATE:
            verdict = f"escalate({', '.join(span.approvers)})"
        case Verdict.DENY:
            verdict = "deny"
    if not span.policies:
        return f"{verdict}: {'; '.join(dict.fromkeys([*span.reasons, *span.errors]))}"
    told = [f"{reason} [{id_}]" for id_, reason in zip(span.policies, span.reasons, strict=True)]
    return f"{verdict}: {'; '.join(told)}"


def _values(parameter: ParameterSpace, span: Span) -> str:
    match span.of:
        case AnythingElse():
            return "any" if len(parameter.spans) == 1 else "anything else"
        case Only(value):
            return _value(parameter.kind, value)
        case Range(low, high):
            first, last = EDGES[parameter.kind]
            shown_low, shown_high = _value(parameter.kind, low), _value(parameter.kind, high)
            if low == first:
                return "any" if high == last else f"up to {shown_high}"
            if high == last:
                return f"from {shown_low}"
            return shown_low if low == high else f"{shown_low} to {shown_high}"


def _value(kind: Kind, value: Value) -> str:
    if value is None:
        return "none"
    if kind is Kind.MOMENT and isinstance(value, int):
        moment = (EPOCH + value * MILLISECOND).astimezone(UTC).replace(tzinfo=None)
        return f"{moment.isoformat(timespec='milliseconds').removesuffix('.000')}Z"
    if kind is Kind.DURATION and isinstance(value, int):
        return duration_text(value)
    return str(value) if kind in ORDERED else orjson.dumps(value).decode()


def duration_text(milliseconds: int) -> str:
    """A duration as Cedar writes it, for example `1d12h`."""
    parts, rest = [], abs(milliseconds)
    for unit, length in UNITS_MS.items():
        count, rest = divmod(rest, length)
        parts += [f"{count}{unit}"] if count else []
    return f"{'-' if milliseconds < 0 else ''}{''.join(parts) or '0ms'}"


def _shown(values: JsonObject) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items())


def _text(value: JsonValue) -> str:
    return orjson.dumps(value).decode()

"""Requests that analysis found, in the form that people read and test with.

Rules upheld here: an example is printed as a case of `tests/*.yaml`, so that it can be pasted there; where an example
may be ordinary, it is. Not here: finding examples (`analysis.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from jurat.policies import smt
from jurat.policies.bundle_tests import DEFAULT_NOW, short_type
from jurat.policies.cedar_schema import USAGE
from jurat.policies.smt import Term
from jurat.policies.smt_literals import datetime_ms
from jurat.policies.smt_request import APPROVALS, UnknownRequest
from jurat.schemas.canonical import JsonObject, JsonValue


def preferences(request: UnknownRequest) -> Iterator[Term]:
    """What makes an example easier to read: few approvals, the cases' usual moment, and nothing negative."""
    approvals = request.sets[APPROVALS]
    yield request.nobody_approved
    yield from [smt.no(approvals.members.of(role)) for role in approvals.asked.values()]
    yield smt.equal(request.terms["context", "now"], smt.integer(datetime_ms(DEFAULT_NOW)))
    yield smt.equal(request.resource_id, smt.text("example-1"))
    yield smt.every(
        smt.at_most(smt.integer(0), term)
        for path, term in request.terms.items()
        if request.nodes[path].type == "Long"
    )


def as_case(request: JsonObject) -> dict[str, JsonValue]:
    """A recorded request as the fields of a case, apart from `name` and `expect`."""
    principal, action, resource = (_object(request[name]) for name in ("principal", "action", "resource"))
    context = {**_object(_plain(request["context"]))}
    entities = request["entities"]
    entity = _object(entities[0]) if isinstance(entities, list) else {}
    now, approvals = context.pop("now"), context.pop(APPROVALS[-1])
    usage = {USAGE: context.pop(USAGE)} if USAGE in context else {}
    return {
        "agent": principal["id"],
        "action": action["id"],
        "resource": {
            "type": short_type(str(resource["type"]), str(action["type"]).rpartition("::")[0]),
            "id": resource["id"],
            "attrs": _plain(entity.get("attrs", {})),
        },
        "context": context,
        "now": now,
        "approvals": approvals,
        **usage,
    }


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _plain(value: JsonValue) -> JsonValue:
    """Dates and durations as strings: the schema knows which strings are dates."""
    match value:
        case {"__extn": {"arg": arg}}:
            return arg
        case dict():
            return {name: _plain(below) for name, below in value.items()}
    return value

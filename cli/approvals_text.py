"""A request for approval in plain words, for the person who answers it.

Everything that came from outside is escaped: a request cannot steer the terminal that shows it, or fake a line of its
own. Money is printed with its currency, in the currency's own decimals.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from jurat.audit.keys import Trust
from jurat.schemas.approvals import ApprovalRequested
from jurat.schemas.shown import printable

DECIMALS: Final = 2
NO_DECIMALS: Final = " BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF "
THREE_DECIMALS: Final = " BHD IQD JOD KWD LYD OMR TND "
FOUR_DECIMALS: Final = " CLF UYW "
"""Currencies with other decimals than two. Source: ISO 4217, list one, column minor unit."""

OTHER_DECIMALS: Final = MappingProxyType(
    {
        currency: places
        for places, currencies in ((0, NO_DECIMALS), (3, THREE_DECIMALS), (4, FOUR_DECIMALS))
        for currency in currencies.split()
    }
)

MAX_VALUE_CHARS: Final = 500
"""A longer parameter is cut in what is shown; `--json` prints it whole."""


def money(amount_minor: int, currency: str) -> str:
    """An amount with its currency: `452.13 EUR`, `-3 JPY`."""
    places = OTHER_DECIMALS.get(currency, DECIMALS)
    whole, rest = divmod(abs(amount_minor), 10**places)
    fraction = f".{rest:0{places}d}" if places else ""
    return f"{'-' if amount_minor < 0 else ''}{whole}{fraction} {currency}"


def span(time: timedelta) -> str:
    """A length of time, in its two largest units: `2 d 3 h`, `12 min`, `40 s`."""
    seconds = max(int(time.total_seconds()), 0)
    parts = [
        (seconds // 86_400, "d"),
        (seconds // 3_600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    ]
    first = next((place for place, (count, _unit) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def parameter_lines(parameters: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
    """The parameters of an action, one a line, money with its currency."""
    currency = parameters.get("currency")
    amounts = {
        name
        for name, value in parameters.items()
        if name.endswith("_minor") and isinstance(value, int) and isinstance(currency, str)
    }
    for name, value in parameters.items():
        if name in amounts:
            yield f"{indent}{name.removesuffix('_minor')}: {money(value, str(currency))}"
        elif isinstance(value, dict) and value:
            yield f"{indent}{name}:"
            yield from parameter_lines(value, indent + "  ")
        elif not (amounts and name == "currency"):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
            yield f"{indent}{name}: {_cut(text)}"


def story(request: ApprovalRequested, *, now: datetime, trust: Trust | None) -> Iterator[str]:
    """The lines of `jurat approvals show`."""
    left = request.due_at - now
    until = f"in {span(left)}" if left > timedelta() else "over: no answer counts any more"
    yield f"Decision {request.decision_id}"
    yield f"The agent {request.agent} asks about {request.subject}, since {span(now - request.requested_at)}."
    yield f"An answer counts until {_moment(request.due_at)} ({until})."
    yield ""
    yield f"It would: {request.title} ({request.action})"
    yield f"  on {request.resource_type} {request.resource_id}"
    yield from parameter_lines(request.parameters)
    yield f"Proposed because: {request.rationale}"
    yield ""
    yield "Not without an approval, because:"
    for policy, reason in zip(request.policies, request.reasons, strict=False):
        yield f"  {reason} ({policy})"
    yield "Who may approve; each of these roles must:"
    for role in request.roles:
        yield f"  {role}{_people(role, trust)}"
    for granted in request.granted:
        yield f"Approved already as {granted}."
    yield ""
    yield f"Action {request.action_sha256}"
    yield f"Policies {request.policy_digest}"


def lines(request: ApprovalRequested, *, now: datetime, trust: Trust | None) -> Iterator[str]:
    """The story, escaped."""
    return (printable(line) for line in story(request, now=now, trust=trust))


def as_json(request: ApprovalRequested, *, now: datetime) -> str:
    """A request as a line of ASCII JSON, with its age in seconds."""
    said = request.model_dump(mode="json")
    return json.dumps({**said, "age_s": int((now - request.requested_at).total_seconds())})


def _people(role: str, trust: Trust | None) -> str:
    if trust is None:
        return ""
    names = sorted({one.approver for one in trust.approvers if role in one.roles})
    return f": {', '.join(names)}" if names else ": nobody whom this trust file names"


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"

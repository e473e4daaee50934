"""A world for the retention agent: accounts with a cause to leave, of which a trace was left months before.

Rules upheld here: the cause is drawn first and never shown; what is published of it half a year before is true in most
cases, missing in some and misleading in others, and some of it was told for another purpose; what an offer is worth
depends on the cause alone. Not here: running an agent (`score.py`).

The truth, chosen before any agent was run: without an offer 70 % of accounts with a drop, 80 % before a renewal
and 10 % of those who asked to end stay. An offer that mends the cause keeps 25 of a hundred more, another offer 4;
a discount keeps one more for each percent where the price is the cause, and 5 where it is not; an account without
a cause is bothered: 2 fewer stay. A call costs 80.00 to 150.00, a training 300.00, a discount its percent of a
year. Who closes down leaves whatever is offered. A step that was not allowed, or needs a person, is no offer.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from jurat.agents.agent import Action, Situation
from jurat.agents.retention import (
    RETENTION,
    CallBy,
    LeaveAlone,
    LetGo,
    OfferCall,
    OfferDiscount,
    OfferTraining,
)
from jurat.schemas.model import Event, Money
from jurat.schemas.subscriptions import (
    AccountStanding,
    CancellationRequested,
    CancelReason,
    ContactChange,
    ContactChanged,
    IndustryDeclared,
    OnboardingTicketRaised,
    Purpose,
    RenewalApproaching,
    UsageDropped,
)
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator_draws import Draws

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
LATER: Final = timedelta(days=240)
"""From when on accounts come to a decision; their traces lie 120 to 240 days before."""


class Cause(StrEnum):
    """Why an account would leave."""

    ONBOARDING = "onboarding"
    REGULATED = "regulated"
    PROMOTED = "promoted"
    LEFT = "left"
    PRICE = "price"
    CLOSING = "closing"
    NONE = "none"


TRACED: Final = (Cause.ONBOARDING, Cause.REGULATED, Cause.PROMOTED, Cause.LEFT)
MENDS: Final = {
    CallBy.ONBOARDING_SPECIALIST: Cause.ONBOARDING,
    CallBy.COMPLIANCE_OFFICER: Cause.REGULATED,
    CallBy.EXECUTIVE_SPONSOR: Cause.PROMOTED,
    CallBy.ACCOUNT_MANAGER: Cause.LEFT,
}
CALL_MINOR: Final = {
    CallBy.ACCOUNT_MANAGER: 8_000,
    CallBy.ONBOARDING_SPECIALIST: 10_000,
    CallBy.COMPLIANCE_OFFICER: 15_000,
    CallBy.EXECUTIVE_SPONSOR: 15_000,
}
TRAINING_MINOR: Final = 30_000
TOLD: Final = {
    Cause.PRICE: CancelReason.PRICE,
    Cause.ONBOARDING: CancelReason.TOO_HARD,
    Cause.CLOSING: CancelReason.CLOSING,
}


@dataclass(frozen=True)
class _Account:
    """The truth about one account."""

    name: str
    cause: Cause
    yearly: int
    traces: tuple[tuple[datetime, Event], ...]
    at: datetime
    event: Event
    stays: int
    roll: int
    """Below how many of a thousand it has to come out for the account to stay: one draw, whatever is offered."""


def rule(situation: Situation[Any]) -> Action:
    """Ten percent off for who asks to end; the account manager calls after a drop and before a renewal."""
    event = situation.event
    if isinstance(event, CancellationRequested):
        return LetGo() if event.final else OfferDiscount(percent=10)
    if isinstance(event, UsageDropped):
        return OfferCall(role=CallBy.ACCOUNT_MANAGER) if event.drop_percent >= 40 else LeaveAlone()
    return OfferCall(role=CallBy.ACCOUNT_MANAGER) if event.days_to_renewal <= 60 else LeaveAlone()


def play(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    """The traces of all accounts, then one decision about each."""
    accounts = [_drawn(seed, number) for number in range(cases)]
    told = [trace for account in accounts for trace in account.traces]
    for at, event in sorted(told, key=lambda trace: trace[0]):
        yield Step(event, at)
    value = right = 0
    for account in sorted(accounts, key=lambda account: account.at):
        action = yield Step(account.event, account.at)
        more, cost = _worth(account, action)
        if account.roll < account.stays + more and not isinstance(action, LetGo):
            discount = action.percent if isinstance(action, OfferDiscount) else 0
            value += account.yearly * (100 - discount) // 100
        value -= cost
        right += _fits(account, action)
    return Tally(value_minor=value, cases=cases, right=right)


def _worth(account: _Account, action: Action | None) -> tuple[int, int]:
    """How many more of a thousand stay, and what the offer costs."""
    if account.cause is Cause.CLOSING:
        more = -1_000
    elif isinstance(action, OfferDiscount):
        more = 10 * action.percent if account.cause is Cause.PRICE else 50
    elif not isinstance(action, OfferCall | OfferTraining):
        more = 0
    elif account.cause is Cause.NONE:
        more = -20
    else:
        more = 250 if _fits(account, action) else 40
    if isinstance(action, OfferCall):
        return more, CALL_MINOR[action.role]
    return more, TRAINING_MINOR if isinstance(action, OfferTraining) else 0


def _fits(account: _Account, action: Action | None) -> bool:
    """Whether somebody who knows the cause would have done so."""
    match action:
        case OfferCall(role=role):
            return MENDS[role] is account.cause
        case OfferTraining():
            return account.cause is Cause.ONBOARDING
        case OfferDiscount():
            return account.cause is Cause.PRICE
    return account.cause in (Cause.CLOSING, Cause.NONE)


def _drawn(seed: int, number: int) -> _Account:
    draws = Draws(seed, f"account {number}")
    name = f"a-{seed}-{number}"
    cause = draws.weighted(
        (
            (Cause.ONBOARDING, 25),
            (Cause.LEFT, 20),
            (Cause.REGULATED, 15),
            (Cause.PRICE, 15),
            (Cause.PROMOTED, 10),
            (Cause.NONE, 10),
            (Cause.CLOSING, 5),
        )
    )
    at = START + LATER + timedelta(minutes=number)
    traces = tuple(
        (at - timedelta(days=draws.between(120, 239), seconds=number), _trace(name, one, draws))
        for one in TRACED
        if draws.happens(850 if one is cause else 120)
    )
    standing = AccountStanding(
        yearly=Money(
            amount_minor=100 * draws.weighted(((600, 30), (2_400, 40), (12_000, 25), (40_000, 5))),
            currency="EUR",
        ),
        seats_active=draws.between(20, 55) if cause is Cause.ONBOARDING else draws.between(40, 95),
        open_incidents=int(draws.happens(80)),
        contact_allowed=draws.happens(930),
    )
    kind = draws.weighted((("drop", 40), ("renewal", 35), ("cancel", 25)))
    event: Event
    if kind == "drop":
        event, stays = (
            UsageDropped(account_id=name, standing=standing, drop_percent=draws.between(30, 90)),
            700,
        )
    elif kind == "renewal":
        days = draws.between(20, 100)
        event, stays = RenewalApproaching(account_id=name, standing=standing, days_to_renewal=days), 800
    else:
        true = TOLD.get(cause, CancelReason.SWITCHING)
        reason = draws.weighted(((true, 60), (CancelReason.PRICE, 20), (CancelReason.UNSAID, 20)))
        event = CancellationRequested(
            account_id=name, standing=standing, reason=reason, final=draws.happens(150)
        )
        stays = 100
    return _Account(name, cause, standing.yearly.amount_minor, traces, at, event, stays, draws.below(1_000))


def _trace(name: str, cause: Cause, draws: Draws) -> Event:
    purpose = draws.weighted(((Purpose.RETENTION, 85), (Purpose.SUPPORT, 10), (Purpose.COMPLIANCE, 5)))
    match cause:
        case Cause.ONBOARDING:
            return OnboardingTicketRaised(account_id=name, severity=draws.between(2, 4), purpose=purpose)
        case Cause.REGULATED:
            industry = draws.pick(("banking", "health", "energy"))
            return IndustryDeclared(account_id=name, industry=industry, regulated=True, purpose=purpose)
    change = ContactChange.PROMOTED if cause is Cause.PROMOTED else ContactChange.LEFT
    return ContactChanged(
        account_id=name, contact_id=f"p-{name}", champion=True, change=change, purpose=purpose
    )


KEEPING: Final = World(
    name="retention",
    agent=RETENTION,
    rule=rule,
    rule_title="10 % off for who asks to end, else a call of the account manager",
    currency="EUR",
    play=play,
)

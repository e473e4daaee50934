"""A world for the dunning agent: renewals that fail for a reason, and customers who answer or do not.

Rules upheld here: why a renewal failed and when the account has money is drawn before anything is tried; an agent sees
the processor's code and the calendar. The world publishes what follows from a step: the charge's result, a new card, or
the agent's own timer when nobody answered; a runner has no timer to set. A step that was not allowed, or needs a
person, is taken on by one. Not here: running an agent (`score.py`).

The truth, chosen before any agent was run: an account without funds has them for three days after its payday, and
one in eight times otherwise; 55, 25 and 10 % answer the first, second and third request for a card; one account in
eight does not want to pay at all. What is recovered is worth the renewal and six more of them; a charge costs 10
cents, a letter 30, a person 25.00; each charge after the second and each letter after the first loses 2 % of
customers; days of grace cost a thirtieth of the renewal each.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from jurat.agents.agent import Action, Situation
from jurat.agents.dunning import (
    DUNNING,
    AskForNewCard,
    CancelSubscription,
    CloseCase,
    Downgrade,
    GrantGrace,
    PauseCollection,
    RetryRenewal,
    timers,
)
from jurat.agents.dunning_case import case_of
from jurat.agents.payment_retrier import ADVICE, FRAUD, METHOD, UNKNOWN
from jurat.schemas.decision import InputRef
from jurat.schemas.model import Event, Money
from jurat.schemas.subscriptions import CardUpdated, CareNeedDeclared, RenewalFailed, RenewalRecovered
from jurat.schemas.timers import TimerFired
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator_draws import Draws

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
MAX_EVENTS: Final = 40
"""Events of one account, after which a person takes it on: far more than any plan has steps."""

KEPT_RENEWALS: Final = 6
CHARGE_MINOR: Final = 10
LETTER_MINOR: Final = 30
PERSON_MINOR: Final = 2_500
SCHEDULE_HOURS: Final = (24, 72, 168)


class Why(StrEnum):
    """Why a renewal failed."""

    TECHNICAL = "technical"
    FUNDS = "funds"
    REFUSED = "refused"
    EXPIRED = "expired"
    STOLEN = "stolen"


CODES: Final = {
    Why.TECHNICAL: ("processor_timeout", "issuer_unavailable"),
    Why.FUNDS: ("insufficient_funds",),
    Why.REFUSED: ("do_not_honor", "generic_decline"),
    Why.EXPIRED: ("card_expired", "incorrect_number"),
    Why.STOLEN: ("stolen_card", "lost_card"),
}


@dataclass
class _Account:
    """The truth about one account."""

    name: str
    why: Why
    amount: int
    payday: int
    willing: bool
    care: bool
    tenure: int
    cheaper: bool
    draws: Draws
    failed_at: datetime
    charges: int = 0
    letters: int = 0
    events: int = 0
    new_card: bool = False
    waits: int = 0
    done: bool = False
    value: int = 0
    recovered: bool = False


Due = tuple[datetime, int, int, str]
"""When, an order among what is due at once, the account's number, and what: a kind, or a timer's name."""


def rule(situation: Situation[Any]) -> Action:
    """Retry after 1, 3 and 7 days, then ask for a card, a week of grace, and end; ask at once for a dead card."""
    case = case_of(situation)
    if case is None or not case.owed:
        return CloseCase()
    if case.new_card:
        return RetryRenewal(after_hours=1)
    dead = ADVICE.get(case.failure_code, UNKNOWN) in (METHOD, FRAUD)
    if not dead and case.failures <= len(SCHEDULE_HOURS):
        return RetryRenewal(after_hours=SCHEDULE_HOURS[case.failures - 1])
    if case.asks == 0:
        return AskForNewCard()
    return CancelSubscription() if case.grace_days else GrantGrace(days=7)


def play(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    """As many failed renewals as there are cases, to their ends."""
    accounts = [_drawn(seed, number) for number in range(cases)]
    due: list[Due] = []
    for number, account in enumerate(accounts):
        if account.care:
            heapq.heappush(due, (account.failed_at - timedelta(days=1), number, number, "care"))
        heapq.heappush(due, (account.failed_at, number, number, "failed"))
    order = len(accounts)
    while due:
        at, turn, number, what = heapq.heappop(due)
        account = accounts[number]
        kind, _, wait = what.partition(" ")
        if account.done or (wait and int(wait) != account.waits):
            continue  # it was answered, and what waited for silence is off
        event = _event(account, kind, at, where=turn)
        action = yield Step(event, at)
        if kind == "care":
            continue
        account.events += 1
        for when, then in _follows(account, action, event, at):
            heapq.heappush(due, (when, order, number, then))
            order += 1
    return Tally(
        value_minor=sum(account.value for account in accounts),
        cases=len(accounts),
        right=sum(account.recovered for account in accounts),
    )


def _event(account: _Account, kind: str, at: datetime, *, where: int) -> Event:
    money = Money(amount_minor=account.amount, currency="EUR")
    match kind:
        case "care":
            return CareNeedDeclared(account_id=account.name, needs_care=True)
        case "failed":
            return RenewalFailed(
                account_id=account.name,
                invoice_id=f"inv-{account.name}",
                amount=money,
                failure_code=CODES[account.why][account.charges % len(CODES[account.why])],
                tenure_months=account.tenure,
                cheaper_plan=account.cheaper,
            )
        case "recovered":
            return RenewalRecovered(account_id=account.name, invoice_id=f"inv-{account.name}", amount=money)
        case "card":
            account.new_card = True
            return CardUpdated(account_id=account.name)
    return TimerFired(
        agent=DUNNING.name,
        event_key=account.name,
        name=kind,
        due_at=at,
        set_by=InputRef(topic=DUNNING.topic, partition=0, offset=where),
    )


def _follows(
    account: _Account, action: Action | None, event: Event, at: datetime
) -> list[tuple[datetime, str]]:
    """What a step brings about."""
    account.waits += 1
    silence = [
        (when, f"{name} {account.waits}")
        for name, when in (timers(Situation(event=event, now=at), action) if action else {}).items()
    ]
    match action:
        case RetryRenewal(after_hours=hours):
            return [_charged(account, at + timedelta(hours=hours))]
        case AskForNewCard():
            return _asked(account, at) or silence
        case GrantGrace(days=days):
            account.value -= account.amount * days // 30
            return silence
        case PauseCollection():
            return silence
        case CloseCase():
            account.done = True
            return []
        case Downgrade():
            account.done = True
            if account.draws.happens(450 if account.willing else 100):
                account.value += account.amount * KEPT_RENEWALS // 2
            return []
        case CancelSubscription():
            account.done = True
            return []
    return _by_a_person(account)


def _charged(account: _Account, at: datetime) -> tuple[datetime, str]:
    account.charges += 1
    account.value -= CHARGE_MINOR
    if account.charges > 2 and account.draws.happens(20):
        account.willing = False
    if account.willing and account.draws.happens(_success(account, at)):
        account.recovered = True
        account.value += account.amount * (1 + KEPT_RENEWALS)
        return at, "recovered"
    account.new_card = False
    return at, "failed"


def _success(account: _Account, at: datetime) -> int:
    """How many of a thousand such charges go through."""
    if account.new_card:
        return 920
    match account.why:
        case Why.TECHNICAL:
            return 900
        case Why.FUNDS:
            flush = any((at - timedelta(days=back)).day == account.payday for back in range(3))
            return 800 if flush else 125
        case Why.REFUSED:
            return 250
    return 30 if account.why is Why.EXPIRED else 0


def _asked(account: _Account, at: datetime) -> list[tuple[datetime, str]]:
    account.letters += 1
    account.value -= LETTER_MINOR
    if account.letters > 1 and account.draws.happens(20):
        account.willing = False
    answers = (550, 250, 100)[min(account.letters, 3) - 1]
    if account.willing and account.draws.happens(answers):
        return [(at + timedelta(hours=1 + min(70, account.draws.wait(16))), "card")]
    return []


def _by_a_person(account: _Account) -> list[tuple[datetime, str]]:
    account.done = True
    account.value -= PERSON_MINOR
    if account.willing and account.draws.happens(500):
        account.recovered = True
        account.value += account.amount * (1 + KEPT_RENEWALS)
    return []


def _drawn(seed: int, number: int) -> _Account:
    draws = Draws(seed, f"renewal {number}")
    return _Account(
        name=f"a-{seed}-{number}",
        why=draws.weighted(
            (
                (Why.FUNDS, 40),
                (Why.EXPIRED, 20),
                (Why.TECHNICAL, 15),
                (Why.REFUSED, 15),
                (Why.STOLEN, 10),
            )
        ),
        amount=draws.weighted(((1_900, 40), (4_900, 35), (9_900, 18), (49_900, 7))),
        payday=draws.weighted(((1, 35), (15, 20), (25, 20), (draws.between(1, 28), 25))),
        willing=draws.happens(875),
        care=draws.happens(20),
        tenure=draws.below(60),
        cheaper=draws.happens(600),
        draws=Draws(seed, f"answers {number}"),
        failed_at=START + timedelta(days=1, minutes=draws.below(60 * 24 * 60)),
    )


RENEWALS: Final = World(
    name="dunning",
    agent=DUNNING,
    rule=rule,
    rule_title="retry after 1, 3 and 7 days, then ask for a card, give a week of grace, and end",
    currency="EUR",
    play=play,
)

"""The dunning agent: the recovery plan for a failed renewal, step by step over events and timers.

Rules upheld here: a plan is one step at a time, decided anew on what has happened since; every open case has a timer
that stands, so that silence is an event too; how often, how soon and whether a card may be charged at all, and what may
be taken from whom, stands in `policies/subscriptions/dunning.cedar`. Not here: charging, writing to the customer,
changing the subscription (who subscribes does), and what a case is (`dunning_case.py`).

| event | the case | the next step is decided |
| --- | --- | --- |
| `RenewalFailed` | opens, or counts one failure more | at once |
| `CardUpdated` | has a new card | at once |
| `RenewalRecovered` | is paid | it is closed |
| `TimerFired` | is as it was: nobody answered in time | at once |

While people are asked about a step, the case has a timer too: where they refuse or do not answer, a person takes it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from jurat.agents.agent import APPROVAL_WITHIN, Action, Agent, Candidate, Judged, Meanwhile, Signal, Situation
from jurat.agents.dunning_case import RESULT, DunningCase, DunningDesk, Ended, asked, case_of, desk_of
from jurat.agents.memory import Learned, Remembering
from jurat.agents.payment_retrier import ADVICE, FRAUD, FUNDS, METHOD, REFUSED, TECHNICAL, UNKNOWN
from jurat.policies.request import Entity, Facts
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Count, Event, Identifier, MinorUnits, Model
from jurat.schemas.subscriptions import CardUpdated, CareNeedDeclared, RenewalFailed, RenewalRecovered
from jurat.schemas.timers import TimerFired

MAX_HOURS: Final = 24 * 366
MAX_DAYS: Final = 366
"""What an action can say; what it may is the policies' to say. A year, so that no timer leaves the calendar."""

NEEDS_CARE: Final = "needs_care"
CARE: Final = "care"

ANSWER_HOURS: Final = 72
"""How long a customer has to answer: a weekend and a working day."""

RESULT_HOURS: Final = 48
"""How long after the planned charge its result is waited for: banks answer within a day, files within two."""

PEOPLE: Final = "people"
"""The timer that fires where people did not agree to a step, or not in time."""

PEOPLE_WITHIN: Final = APPROVAL_WITHIN + timedelta(hours=1)
"""After the end of the time that they have, so that their answer is in."""

GRACE_DAYS: Final = 7
PAUSE_DAYS: Final = 30
PAYDAYS: Final = (1, 15, 25)
"""Days of the month on which most salaries are paid."""

WAITS: Final = MappingProxyType(
    {TECHNICAL: (1, 6), FUNDS: (24, 72, 168), REFUSED: (48, 120), METHOD: (24,), FRAUD: (24,), UNKNOWN: (24,)}
)
"""Hours after which a retry is worth considering, by what the failure code suggests."""

POINTS: Final = MappingProxyType(
    {
        TECHNICAL: (75, 5),
        FUNDS: (55, 20),
        REFUSED: (30, 40),
        METHOD: (-60, 80),
        FRAUD: (-90, 70),
        UNKNOWN: (5, 35),
    }
)
"""Points for charging again, and for asking for another card."""


class Renewal(Entity):
    """The failed renewal as policies see it."""

    entity_type: ClassVar[str] = "Renewal"

    account_id: Identifier
    invoice_id: Identifier
    amount_minor: MinorUnits
    currency: str
    failure_code: str
    failures: Count
    days_open: Count
    asks: Count
    grace_days: Count
    in_grace: bool
    new_card: bool
    owed: bool
    cheaper_plan: bool
    crowded: bool
    needs_care: bool


class RenewalRetryFacts(Facts):
    """How long the retry waits."""

    after_hours: Count


class DaysFacts(Facts):
    """How many days are given."""

    days: Count


class CaseFacts(Facts):
    """All that matters is the case itself."""


class _OnRenewal(Action):
    """Base of what is done about a failed renewal."""

    resource: ClassVar[type[Entity]] = Renewal
    facts: ClassVar[type[Facts]] = CaseFacts


class RetryRenewal(_OnRenewal):
    """Charge the renewal again."""

    action_name: ClassVar[str] = "retry_renewal"
    title: ClassVar[str] = "Charge the renewal again later"
    facts: ClassVar[type[Facts]] = RenewalRetryFacts

    after_hours: Annotated[int, Field(ge=0, le=MAX_HOURS)]


class AskForNewCard(_OnRenewal):
    """Ask the customer for another way to pay."""

    action_name: ClassVar[str] = "ask_for_new_card"
    title: ClassVar[str] = "Ask the customer for another card"


class GrantGrace(_OnRenewal):
    """Leave the subscription as it is for some days."""

    action_name: ClassVar[str] = "grant_grace"
    title: ClassVar[str] = "Grant days of grace"
    facts: ClassVar[type[Facts]] = DaysFacts

    days: Annotated[int, Field(ge=0, le=MAX_DAYS)]


class PauseCollection(_OnRenewal):
    """Collect nothing for some days, from somebody who needs care."""

    action_name: ClassVar[str] = "pause_collection"
    title: ClassVar[str] = "Pause collection for a customer who needs care"
    facts: ClassVar[type[Facts]] = DaysFacts

    days: Annotated[int, Field(ge=0, le=MAX_DAYS)]


class Downgrade(_OnRenewal):
    """Move the account to the cheaper plan."""

    action_name: ClassVar[str] = "downgrade"
    title: ClassVar[str] = "Move the account to the cheaper plan"


class CancelSubscription(_OnRenewal):
    """End the subscription."""

    action_name: ClassVar[str] = "cancel_subscription"
    title: ClassVar[str] = "End the subscription"


class HandOver(_OnRenewal):
    """Give the case to a person, and leave it to them."""

    action_name: ClassVar[str] = "hand_over"
    title: ClassVar[str] = "Hand the case to a person"


class CloseCase(_OnRenewal):
    """Nothing is owed any more."""

    action_name: ClassVar[str] = "close_case"
    title: ClassVar[str] = "Close the case: nothing is owed"


ENDS: Final[Mapping[type[Action], Ended]] = MappingProxyType(
    {
        Downgrade: Ended.DOWNGRADED,
        CancelSubscription: Ended.CANCELLED,
        HandOver: Ended.HANDED_OVER,
        CloseCase: Ended.RECOVERED,
    }
)
"""The actions that end a case, and how."""


def judged(situation: Situation[Event], action: Action) -> Judged:
    """State the facts by which policies judge a step of the plan."""
    if isinstance(action, RetryRenewal):
        return Judged(_renewal(situation), RenewalRetryFacts(after_hours=action.after_hours))
    if isinstance(action, GrantGrace | PauseCollection):
        return Judged(_renewal(situation), DaysFacts(days=action.days))
    if isinstance(action, AskForNewCard | Downgrade | CancelSubscription | HandOver | CloseCase):
        return Judged(_renewal(situation), CaseFacts())
    raise ConfigurationError(f"dunning got the action {type(action).__name__}, expected one of its own")


def candidates(situation: Situation[Event]) -> tuple[Candidate, ...]:
    """Score the steps that make sense now."""
    case = case_of(situation)
    if case is None or not case.owed:
        return (Candidate(CloseCase(), (Signal("nothing is owed", 100),)),)
    if isinstance(situation.event, TimerFired) and situation.event.name == PEOPLE:
        return (Candidate(HandOver(), (Signal("people were asked and did not agree in time", 100),)),)
    again, ask = POINTS[ADVICE.get(case.failure_code, UNKNOWN)]
    care = Signal("needs care", -100, "customer_spared") if _needs_care(situation) else None
    found = [*_retries(situation, case, again)]
    found.append(
        Candidate(
            AskForNewCard(),
            (
                Signal(case.failure_code, 0 if case.new_card else ask, "recovered"),
                Signal("charges that failed", 10 * min(5, case.failures - 1), "recovered"),
                Signal("bothers the customer", -10 - 30 * min(4, case.asks), "customer_spared"),
            ),
        )
    )
    tried = 12 * min(5, case.failures) + 15 * min(3, case.asks) + 3 * min(21, case.grace_days)
    found.append(
        Candidate(
            GrantGrace(days=GRACE_DAYS),
            (
                Signal("years as a customer", min(20, case.tenure_months // 3), "customer_kept"),
                Signal("charges that failed", 12 * min(4, case.failures - 1), "customer_spared"),
                Signal("grace already given", -10 * min(21, case.grace_days), "recovered"),
            ),
        )
    )
    if case.cheaper_plan:
        found.append(Candidate(Downgrade(), (Signal("what was tried", tried - 70, "customer_kept"),)))
    found.append(Candidate(CancelSubscription(), (Signal("what was tried", tried - 85, "recovered"),)))
    if care is not None:
        harsh = (AskForNewCard, CancelSubscription, Downgrade, RetryRenewal)
        found = [
            Candidate(one.action, (*one.signals, care)) if isinstance(one.action, harsh) else one
            for one in found
        ]
        pause = Candidate(PauseCollection(days=PAUSE_DAYS), (Signal("needs care", 120, "customer_spared"),))
        found.append(pause)
    return tuple(found)


def effect(situation: Situation[Event], action: Action) -> Model:
    """The account with the case after the event and the step."""
    desk = desk_of(situation)
    return desk.model_copy(update={"case": desk.case and _after_step(desk.case, action, situation.now)})


def meanwhile(situation: Situation[Event], _action: Action) -> Meanwhile:
    """The case after the event alone, and the moment at which people have agreed to the step or not."""
    desk = asked(situation)
    owed = desk.case is not None and desk.case.owed
    return Meanwhile(desk, {PEOPLE: situation.now + PEOPLE_WITHIN} if owed else {})


def _after_step(case: DunningCase, action: Action, now: datetime) -> DunningCase:
    if isinstance(action, RetryRenewal):
        return case.model_copy(update={"new_card": False})
    if isinstance(action, AskForNewCard):
        return case.model_copy(update={"asks": case.asks + 1})
    if isinstance(action, GrantGrace):
        until = now + timedelta(days=action.days)
        return case.model_copy(update={"grace_days": case.grace_days + action.days, "grace_until": until})
    ended = ENDS.get(type(action))
    return case if ended is None or case.ended is not None else case.model_copy(update={"ended": ended})


def timers(situation: Situation[Event], action: Action) -> Mapping[str, datetime]:
    """The moment at which a step is over, whether or not somebody answers."""
    now = situation.now
    if isinstance(action, RetryRenewal):
        return {RESULT: now + timedelta(hours=action.after_hours + RESULT_HOURS)}
    if isinstance(action, AskForNewCard):
        return {"answer": now + timedelta(hours=ANSWER_HOURS)}
    if isinstance(action, GrantGrace):
        return {"grace": now + timedelta(days=action.days)}
    if isinstance(action, PauseCollection):
        return {"pause": now + timedelta(days=action.days)}
    return {}


def fallback(situation: Situation[Event]) -> Action:
    """Take nothing away: close what is paid, and give what is owed to a person."""
    case = case_of(situation)
    return HandOver() if case is not None and case.owed else CloseCase()


def declared(event: CareNeedDeclared, at: datetime) -> tuple[Learned, ...]:
    """Learn that a customer needs care, or no longer does."""
    return (Learned(NEEDS_CARE, True if event.needs_care else None, at, CARE),)


def _retries(situation: Situation[Event], case: DunningCase, points: int) -> list[Candidate]:
    kind = ADVICE.get(case.failure_code, UNKNOWN)
    fails = Signal("charges that failed", -18 * min(5, case.failures - 1), "recovered")
    if case.new_card:
        return [Candidate(RetryRenewal(after_hours=1), (Signal("a new card", 90, "recovered"), fails))]
    waits = WAITS[kind]
    if kind is FUNDS:
        waits = tuple(dict.fromkeys((*waits, _hours_to_payday(situation.now))))
    return [
        Candidate(
            RetryRenewal(after_hours=hours),
            (
                Signal(case.failure_code, points, "recovered"),
                Signal("payday", _payday(situation.now, hours) if kind is FUNDS else 0, "recovered"),
                Signal("waiting", -(hours // 24), "recovered"),
                fails,
            ),
        )
        for hours in waits
    ]


def _hours_to_payday(now: datetime) -> int:
    """Hours to the morning after the next payday, which is at most 17 days away."""
    for days in range(1, 32):
        if (now + timedelta(days=days - 1)).day in PAYDAYS:
            return days * 24
    raise ConfigurationError("got a month without a payday, expected one of PAYDAYS in every month")


def _payday(now: datetime, hours: int) -> int:
    """Points for a charge on the two days after a payday."""
    then = now + timedelta(hours=hours)
    return 20 if any((then - timedelta(days=back)).day in PAYDAYS for back in (1, 2)) else 0


def _needs_care(situation: Situation[Any]) -> bool:
    return situation.memory.known(NEEDS_CARE) is not None


def _renewal(situation: Situation[Event]) -> Renewal:
    case, account, now = case_of(situation), situation.event.key(), situation.now
    if case is None:
        return Renewal(
            id=account, account_id=account, invoice_id="none", amount_minor=0, currency="XXX",
            failure_code="none", failures=0, days_open=0, asks=0, grace_days=0, in_grace=False, new_card=False,
            owed=False, cheaper_plan=False, crowded=False, needs_care=_needs_care(situation),
        )  # fmt: skip
    return Renewal(
        id=case.invoice_id,
        account_id=account,
        invoice_id=case.invoice_id,
        amount_minor=case.amount_minor,
        currency=case.currency,
        failure_code=case.failure_code,
        failures=case.failures,
        days_open=max(0, (now - case.opened_at).days),
        asks=case.asks,
        grace_days=case.grace_days,
        in_grace=case.grace_until is not None and now < case.grace_until,
        new_card=case.new_card,
        owed=case.owed,
        cheaper_plan=case.cheaper_plan,
        crowded=case.crowded,
        needs_care=_needs_care(situation),
    )


DUNNING: Agent[Event] = Agent(
    name="dunning",
    listens={"subscriptions.billing": (RenewalFailed, RenewalRecovered, CardUpdated)},
    subject=lambda event: event.key(),
    actions=(
        RetryRenewal,
        AskForNewCard,
        GrantGrace,
        PauseCollection,
        Downgrade,
        CancelSubscription,
        HandOver,
        CloseCase,
    ),
    bundle="subscriptions",
    judged=judged,
    candidates=candidates,
    state_model=DunningDesk,
    effect=effect,
    timers=timers,
    meanwhile=meanwhile,
    fallback=fallback,
    remembers=Remembering(from_events={CareNeedDeclared: declared}),
)

"""The retention agent: an intervention for this account, from what is remembered of it.

Rules upheld here: why an account would leave is mostly learned long before it does (a hard start, a regulated industry,
a champion who rose or went), so it is remembered; every offer names the facts that it rests on, its grounds, and a fact
that was given for another purpose scores nothing; what may be a ground, and what may be offered, stands in
`policies/subscriptions/retention.cedar`. Not here: calling, and changing the price.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.agents.memory import Learned, Remembering
from jurat.policies.request import Entity, Facts
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Count, Identifier, MinorUnits, Percent
from jurat.schemas.subscriptions import (
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

ONBOARDING: Final = "onboarding_trouble"
REGULATED: Final = "regulated_industry"
PROMOTED: Final = "champion_promoted"
LEFT: Final = "champion_left"
OFFERED: Final = "last_offer"

CAUSES: Final = (ONBOARDING, REGULATED, PROMOTED, LEFT)
"""The facts that speak about why an account might leave."""

MAX_GROUNDS: Final = 5
"""Facts that one offer rests on: more than there are causes is no reasoning."""

NO_RENEWAL_DAYS: Final = 100_000
"""Stands for a renewal that is not near; policies compare numbers, and have no word for never."""

GROUND_DAYS: Final = 730
"""Facts that are older score nothing: people, rules and products have changed since."""

DISCOUNTS: Final = (10, 15, 20)
"""Percent that are worth considering."""


class CallBy(StrEnum):
    """Who calls."""

    ACCOUNT_MANAGER = "account_manager"
    ONBOARDING_SPECIALIST = "onboarding_specialist"
    COMPLIANCE_OFFICER = "compliance_officer"
    EXECUTIVE_SPONSOR = "executive_sponsor"


CALL_ABOUT: Final = MappingProxyType(
    {
        CallBy.ONBOARDING_SPECIALIST: ONBOARDING,
        CallBy.COMPLIANCE_OFFICER: REGULATED,
        CallBy.EXECUTIVE_SPONSOR: PROMOTED,
        CallBy.ACCOUNT_MANAGER: LEFT,
    }
)
"""The cause that each of them can mend."""

CALL_COST: Final = MappingProxyType(
    {
        CallBy.ACCOUNT_MANAGER: -10,
        CallBy.ONBOARDING_SPECIALIST: -15,
        CallBy.COMPLIANCE_OFFICER: -20,
        CallBy.EXECUTIVE_SPONSOR: -20,
    }
)

Grounds = Annotated[tuple[Identifier, ...], Field(max_length=MAX_GROUNDS)]


class KeptAccount(Entity):
    """The account and what it does, as policies see it."""

    entity_type: ClassVar[str] = "KeptAccount"

    account_id: Identifier
    yearly_minor: MinorUnits
    currency: str
    seats_active: Percent
    open_incidents: Count
    contact_allowed: bool
    cancelling: bool
    final: bool
    drop_percent: Percent
    days_to_renewal: Count


class OfferFacts(Facts):
    """What an offer rests on: how many of its grounds may not be used, and the age of the oldest."""

    grounds_unknown: Count
    grounds_of_other_purpose: Count
    oldest_ground_days: Count


class CallFacts(OfferFacts):
    """Who would call."""

    role: str
    on_regulated_industry: bool


class DiscountFacts(OfferFacts):
    """What would be given up within a year."""

    percent: Percent
    discount_minor: MinorUnits


class RestFacts(Facts):
    """All that matters is the account itself."""


class OfferCall(Action):
    """Somebody calls the account."""

    action_name: ClassVar[str] = "offer_call"
    title: ClassVar[str] = "Offer a call"
    resource: ClassVar[type[Entity]] = KeptAccount
    facts: ClassVar[type[Facts]] = CallFacts

    role: CallBy
    grounds: Grounds = ()


class OfferDiscount(Action):
    """The account pays less for a year."""

    action_name: ClassVar[str] = "offer_discount"
    title: ClassVar[str] = "Offer a discount for a year"
    resource: ClassVar[type[Entity]] = KeptAccount
    facts: ClassVar[type[Facts]] = DiscountFacts

    percent: Percent
    grounds: Grounds = ()


class OfferTraining(Action):
    """The account's people are taught."""

    action_name: ClassVar[str] = "offer_training"
    title: ClassVar[str] = "Offer a training"
    resource: ClassVar[type[Entity]] = KeptAccount
    facts: ClassVar[type[Facts]] = OfferFacts

    grounds: Grounds = ()


class LeaveAlone(Action):
    """Nothing is offered now."""

    action_name: ClassVar[str] = "leave_alone"
    title: ClassVar[str] = "Leave the account alone"
    resource: ClassVar[type[Entity]] = KeptAccount
    facts: ClassVar[type[Facts]] = RestFacts


class LetGo(Action):
    """The subscription ends as the account asked."""

    action_name: ClassVar[str] = "let_go"
    title: ClassVar[str] = "Let the account go"
    resource: ClassVar[type[Entity]] = KeptAccount
    facts: ClassVar[type[Facts]] = RestFacts


Risk = UsageDropped | RenewalApproaching | CancellationRequested
"""The events that are decided; all others are learned from."""


def judged(situation: Situation[Risk], action: Action) -> Judged:
    """State the facts by which policies judge an intervention."""
    account = _account(situation.event)
    if isinstance(action, OfferCall):
        facts = CallFacts(
            role=action.role.value,
            on_regulated_industry=REGULATED in action.grounds,
            **_grounds(situation, action.grounds),
        )
        return Judged(account, facts)
    if isinstance(action, OfferDiscount):
        return Judged(
            account,
            DiscountFacts(
                percent=action.percent,
                discount_minor=account.yearly_minor * action.percent // 100,
                **_grounds(situation, action.grounds),
            ),
        )
    if isinstance(action, OfferTraining):
        return Judged(account, OfferFacts(**_grounds(situation, action.grounds)))
    if isinstance(action, LeaveAlone | LetGo):
        return Judged(account, RestFacts())
    raise ConfigurationError(f"retention got the action {type(action).__name__}, expected one of its own")


def candidates(situation: Situation[Risk]) -> tuple[Candidate, ...]:
    """Score a call by each, a training, discounts, and no offer."""
    event = situation.event
    reason = event.reason if isinstance(event, CancellationRequested) else None
    risk = Signal("how near the end is", _risk(event), "revenue_kept")
    worth = Signal("what the account pays", _worth(event), "revenue_kept")
    known = {name for name in CAUSES if usable(situation, name)}
    found = [
        Candidate(
            OfferCall(role=role, grounds=(about,) if about in known else ()),
            (
                Signal(about, 60 if about in known else -25, "cause_mended"),
                Signal("what the call takes", CALL_COST[role], "cost"),
                Signal("asked to end", -15 if reason is CancelReason.PRICE else 0, "cause_mended"),
                *((Signal("offered before", -60),) if _offered(situation, role.value) else ()),
                risk,
                worth,
            ),
        )
        for role, about in CALL_ABOUT.items()
        if about in known or role is not CallBy.COMPLIANCE_OFFICER
    ]
    idle = max(0, 60 - event.standing.seats_active) // 2
    found.append(
        Candidate(
            OfferTraining(grounds=(ONBOARDING,) if ONBOARDING in known else ()),
            (
                Signal(ONBOARDING, 35 if ONBOARDING in known else -25, "cause_mended"),
                Signal("seats that nobody uses", idle, "cause_mended"),
                Signal("too hard", 45 if reason is CancelReason.TOO_HARD else 0, "cause_mended"),
                Signal("what a training takes", -30, "cost"),
                *((Signal("offered before", -60),) if _offered(situation, "training") else ()),
                risk,
                worth,
            ),
        )
    )
    found += [
        Candidate(
            OfferDiscount(percent=percent),
            (
                Signal("price is the reason", _price(reason, percent), "cause_mended"),
                Signal("another cause is known", -30 if known else 0, "cause_mended"),
                Signal("what the discount takes", -2 * percent, "cost"),
                risk,
            ),
        )
        for percent in DISCOUNTS
    ]
    if isinstance(event, CancellationRequested):
        own_word = 200 if event.final else 60 if reason is CancelReason.CLOSING else -45
        found.append(Candidate(LetGo(), (Signal("the account's own word", own_word),)))
    else:
        found.append(Candidate(LeaveAlone(), (Signal("offers annoy", 15),)))
    return tuple(found)


def fallback(situation: Situation[Risk]) -> Action:
    """Offer nothing: what was asked for is done, and what was not is left."""
    return LetGo() if isinstance(situation.event, CancellationRequested) else LeaveAlone()


def usable(situation: Situation[Any], name: str) -> bool:
    """Whether a fact stands that was given for this purpose and is not too old."""
    fact = situation.memory.known(name)
    return (
        fact is not None
        and fact.purpose == Purpose.RETENTION
        and (situation.now - fact.since).days <= GROUND_DAYS
    )


def onboarding(event: OnboardingTicketRaised, at: datetime) -> tuple[Learned, ...]:
    """Learn of trouble that was more than a question."""
    if event.severity < 2:
        return ()
    return (Learned(ONBOARDING, event.severity, at, event.purpose.value),)


def contact(event: ContactChanged, at: datetime) -> tuple[Learned, ...]:
    """Learn what became of the champion; a new one makes good for one who left."""
    if not event.champion:
        return ()
    match event.change:
        case ContactChange.PROMOTED:
            return (Learned(PROMOTED, event.contact_id, at, event.purpose.value),)
        case ContactChange.LEFT:
            return (
                Learned(LEFT, event.contact_id, at, event.purpose.value),
                Learned(PROMOTED, None, at, event.purpose.value),
            )
        case ContactChange.JOINED:
            return (Learned(LEFT, None, at, event.purpose.value),)


def industry(event: IndustryDeclared, at: datetime) -> tuple[Learned, ...]:
    """Learn whether the account is supervised."""
    return (Learned(REGULATED, event.industry if event.regulated else None, at, event.purpose.value),)


def offered(situation: Situation[Any], action: Action) -> tuple[Learned, ...]:
    """Remember what was offered last, so that the next offer is another one."""
    if isinstance(action, OfferCall):
        said = action.role.value
    elif isinstance(action, OfferTraining):
        said = "training"
    elif isinstance(action, OfferDiscount):
        said = "discount"
    else:
        return ()
    return (Learned(OFFERED, said, situation.now, Purpose.RETENTION.value),)


def _offered(situation: Situation[Any], what: str) -> bool:
    last = situation.memory.known(OFFERED)
    return last is not None and last.value == what


def _grounds(situation: Situation[Any], grounds: tuple[str, ...]) -> dict[str, int]:
    facts = [situation.memory.known(name) for name in grounds]
    standing = [fact for fact in facts if fact is not None]
    return {
        "grounds_unknown": len(facts) - len(standing),
        "grounds_of_other_purpose": sum(fact.purpose != Purpose.RETENTION for fact in standing),
        "oldest_ground_days": max(
            (max(0, (situation.now - fact.since).days) for fact in standing), default=0
        ),
    }


def _risk(event: Risk) -> int:
    if isinstance(event, CancellationRequested):
        return 10
    if isinstance(event, UsageDropped):
        return event.drop_percent // 3 - 10
    return 5 if event.days_to_renewal <= 60 else -15


def _worth(event: Risk) -> int:
    """A small account cannot bear a costly offer: -30 below 500.00 a year, up to 20 at 20,000.00."""
    yearly = max(0, event.standing.yearly.amount_minor)
    return max(-30, min(20, yearly // 40_000 - 30))


def _price(reason: CancelReason | None, percent: int) -> int:
    return 60 + percent if reason is CancelReason.PRICE else -10


def _account(event: Risk) -> KeptAccount:
    standing = event.standing
    return KeptAccount(
        id=event.account_id,
        account_id=event.account_id,
        yearly_minor=standing.yearly.amount_minor,
        currency=standing.yearly.currency,
        seats_active=standing.seats_active,
        open_incidents=standing.open_incidents,
        contact_allowed=standing.contact_allowed,
        cancelling=isinstance(event, CancellationRequested),
        final=isinstance(event, CancellationRequested) and event.final,
        drop_percent=event.drop_percent if isinstance(event, UsageDropped) else 0,
        days_to_renewal=event.days_to_renewal if isinstance(event, RenewalApproaching) else NO_RENEWAL_DAYS,
    )


RETENTION: Agent[Risk] = Agent(
    name="retention",
    listens={"subscriptions.accounts": (UsageDropped, RenewalApproaching, CancellationRequested)},
    subject=lambda event: event.account_id,
    actions=(OfferCall, OfferDiscount, OfferTraining, LeaveAlone, LetGo),
    bundle="subscriptions",
    judged=judged,
    candidates=candidates,
    fallback=fallback,
    remembers=Remembering(
        from_events={
            OnboardingTicketRaised: onboarding,
            ContactChanged: contact,
            IndustryDeclared: industry,
        },
        from_decisions=offered,
    ),
)

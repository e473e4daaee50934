"""The promise negotiator: a personal delivery commitment, talked about, against a zone's ledger of capacity.

Rules upheld here: what is offered is held until the offer ends, and what is promised is what the customer has agreed to
in time; a report that cuts capacity withdraws offers, never promises, and a shortage is told as such; who may be
offered what stands in `policies/promises`. Not here: the ledger (`promise_ledger.py`), what to offer
(`promise_talks.py`), and telling the customer, which is the business of who reads the decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.agents.promise_actions import (
    CapacityFacts,
    ChangeNothing,
    CommitFacts,
    CommitPromise,
    DeclineFacts,
    DeclinePromise,
    DeliveryZone,
    NoteCapacity,
    NothingFacts,
    OfferFacts,
    OfferPromise,
    PromiseRequest,
    ReleaseFacts,
    ReleaseOffers,
    ReportShortage,
)
from jurat.agents.promise_ledger import (
    OFFER_STANDS,
    Offer,
    Slot,
    Wanted,
    ZoneLedger,
    needless,
    over,
    slots_after,
    to_withdraw,
)
from jurat.agents.promise_talks import countered, first_offers
from jurat.schemas.commerce_promises import (
    CapacityReported,
    DeliveryPromiseRequested,
    PromiseAnswer,
    PromiseAnswered,
)
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Model
from jurat.schemas.timers import TimerFired

Input: TypeAlias = DeliveryPromiseRequested | PromiseAnswered | CapacityReported | TimerFired

MINUTE: Final = timedelta(minutes=1)

NEVER_REPORTED: Final = 1_000_000
"""Minutes that stand for a zone without a report: policies compare numbers, and have no word for never."""

APPROVAL_WITHIN: Final = timedelta(minutes=30)
"""The customer waits meanwhile; a dispatcher is at the desk or is not."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What an input is about.

    Attributes:
        wanted: the request; None where the input is about none, or about one that nothing is known of.
        offer: what stands for it.
        open: whether it was asked for and has not ended.
        answer: the answer, where it is to the offer that stands, and in time.
        asked: whether the customer waits for an offer.
    """

    wanted: Wanted | None = None
    offer: Offer | None = None
    open: bool = False
    answer: PromiseAnswered | None = None
    asked: bool = False

    @property
    def accepted(self) -> bool:
        return self.answer is not None and self.answer.answer is PromiseAnswer.ACCEPTED

    def agreed(self, slot_id: str, fee_minor: int) -> bool:
        """Whether the customer has agreed to this slot at this fee."""
        answer, offer = self.answer, self.offer
        if answer is None or offer is None or answer.answer is PromiseAnswer.DECLINED:
            return False
        if self.accepted:
            return (offer.slot_id, offer.fee_minor) == (slot_id, fee_minor)
        return (answer.slot_id or offer.slot_id, answer.fee_minor) == (slot_id, fee_minor)


def judged(situation: Situation[Input], action: Action) -> Judged:
    """State the facts by which policies judge an action."""
    case = situation.once(_case)
    match action:
        case OfferPromise():
            return Judged(_request(situation), _offer_facts(situation, action))
        case CommitPromise():
            facts = _offer_facts(situation, action)
            return Judged(
                _request(situation),
                CommitFacts(
                    **facts.model_dump(),
                    agreed=case.agreed(action.slot_id, action.fee_minor),
                    in_time=case.answer is not None,
                ),
            )
        case DeclinePromise():
            return Judged(
                _request(situation),
                DeclineFacts(spoken=case.asked or case.answer is not None, accepted=case.accepted),
            )
        case ReleaseOffers():
            due, named = set(_due(situation)), action.request_ids
            facts_of_end = ReleaseFacts(
                named=len(named),
                not_due=len(named) - len(due & set(named)),
                left_due=len(due - set(named)),
            )
            return Judged(_zone(situation), facts_of_end)
        case NoteCapacity() | ReportShortage():
            return Judged(_zone(situation), _capacity_facts(situation, action.withdrawn))
        case ChangeNothing():
            return Judged(_zone(situation), NothingFacts(owed=_owed(situation)))
    raise ConfigurationError(
        f"promise-negotiator got the action {type(action).__name__}, expected one of its own"
    )


def candidates(situation: Situation[Input]) -> tuple[Candidate, ...]:
    """Score what may be offered or agreed to; all else follows from the ledger."""
    event, case, ledger = situation.event, situation.once(_case), _ledger(situation)
    if isinstance(event, DeliveryPromiseRequested) and case.asked and case.wanted is not None:
        none = Candidate(DeclinePromise(), (Signal("nothing better can be offered", -100),))
        return (*first_offers(ledger, case.wanted, situation.now), none)
    if case.asked and case.answer is not None and case.offer is not None:
        return countered(ledger, case.offer, case.answer, situation.now)
    return (Candidate(_plain(situation), (Signal("it follows from the ledger", 100),)),)


def effect(situation: Situation[Input], action: Action) -> Model:
    """The ledger after an action."""
    ledger, case, event = _ledger(situation), situation.once(_case), situation.event
    match action:
        case OfferPromise() | CommitPromise() if case.wanted is not None:
            offer = Offer(
                wanted=case.wanted,
                slot_id=action.slot_id,
                fee_minor=action.fee_minor,
                round=1 + (case.offer.round if case.offer else 0),
                expires_at=situation.now + OFFER_STANDS,
            )
            return ledger.put(offer) if isinstance(action, OfferPromise) else ledger.promise(offer)
        case DeclinePromise() if case.wanted is not None:
            return ledger.end((case.wanted.request_id,))
        case ReleaseOffers():
            return ledger.end(action.request_ids)
        case NoteCapacity() | ReportShortage() if isinstance(event, CapacityReported):
            made_at = situation.occurred_at or situation.now
            return ledger.reported(event, now=situation.now, made_at=made_at, withdrawn=action.withdrawn)
    return ledger


def timers(situation: Situation[Input], action: Action) -> Mapping[str, datetime]:
    """The end of the offer that ends first, after the action."""
    after = effect(situation, action)
    return after.timers() if isinstance(after, ZoneLedger) else {}


def fallback(situation: Situation[Input]) -> Action:
    """What follows from the ledger: an accepted offer is kept; without a reasoner nothing new is offered."""
    return _plain(situation)


def _plain(situation: Situation[Input]) -> Action:
    event, case, ledger = situation.event, situation.once(_case), _ledger(situation)
    if isinstance(event, CapacityReported):
        slots = slots_after(ledger, event, now=situation.now)
        withdrawn = to_withdraw(slots, ledger.offers)
        short = any(slot.short for slot in slots)
        return ReportShortage(withdrawn=withdrawn) if short else NoteCapacity(withdrawn=withdrawn)
    if isinstance(event, TimerFired):
        due = _due(situation)
        return ReleaseOffers(request_ids=due) if due else ChangeNothing()
    if isinstance(event, DeliveryPromiseRequested):
        return DeclinePromise() if case.asked else ChangeNothing()
    if case.accepted and case.offer is not None:
        return CommitPromise(
            slot_id=case.offer.slot_id, fee_minor=case.offer.fee_minor, currency=ledger.currency
        )
    declined = case.answer is not None and case.answer.answer is PromiseAnswer.DECLINED
    return DeclinePromise() if declined else ChangeNothing()


def _due(situation: Situation[Input]) -> tuple[str, ...]:
    """The requests whose offers have run out; a timer is believed where its clock was ahead of this one."""
    event, now = situation.event, situation.now
    return _ledger(situation).due(max(now, event.due_at) if isinstance(event, TimerFired) else now)


def _owed(situation: Situation[Input]) -> bool:
    """Whether the input needs more than to change nothing; a counter-offer need not, as the offer stands."""
    event, case = situation.event, situation.once(_case)
    if isinstance(event, TimerFired):
        return bool(_due(situation))
    if isinstance(event, PromiseAnswered):
        return case.answer is not None and not case.asked
    return isinstance(event, CapacityReported) or case.asked


def _case(situation: Situation[Input]) -> _Case:
    event, ledger = situation.event, _ledger(situation)
    if isinstance(event, DeliveryPromiseRequested):
        offer = ledger.offer(event.request_id)
        fresh = event.request_id not in ledger.ended
        wanted = offer.wanted if offer else wanted_of(event)
        return _Case(wanted, offer, open=fresh, asked=fresh and offer is None)
    if isinstance(event, PromiseAnswered):
        offer = ledger.offer(event.request_id)
        if offer is None:
            return _Case()
        in_time = (situation.occurred_at or situation.now) <= offer.expires_at
        answer = event if in_time and event.to_round == offer.round else None
        asked = answer is not None and answer.answer is PromiseAnswer.COUNTERED
        return _Case(offer.wanted, offer, open=True, answer=answer, asked=asked)
    return _Case()


def _offer_facts(situation: Situation[Input], action: OfferPromise | CommitPromise) -> OfferFacts:
    case, ledger = situation.once(_case), _ledger(situation)
    name = case.wanted.request_id if case.wanted else ""
    slot, offer = ledger.slot(action.slot_id), case.offer
    discount = max(0, slot.tariff_minor - action.fee_minor) if slot else 0
    return OfferFacts(
        slot_id=action.slot_id,
        known=slot is not None,
        fee_minor=action.fee_minor,
        currency=action.currency,
        tariff_minor=slot.tariff_minor if slot else 0,
        discount_minor=discount,
        adds_discount_minor=max(0, discount - _discount_of(ledger, offer)),
        capacity=slot.capacity if slot else 0,
        free_after=ledger.room(slot, beside=name) - (case.wanted.units if case.wanted else 0) if slot else 0,
        minutes_to_start=(slot.starts_at - situation.now) // MINUTE if slot else 0,
        round=(1 if isinstance(action, OfferPromise) else 0) + (offer.round if offer else 0),
        other_offers=sum(one is not offer for one in ledger.offers),
        stands=offer is not None and (offer.slot_id, offer.fee_minor) == (action.slot_id, action.fee_minor),
        asked=case.asked,
    )


def _discount_of(ledger: ZoneLedger, offer: Offer | None) -> int:
    slot: Slot | None = ledger.slot(offer.slot_id) if offer else None
    return max(0, slot.tariff_minor - offer.fee_minor) if slot and offer else 0


def _capacity_facts(situation: Situation[Input], withdrawn: tuple[str, ...]) -> CapacityFacts:
    event, ledger = situation.event, _ledger(situation)
    if not isinstance(event, CapacityReported):
        return CapacityFacts(reported=False, needless=0, over_units=0, short_units=0)
    slots = slots_after(ledger, event, now=situation.now)
    left = tuple(offer for offer in ledger.offers if offer.request_id not in withdrawn)
    return CapacityFacts(
        reported=True,
        needless=needless(slots, ledger.offers, withdrawn),
        over_units=sum(over(slots, left).values()),
        short_units=sum(slot.short for slot in slots),
    )


def _request(situation: Situation[Input]) -> PromiseRequest:
    event, case, ledger = situation.event, situation.once(_case), _ledger(situation)
    wanted, at = case.wanted, ledger.reported_at
    return PromiseRequest(
        id=_subject(event),
        zone_id=event.key(),
        customer_id=wanted.customer_id if wanted else "",
        order_id=wanted.order_id if wanted else "",
        value_minor=wanted.value_minor if wanted else 0,
        currency=wanted.currency if wanted else "",
        tier=wanted.tier.value if wanted else "",
        units=wanted.units if wanted else 0,
        late_before=wanted.late_before if wanted else 0,
        zone_currency=ledger.currency,
        load_percent=ledger.load_percent,
        report_age_minutes=max(0, (situation.now - at) // MINUTE) if at else NEVER_REPORTED,
        open=case.open,
    )


def _zone(situation: Situation[Input]) -> DeliveryZone:
    ledger = _ledger(situation)
    return DeliveryZone(
        id=situation.event.key(), load_percent=ledger.load_percent, open_offers=len(ledger.offers)
    )


def wanted_of(event: DeliveryPromiseRequested) -> Wanted:
    """A request in numbers and kinds."""
    return Wanted(
        request_id=event.request_id,
        customer_id=event.customer_id,
        order_id=event.order_id,
        value_minor=event.value.amount_minor,
        currency=event.value.currency,
        tier=event.tier,
        units=event.units,
        wished_by=event.wished_by,
        late_before=event.late_before,
    )


def _ledger(situation: Situation[Input]) -> ZoneLedger:
    return situation.state if isinstance(situation.state, ZoneLedger) else ZoneLedger()


def _subject(event: Input) -> str:
    return event.request_id if isinstance(event, DeliveryPromiseRequested | PromiseAnswered) else event.key()


PROMISE_NEGOTIATOR: Agent[Input] = Agent(
    name="promise-negotiator",
    listens={"commerce.promises": (DeliveryPromiseRequested, PromiseAnswered, CapacityReported)},
    subject=_subject,
    actions=(
        OfferPromise,
        CommitPromise,
        DeclinePromise,
        ReleaseOffers,
        NoteCapacity,
        ReportShortage,
        ChangeNothing,
    ),
    bundle="promises",
    judged=judged,
    candidates=candidates,
    state_model=ZoneLedger,
    effect=effect,
    timers=timers,
    approval_within=APPROVAL_WITHIN,
    fallback=fallback,
)

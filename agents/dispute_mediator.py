"""The dispute mediator: settles a dispute between buyer and seller, has both agree, or asks for what is missing.

Rules upheld here: what the parties wrote is never read, neither by signals nor by policies, so nothing that
it says can matter; who may be paid what stands in `policies/shop/disputes.cedar`; a dispute is settled at
most once, which the agent's own state proves. The buyer's profile weighs in signals only. Not here: moving
the money, the offers of a settlement (`dispute_settlement.py`), the state (`dispute_desk.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias

from jurat.agents.agent import Action, Agent, Candidate, Judged, Lookup, Signal, Situation
from jurat.agents.dispute_actions import (
    AgreedFacts,
    AnswerFacts,
    DisputedOrder,
    EvidenceFacts,
    NoteAnswer,
    OfferFacts,
    OfferSettlement,
    PartialRefund,
    RefundBuyer,
    RefundFacts,
    ReleaseFacts,
    ReleaseToSeller,
    RequestEvidence,
    SettleAsAgreed,
)
from jurat.agents.dispute_desk import (
    ANSWER_WITHIN,
    TIMER,
    BuyerDesk,
    OpenOffer,
    answered,
    timer_name,
)
from jurat.agents.dispute_settlement import RIGHT, SPEED, ended, first_offer, talks
from jurat.agents.shop_views import CUSTOMERS, profile_of, standing_of
from jurat.schemas.commerce import CustomerProfile
from jurat.schemas.errors import ConfigurationError, InputRejected
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Party, SettlementAnswered
from jurat.schemas.model import Model
from jurat.schemas.timers import TimerFired

Input: TypeAlias = DisputeOpened | SettlementAnswered | TimerFired

DELIVERY_KINDS = frozenset(
    {"tracking_scan", "delivery_scan", "delivery_signature", "delivery_photo", "proof_of_delivery"}
)
"""Kinds of evidence that speak about the delivery itself, whoever hands them in."""

EVIDENCE_POINTS = 15
"""Points of one piece of evidence; three count at most, as the fourth photo shows what the third did."""

MAX_PIECES = 3

RETURN_DAYS = 30
"""A buyer who waits longer than this after the delivery has less of a case."""

CATEGORY_POINTS = MappingProxyType(
    {
        DisputeCategory.NOT_RECEIVED: (30, 0, 10),
        DisputeCategory.NOT_AS_DESCRIBED: (15, 0, 10),
        DisputeCategory.DAMAGED: (20, 0, 5),
        DisputeCategory.UNAUTHORISED: (20, -40, 5),
    }
)
"""Points for a full refund, a partial refund and a release, before anything is known.

Half is no middle way: one side is right as a rule, and half is then half wrong. It is chosen where the evidence is
evenly matched and nothing else is known.
"""


BOTH_HAVE_A_CASE: Final = 2
"""Pieces of evidence that each side needs for talks to be worth the days that they take."""


@dataclass(frozen=True, slots=True)
class _Case:
    """The dispute that an input is about, and its offer as it stands after the input."""

    order: DisputedOrder
    pieces_from: Mapping[Party, int]
    offer: OpenOffer | None
    stale: bool = False


def judged(situation: Situation[Input], action: Action) -> Judged:
    """State the facts by which policies judge a settlement."""
    case = situation.once(_case)
    order, offer = case.order, case.offer
    match action:
        case RefundBuyer() | PartialRefund():
            return Judged(order, RefundFacts(amount_minor=action.amount_minor, currency=action.currency))
        case ReleaseToSeller():
            return Judged(order, ReleaseFacts())
        case RequestEvidence():
            pieces = case.pieces_from.get(action.from_party, 0)
            return Judged(order, EvidenceFacts(from_party=action.from_party.value, pieces_from_party=pieces))
        case OfferSettlement():
            return Judged(
                order,
                OfferFacts(
                    amount_minor=action.amount_minor,
                    currency=action.currency,
                    round=1 + _desk(situation).rounds(order.id),
                    other_offers=len(_desk(situation).close(order.id).offers),
                ),
            )
        case SettleAsAgreed():
            return Judged(
                order,
                AgreedFacts(
                    amount_minor=action.amount_minor,
                    currency=action.currency,
                    offered_minor=offer.amount_minor if offer else 0,
                    buyer_accepts=offer is not None and offer.buyer_accepts,
                    seller_accepts=offer is not None and offer.seller_accepts,
                ),
            )
        case NoteAnswer():
            # When it has ended, waiting on would set a timer for now, each time that it fires.
            over = isinstance(situation.event, TimerFired) and not case.stale
            return Judged(order, AnswerFacts(offer_stands=offer is not None and not over))
    raise ConfigurationError(
        f"dispute-mediator got the action {type(action).__name__}, expected one of its own"
    )


def candidates(situation: Situation[Input]) -> tuple[Candidate, ...]:
    """Score what the evidence speaks for, or what follows in the talks."""
    event, case = situation.event, situation.once(_case)
    if case.stale or case.offer is None or isinstance(event, DisputeOpened):
        return (Candidate(NoteAnswer(), ()),) if case.stale else _on_evidence(situation, case)
    if isinstance(event, TimerFired):
        return (*ended(case.offer), *_on_evidence(situation, case))
    go_on = talks(case.offer, event)
    wait = Candidate(NoteAnswer(), (Signal("nothing else is left", -100),))
    return (*(go_on or (*ended(case.offer), *_on_evidence(situation, case))), wait)


def effect(situation: Situation[Input], action: Action) -> Model:
    """Remember what was settled and what is offered; asking for evidence ends the talks and settles nothing."""
    desk, case = _desk(situation), situation.once(_case)
    name = case.order.id
    if isinstance(action, RequestEvidence):
        return desk.give_up(name)
    if isinstance(action, NoteAnswer):
        return desk if case.offer is None else desk.put(case.offer)
    if isinstance(action, OfferSettlement):
        before = case.offer or desk.offer(name)
        offer = OpenOffer(
            order=case.order,
            pieces_from_buyer=case.pieces_from[Party.BUYER],
            pieces_from_seller=case.pieces_from[Party.SELLER],
            amount_minor=action.amount_minor,
            round=1 + desk.rounds(name),
            expires_at=situation.now + ANSWER_WITHIN,
            buyer_asks=before.buyer_asks if before else None,
            seller_bids=before.seller_bids if before else None,
        )
        return desk.put(offer)
    return desk.settle(name)


def timers(situation: Situation[Input], action: Action) -> Mapping[str, datetime]:
    """The ends of all offers that stand after the action."""
    after = effect(situation, action)
    return after.timers() if isinstance(after, BuyerDesk) else {}


def fallback(situation: Situation[Input]) -> Action:
    """Ask the side that has shown less, the seller first: nobody is paid on a guess. An answer is taken note of."""
    case = situation.once(_case)
    if case.stale or isinstance(situation.event, SettlementAnswered):
        return NoteAnswer()
    seller, buyer = case.pieces_from[Party.SELLER], case.pieces_from[Party.BUYER]
    return RequestEvidence(from_party=Party.BUYER if buyer < seller else Party.SELLER)


def _on_evidence(situation: Situation[Input], case: _Case) -> tuple[Candidate, ...]:
    """Score a full refund, half of it, the release, asking either side, and talks where both have a case."""
    order = case.order
    category = DisputeCategory(order.category)
    full, part, release = CATEGORY_POINTS[category]
    balance = _balance(order, profile_of(situation, order.customer_id))
    points = sum(signal.points for signal in balance)
    close = 20 - min(40, abs(points) // 2)
    against = tuple(Signal(signal.name, -signal.points, signal.serves) for signal in balance)
    found = [
        Candidate(
            RefundBuyer(amount_minor=order.amount_minor, currency=order.currency),
            (Signal(category.value, full, RIGHT), *balance),
        ),
        Candidate(ReleaseToSeller(), (Signal(category.value, release, RIGHT), *against)),
    ]
    if half := order.amount_minor // 2:
        found.append(
            Candidate(
                PartialRefund(amount_minor=half, currency=order.currency),
                (Signal(category.value, part, RIGHT), Signal("evenly matched", close, RIGHT)),
            )
        )
    found += [
        Candidate(
            RequestEvidence(from_party=party),
            (
                Signal("one more round", -5, SPEED),
                Signal(
                    f"{party.value} has shown little",
                    25 - EVIDENCE_POINTS * min(MAX_PIECES, case.pieces_from[party]),
                    RIGHT,
                ),
                Signal("evenly matched", close // 2, RIGHT),
            ),
        )
        for party in (Party.SELLER, Party.BUYER)
    ]
    amount = first_offer(order.amount_minor, points)
    shown = min(order.evidence_for_buyer, order.evidence_for_seller)
    talked = order.id in _desk(situation).talked
    if case.offer is None and not talked and amount is not None and shown >= BOTH_HAVE_A_CASE:
        found.append(
            Candidate(
                OfferSettlement(amount_minor=amount, currency=order.currency),
                (
                    Signal("both sides have a case", 40, RIGHT),
                    Signal("evenly matched", close, RIGHT),
                    Signal("talks take days", -10, SPEED),
                ),
            )
        )
    return tuple(found)


def _balance(order: DisputedOrder, profile: CustomerProfile | None) -> tuple[Signal, ...]:
    """Weigh the two sides: positive points speak for the buyer."""
    missing = order.category == DisputeCategory.NOT_RECEIVED
    late = order.delivered and order.days_since_delivery > RETURN_DAYS
    for_buyer, for_seller = (
        min(MAX_PIECES, pieces) for pieces in (order.evidence_for_buyer, order.evidence_for_seller)
    )
    return (
        Signal("evidence for the buyer", EVIDENCE_POINTS * for_buyer, RIGHT),
        Signal("evidence for the seller", -EVIDENCE_POINTS * for_seller, RIGHT),
        Signal("delivery is shown", -20 if missing and order.delivery_evidence else 0, RIGHT),
        Signal("seller's dispute rate", min(30, order.seller_dispute_rate_percent), RIGHT),
        Signal("buyer's earlier disputes", -10 * min(5, order.buyer_prior_disputes), RIGHT),
        Signal("long after the delivery", -15 if late else 0, RIGHT),
        Signal("buyer's standing", standing_of(profile) // 2, RIGHT),
    )


def _case(situation: Situation[Input]) -> _Case:
    """The dispute that an input is about.

    Raises:
        InputRejected: nothing is offered in that dispute.
    """
    event, desk = situation.event, _desk(situation)
    if isinstance(event, DisputeOpened):
        pieces = {party: sum(piece.party is party for piece in event.evidence) for party in Party}
        return _Case(_opened(event, desk), pieces, None)
    if isinstance(event, SettlementAnswered):
        offer = desk.offer(event.dispute_id)
        name = event.dispute_id
    else:
        offer = next((one for one in desk.offers if timer_name(one.order.id) == event.name), None)
        name = event.name.removeprefix(TIMER)
    if offer is None:
        raise InputRejected(
            f"got an answer or the end of an offer in the dispute {name!r}, expected one in which an offer stands;"
            " its talks have ended"
        )
    order = offer.order.model_copy(update={"settled": offer.order.id in desk.settled})
    pieces = {Party.BUYER: offer.pieces_from_buyer, Party.SELLER: offer.pieces_from_seller, Party.CARRIER: 0}
    if isinstance(event, SettlementAnswered):
        return _Case(order, pieces, answered(offer, event))
    return _Case(order, pieces, offer, stale=event.due_at < offer.expires_at)


def _opened(dispute: DisputeOpened, desk: BuyerDesk) -> DisputedOrder:
    return DisputedOrder(
        id=dispute.dispute_id,
        order_id=dispute.order_id,
        customer_id=dispute.customer_id,
        seller_id=dispute.seller_id,
        amount_minor=dispute.amount.amount_minor,
        currency=dispute.amount.currency,
        category=dispute.category.value,
        delivered=dispute.days_since_delivery is not None,
        days_since_delivery=dispute.days_since_delivery or 0,
        evidence_for_buyer=sum(piece.supports is Party.BUYER for piece in dispute.evidence),
        evidence_for_seller=sum(piece.supports is Party.SELLER for piece in dispute.evidence),
        delivery_evidence=sum(
            piece.supports is Party.SELLER and (piece.party is Party.CARRIER or piece.kind in DELIVERY_KINDS)
            for piece in dispute.evidence
        ),
        seller_dispute_rate_percent=dispute.seller_dispute_rate_percent,
        buyer_prior_disputes=dispute.buyer_prior_disputes,
        settled=dispute.dispute_id in desk.settled,
    )


def _desk(situation: Situation[Input]) -> BuyerDesk:
    return situation.state if isinstance(situation.state, BuyerDesk) else BuyerDesk()


def _subject(event: Input) -> str:
    return event.name.removeprefix(TIMER) if isinstance(event, TimerFired) else event.dispute_id


DISPUTE_MEDIATOR: Agent[Input] = Agent(
    name="dispute-mediator",
    listens={"marketplace.disputes": (DisputeOpened, SettlementAnswered)},
    subject=_subject,
    actions=(
        RefundBuyer,
        PartialRefund,
        ReleaseToSeller,
        RequestEvidence,
        OfferSettlement,
        SettleAsAgreed,
        NoteAnswer,
    ),
    bundle="shop",
    judged=judged,
    candidates=candidates,
    views=(CUSTOMERS,),
    reads=lambda event: (Lookup(CUSTOMERS.name, event.key()),),
    state_model=BuyerDesk,
    effect=effect,
    timers=timers,
    fallback=fallback,
)

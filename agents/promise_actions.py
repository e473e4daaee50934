"""What the promise negotiator may do, and the facts that policies judge it by."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from jurat.agents.agent import Action
from jurat.agents.promise_ledger import MAX_OFFERS
from jurat.policies.request import Entity, Facts
from jurat.schemas.commerce_promises import Fee
from jurat.schemas.model import Count, Identifier, MinorUnits, Percent

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
RequestIds = Annotated[tuple[Identifier, ...], Field(max_length=MAX_OFFERS)]


class PromiseRequest(Entity):
    """The request and its zone as policies see them; all zero and not open where nobody asks."""

    entity_type: ClassVar[str] = "PromiseRequest"

    zone_id: Identifier
    customer_id: str
    order_id: str
    value_minor: MinorUnits
    currency: str
    tier: str
    units: Count
    late_before: Count
    zone_currency: str
    load_percent: Percent
    report_age_minutes: Count
    open: bool
    """Whether it was asked for and has not ended."""


class DeliveryZone(Entity):
    """The zone as policies see it."""

    entity_type: ClassVar[str] = "DeliveryZone"

    load_percent: Percent
    open_offers: Count


class OfferFacts(Facts):
    """A slot at a fee, and what the ledger says of it; all zero where there is no such slot.

    `discount_minor` is what the fee is below the tariff, `adds_discount_minor` what of it no offer gave before;
    `free_after` is below zero where the slot is full; `stands` says that exactly this is on offer; `asked`, that the
    customer waits for an offer.
    """

    slot_id: str
    known: bool
    fee_minor: Fee
    currency: str
    tariff_minor: MinorUnits
    discount_minor: MinorUnits
    adds_discount_minor: MinorUnits
    capacity: Count
    free_after: MinorUnits
    minutes_to_start: MinorUnits
    round: Count
    other_offers: Count
    stands: bool
    asked: bool


class CommitFacts(OfferFacts):
    """As of an offer; and whether the customer has agreed to exactly this, before the offer ran out."""

    agreed: bool
    in_time: bool


class DeclineFacts(Facts):
    """Whether the customer waits for an answer or has given one in time; and whether it was to accept what stands."""

    spoken: bool
    accepted: bool


class ReleaseFacts(Facts):
    """Offers that would end: how many, how many of them have not run out, and how many that have would be left."""

    named: Count
    not_due: Count
    left_due: Count


class CapacityFacts(Facts):
    """A report, if there is one: offers withdrawn without need, units left on offer without room, units short."""

    reported: bool
    needless: Count
    over_units: Count
    short_units: Count


class NothingFacts(Facts):
    """Whether somebody waits for this to be answered, or the ledger to be changed."""

    owed: bool


class OfferPromise(Action):
    """Offer a slot at a fee; its capacity is held until the offer ends."""

    action_name: ClassVar[str] = "offer_promise"
    title: ClassVar[str] = "Offer the customer a slot at a fee"
    resource: ClassVar[type[Entity]] = PromiseRequest
    facts: ClassVar[type[Facts]] = OfferFacts

    slot_id: Identifier
    fee_minor: Fee
    currency: Currency


class CommitPromise(Action):
    """Promise the slot at the fee: what the customer has agreed to."""

    action_name: ClassVar[str] = "commit_promise"
    title: ClassVar[str] = "Promise the customer the slot"
    resource: ClassVar[type[Entity]] = PromiseRequest
    facts: ClassVar[type[Facts]] = CommitFacts

    slot_id: Identifier
    fee_minor: Fee
    currency: Currency


class DeclinePromise(Action):
    """End the talks without a promise; what was held for them is free again."""

    action_name: ClassVar[str] = "decline_promise"
    title: ClassVar[str] = "End the talks without a promise"
    resource: ClassVar[type[Entity]] = PromiseRequest
    facts: ClassVar[type[Facts]] = DeclineFacts


class ReleaseOffers(Action):
    """End the offers that have run out; what they held is free again."""

    action_name: ClassVar[str] = "release_offers"
    title: ClassVar[str] = "End offers that have run out"
    resource: ClassVar[type[Entity]] = DeliveryZone
    facts: ClassVar[type[Facts]] = ReleaseFacts

    request_ids: RequestIds


class NoteCapacity(Action):
    """Take note of a report, and withdraw the offers for which there is no room any more."""

    action_name: ClassVar[str] = "note_capacity"
    title: ClassVar[str] = "Take note of the capacity"
    resource: ClassVar[type[Entity]] = DeliveryZone
    facts: ClassVar[type[Facts]] = CapacityFacts

    withdrawn: RequestIds


class ReportShortage(Action):
    """As `note_capacity`; and have the dispatcher know that more is promised than can be delivered."""

    action_name: ClassVar[str] = "report_shortage"
    title: ClassVar[str] = "Take note of the capacity, and tell the dispatcher that promises are in danger"
    resource: ClassVar[type[Entity]] = DeliveryZone
    facts: ClassVar[type[Facts]] = CapacityFacts

    withdrawn: RequestIds


class ChangeNothing(Action):
    """Leave the ledger as it is: the input is a repeat, late, or about nothing that stands."""

    action_name: ClassVar[str] = "change_nothing"
    title: ClassVar[str] = "Change nothing"
    resource: ClassVar[type[Entity]] = DeliveryZone
    facts: ClassVar[type[Facts]] = NothingFacts

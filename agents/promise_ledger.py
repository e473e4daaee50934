"""The ledger of one zone: what its slots can take, what is promised in them, and what open offers hold.

Rules upheld here: no slot ever holds more in promises and offers than it can take. A report may cut a slot below what
is promised in it; then it holds no offer, and what is missing is its shortage, not a negative number. A ledger that
breaks this cannot be made. A request has one offer at most, which ends once: promised, declined, run out or withdrawn;
its id is remembered, so that it is not offered twice. Everything is bounded. Pure values. Not here: what is offered
(`promise_talks.py`), what is allowed (the policies).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from jurat.schemas.commerce_promises import CapacityReported, Fee, SlotCapacity, Tariff, Tier, Units
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Count, Identifier, MinorUnits, Model, Percent, Timestamp

MAX_SLOTS: Final = 64
"""Slots of a ledger: those of a report, and as many that were promised in and are not reported any more."""

MAX_OFFERS: Final = 64
"""Open offers of a zone; with half an hour each, two requests a minute of whom nobody answers."""

MAX_ENDED: Final = 256
"""Requests remembered after their end: what a service may send again comes within hours."""

OFFER_STANDS: Final = timedelta(minutes=30)
"""How long an offer holds its capacity: a customer who is asked in a checkout answers within minutes."""

TIMER: Final = "offers-end"
"""The one timer of a zone, at the end of the offer that ends first."""


class Slot(Model):
    """One slot: what it can take in all, what it costs as a rule, and what is promised in it."""

    slot_id: Identifier
    starts_at: Timestamp
    ends_at: Timestamp
    capacity: Count
    tariff_minor: Tariff
    promised: Count = 0

    @property
    def short(self) -> int:
        """Units that are promised and cannot be taken any more."""
        return max(0, self.promised - self.capacity)


class Wanted(Model):
    """A request in numbers and kinds, so that it can be talked about without the event that asked."""

    request_id: Identifier
    customer_id: Identifier
    order_id: Identifier
    value_minor: MinorUnits
    currency: str
    tier: Tier
    units: Units
    wished_by: Timestamp
    late_before: Count


class Offer(Model):
    """An offer that stands: its slot holds the units until it ends."""

    wanted: Wanted
    slot_id: Identifier
    fee_minor: Fee
    round: Count
    expires_at: Timestamp

    @property
    def request_id(self) -> str:
        """The request that it answers."""
        return self.wanted.request_id


class ZoneLedger(Model):
    """The ledger; `offers` and `ended` have the latest last.

    Attributes:
        currency: that of tariffs and fees; empty before the first report.
        reported_at: when the last report was made; where its clock was ahead, when it was taken note of.
    """

    slots: Annotated[tuple[Slot, ...], Field(max_length=MAX_SLOTS)] = ()
    offers: Annotated[tuple[Offer, ...], Field(max_length=MAX_OFFERS)] = ()
    ended: Annotated[tuple[Identifier, ...], Field(max_length=MAX_ENDED)] = ()
    currency: str = ""
    load_percent: Percent = 0
    reported_at: Timestamp | None = None

    @model_validator(mode="after")
    def _sound(self) -> ZoneLedger:
        known = {slot.slot_id: slot for slot in self.slots}
        names = [offer.request_id for offer in self.offers]
        if len(known) != len(self.slots) or len(set(names)) != len(names):
            raise ValueError("got a slot or a request twice, expected each once")
        if set(names) & set(self.ended):
            raise ValueError("got an offer that has ended, expected one that stands")
        for name, units in self._held().items():
            slot = known.get(name)
            if slot is None or slot.promised + units > slot.capacity:
                raise ValueError(
                    f"got offers of {units} units in the slot {name}, expected what it has room for"
                )
        return self

    def slot(self, slot_id: str) -> Slot | None:
        """A slot by its id."""
        return next((slot for slot in self.slots if slot.slot_id == slot_id), None)

    def offer(self, request_id: str) -> Offer | None:
        """The offer that stands for a request."""
        return next((offer for offer in self.offers if offer.request_id == request_id), None)

    def room(self, slot: Slot, *, beside: str) -> int:
        """Units that a slot can still take; what the request `beside` holds itself counts as room."""
        held = sum(
            offer.wanted.units
            for offer in self.offers
            if offer.slot_id == slot.slot_id and offer.request_id != beside
        )
        return max(0, slot.capacity - slot.promised - held)

    def due(self, now: datetime) -> tuple[str, ...]:
        """The requests whose offers have run out."""
        return tuple([offer.request_id for offer in self.offers if offer.expires_at <= now])

    def put(self, offer: Offer) -> ZoneLedger:
        """The ledger with an offer, in the place of the one that stood for its request.

        Raises:
            InputRejected: its slot is unknown or has no room for it, or as many offers stand as a zone may have.
        """
        slot = self.slot(offer.slot_id)
        room = 0 if slot is None else self.room(slot, beside=offer.request_id)
        others = tuple(one for one in self.offers if one.request_id != offer.request_id)
        if offer.wanted.units > room or len(others) >= MAX_OFFERS:
            raise InputRejected(
                f"got an offer of {offer.wanted.units} units in the slot {offer.slot_id!r} beside {len(others)} others,"
                f" expected at most {room} units and {MAX_OFFERS - 1} others; policies should have refused it"
            )
        return self.having(offers=(*others, offer))

    def promise(self, offer: Offer) -> ZoneLedger:
        """The ledger after what an offer holds was promised.

        Raises:
            InputRejected: there is no room for it.
        """
        after = self.put(offer).end((offer.request_id,))
        slots = tuple(
            slot.model_copy(update={"promised": slot.promised + offer.wanted.units})
            if slot.slot_id == offer.slot_id
            else slot
            for slot in after.slots
        )
        return after.having(slots=slots)

    def end(self, request_ids: Iterable[str]) -> ZoneLedger:
        """The ledger without the offers for these requests, which are remembered as ended."""
        gone = tuple(dict.fromkeys(request_ids))
        left = tuple(offer for offer in self.offers if offer.request_id not in gone)
        before = tuple(name for name in self.ended if name not in gone)
        return self.having(offers=left, ended=(*before, *gone)[-MAX_ENDED:])

    def reported(
        self, report: CapacityReported, *, now: datetime, made_at: datetime, withdrawn: Iterable[str]
    ) -> ZoneLedger:
        """The ledger after a report, without the offers that are withdrawn for it.

        Args:
            report: the report.
            now: the moment.
            made_at: when the report was made, which may be long ago where it waited to be read.
            withdrawn: the requests whose offers end.

        Raises:
            InputRejected: offers would be left without room, or more slots are known than a ledger holds.
        """
        slots, after = slots_after(self, report, now=now), self.end(withdrawn)
        if len(slots) > MAX_SLOTS or over(slots, after.offers):
            raise InputRejected(
                f"got a report that leaves {len(slots)} slots and {sum(over(slots, after.offers).values())} units on"
                f" offer without room, expected at most {MAX_SLOTS} and none"
            )
        return after.having(
            slots=slots,
            currency=report.currency,
            load_percent=report.load_percent,
            reported_at=min(made_at, now),
        )

    def timers(self) -> Mapping[str, datetime]:
        """When the next offer ends."""
        return {TIMER: min(offer.expires_at for offer in self.offers)} if self.offers else {}

    def _held(self) -> dict[str, int]:
        return _held(self.offers)

    def having(self, **changes: Any) -> ZoneLedger:
        """The ledger with other values: made anew rather than copied, so that every ledger is checked."""
        return ZoneLedger(**{name: getattr(self, name) for name in ZoneLedger.model_fields} | changes)


def slots_after(ledger: ZoneLedger, report: CapacityReported, *, now: datetime) -> tuple[Slot, ...]:
    """The slots after a report: those that it lists; and, without capacity, those to come that hold promises."""
    promised = {slot.slot_id: slot.promised for slot in ledger.slots}
    listed = [_slot(given, promised.get(given.slot_id, 0)) for given in report.slots]
    names = {slot.slot_id for slot in listed}
    kept = [
        slot.model_copy(update={"capacity": 0})
        for slot in ledger.slots
        if slot.slot_id not in names and slot.promised and slot.ends_at > now
    ]
    return (*listed, *kept)


def over(slots: Iterable[Slot], offers: Iterable[Offer]) -> dict[str, int]:
    """Units on offer for which there is no room, by slot; slots where there is are not in it."""
    room = {slot.slot_id: max(0, slot.capacity - slot.promised) for slot in slots}
    held = _held(offers)
    return {name: units - room.get(name, 0) for name, units in held.items() if units > room.get(name, 0)}


def to_withdraw(slots: tuple[Slot, ...], offers: tuple[Offer, ...]) -> tuple[str, ...]:
    """Which offers to withdraw so that all others have room, and no more: the latest first, plus customers last."""
    left = list(offers)
    gone: list[Offer] = []
    missing = over(slots, left)
    for offer in sorted(offers, key=lambda one: (one.wanted.tier is Tier.PLUS, -_micros(one.expires_at))):
        if missing.get(offer.slot_id, 0) > 0:
            missing[offer.slot_id] -= offer.wanted.units
            left.remove(offer)
            gone.append(offer)
    for offer in reversed(gone):  # a large one may have made room for smaller ones
        if not over(slots, [*left, offer]):
            left.append(offer)
    kept = {offer.request_id for offer in left}
    return tuple(offer.request_id for offer in offers if offer.request_id not in kept)


def needless(slots: tuple[Slot, ...], offers: tuple[Offer, ...], withdrawn: Iterable[str]) -> int:
    """How many of the withdrawn are no offers, are named twice, or would have room beside those that are left."""
    named = tuple(withdrawn)
    left = [offer for offer in offers if offer.request_id not in named]
    found = {offer.request_id: offer for offer in offers if offer.request_id in named}
    fits = sum(offer.slot_id not in over(slots, [*left, offer]) for offer in found.values())
    return fits + len(named) - len(found)


def _held(offers: Iterable[Offer]) -> dict[str, int]:
    held: dict[str, int] = {}
    for offer in offers:
        held[offer.slot_id] = held.get(offer.slot_id, 0) + offer.wanted.units
    return held


def _slot(given: SlotCapacity, promised: int) -> Slot:
    return Slot(
        slot_id=given.slot_id,
        starts_at=given.starts_at,
        ends_at=given.ends_at,
        capacity=given.capacity,
        tariff_minor=given.tariff_minor,
        promised=promised,
    )


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)

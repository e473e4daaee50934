"""A customer's profile after an event: the pure fold of the context stream.

Rules upheld here:

* an event is counted once: the state remembers the last offset folded of each topic, and what lies at or
  below it changes nothing. Events of one customer come in the order of their offsets within a topic;
* the profile does not depend on how the topics interleave: counts and sums commute, `first_seen` and
  `last_seen` are the smallest and the largest time, the currency is that of the earliest event with money;
* amounts of different currencies are never added. Sums are kept for each currency; the profile shows those of
  its own.

Not here: reading records, the table, publishing (`context.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from jurat.schemas.commerce import (
    CustomerProfile,
    OrderPlaced,
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
)
from jurat.schemas.errors import SchemaError
from jurat.schemas.marketplace import DisputeOpened
from jurat.schemas.model import Count, Event, Identifier, MinorUnits, Model, Money, Timestamp

MAX_CURRENCIES: Final = 200
"""ISO 4217 has fewer than 180 active codes; a customer with more is not a customer."""

NO_CURRENCY: Final = "XXX"
"""ISO 4217's code for "no currency": the profile of a customer of whom no event with money was seen."""

STATE_FORMAT: Final = 1

Sums = Annotated[dict[str, MinorUnits], Field(max_length=MAX_CURRENCIES)]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an event stands: the topic without namespace, its partition and offset."""

    topic: str
    partition: int
    offset: int


class EarliestMoney(Model):
    """The currency of the earliest event with money, and when that was."""

    at: Timestamp
    currency: str


class ProfileState(Model):
    """What the table keeps for a customer: the profile's numbers and what has been folded into them.

    Attributes:
        format: of this state; another one is not ours to read.
        customer_id: whose.
        partition: the partition number that all events of this customer have.
        revision: events folded so far; grows with every change.
        folded: the last offset folded, by topic.
        orders: orders placed.
        refunds: refunds made.
        failed_charges: charges that failed.
        disputes: disputes opened.
        spend_minor: money captured, by currency.
        refunded_minor: money paid back, by currency.
        earliest_money: decides the profile's currency; None while no event had money.
        first_seen: the earliest event's time.
        last_seen: the latest event's time.
    """

    format: Literal[1] = STATE_FORMAT
    customer_id: Identifier
    partition: Count
    revision: Count = 0
    folded: dict[str, Count] = Field(default_factory=dict)
    orders: Count = 0
    refunds: Count = 0
    failed_charges: Count = 0
    disputes: Count = 0
    spend_minor: Sums = Field(default_factory=dict)
    refunded_minor: Sums = Field(default_factory=dict)
    earliest_money: EarliestMoney | None = None
    first_seen: Timestamp
    last_seen: Timestamp

    def to_bytes(self) -> bytes:
        """The state as it stands in the table and its changelog."""
        return self.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ProfileState:
        """Read a state back.

        Raises:
            SchemaError: not a state of this format.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise SchemaError(
                f"got {len(data)} bytes in the profile table that are not a state of format {STATE_FORMAT}; stop"
                " `jurat context`, reset its changelog topic and its group's offsets to fold the events anew"
            ) from error

    def profile(self) -> CustomerProfile:
        """The profile to publish."""
        currency = NO_CURRENCY if self.earliest_money is None else self.earliest_money.currency
        return CustomerProfile(
            customer_id=self.customer_id,
            orders=self.orders,
            spend=Money(amount_minor=self.spend_minor.get(currency, 0), currency=currency),
            refunds=self.refunds,
            refunded=Money(amount_minor=self.refunded_minor.get(currency, 0), currency=currency),
            failed_charges=self.failed_charges,
            disputes=self.disputes,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
        )


def customer_of(event: Event) -> str | None:
    """The customer whose profile an event belongs to; None for events that concern no customer."""
    return event.key() if event.key_field == "customer_id" else None


def fold(state: ProfileState | None, event: Event, *, at: datetime, source: Source) -> ProfileState:
    """The state after an event.

    Args:
        state: before the event; None for a customer not seen yet.
        event: an event that has a customer (`customer_of`).
        at: when it happened.
        source: where it stands.

    Returns:
        The state after it; the very same object when the event had been folded before.

    Raises:
        SchemaError: the event stands in another partition than the customer's earlier ones, belongs to another
            customer, or would make a number of the profile too large.
    """
    customer_id = customer_of(event)
    if customer_id is None:
        raise SchemaError(f"got an event of type {event.event_type()}, expected one that concerns a customer")
    if state is None:
        state = ProfileState(customer_id=customer_id, partition=source.partition, first_seen=at, last_seen=at)
    _refuse_strays(state, customer_id, source)
    if source.offset <= state.folded.get(source.topic, -1):
        return state
    try:
        return ProfileState(
            customer_id=state.customer_id,
            partition=state.partition,
            revision=state.revision + 1,
            folded={**state.folded, source.topic: source.offset},
            orders=state.orders + isinstance(event, OrderPlaced),
            refunds=state.refunds + isinstance(event, PaymentRefunded),
            failed_charges=state.failed_charges + isinstance(event, PaymentFailed),
            disputes=state.disputes + isinstance(event, DisputeOpened),
            spend_minor=_plus(
                state.spend_minor, event.amount if isinstance(event, PaymentCaptured) else None
            ),
            refunded_minor=_plus(
                state.refunded_minor, event.amount if isinstance(event, PaymentRefunded) else None
            ),
            earliest_money=_earlier(state.earliest_money, _money_of(event), at),
            first_seen=min(state.first_seen, at),
            last_seen=max(state.last_seen, at),
        )
    except ValidationError as error:
        fields = ", ".join(
            str(fault["loc"][0]) for fault in error.errors(include_input=False) if fault["loc"]
        )
        raise SchemaError(
            f"got an event after which the profile's {fields} would exceed its bounds"
        ) from error


def _refuse_strays(state: ProfileState, customer_id: str, source: Source) -> None:
    if customer_id != state.customer_id:
        raise SchemaError(
            "got an event of another customer than the state's; the table's key does not fit its value"
        )
    if source.partition != state.partition:
        raise SchemaError(
            f"got an event in partition {source.partition} of {source.topic}, expected partition"
            f" {state.partition} like this customer's earlier events; all publishers must use the same partitioner"
            " (Kafka's default, murmur2; librdkafka: `partitioner=murmur2_random`)",
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
        )


def _money_of(event: Event) -> Money | None:
    if isinstance(event, OrderPlaced):
        return event.total
    if isinstance(event, PaymentCaptured | PaymentFailed | PaymentRefunded | DisputeOpened):
        return event.amount
    return None


def _plus(sums: Mapping[str, int], money: Money | None) -> dict[str, int]:
    if money is None:
        return dict(sums)
    return {**sums, money.currency: sums.get(money.currency, 0) + money.amount_minor}


def _earlier(known: EarliestMoney | None, money: Money | None, at: datetime) -> EarliestMoney | None:
    if money is None:
        return known
    # At the same moment the code that sorts first wins, so that the order of arrival decides nothing.
    if known is not None and (known.at, known.currency) <= (at, money.currency):
        return known
    return EarliestMoney(at=at, currency=money.currency)

"""Events about messages to customers: what is to be said, and what became of it.

Everything that concerns a customer is keyed by the customer. What a message says is the publisher's: it is not in here,
so that no decision about when and how to send it can turn on its words.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from jurat.schemas.model import Event, Identifier, Model, Money, Percent, Timestamp

MAX_CHANNELS = 8
"""Ways to reach one customer; people have four."""

Hour = Annotated[int, Field(ge=0, le=23)]
"""An hour of the day in the customer's own time zone."""


class Channel(StrEnum):
    """A way to reach a customer."""

    EMAIL = "email"
    PUSH = "push"
    SMS = "sms"
    LETTER = "letter"


class NoticeKind(StrEnum):
    """What a message is about."""

    SECURITY = "security"
    PAYMENT_PROBLEM = "payment_problem"
    DELIVERY_TODAY = "delivery_today"
    ORDER_SHIPPED = "order_shipped"
    BACK_IN_STOCK = "back_in_stock"
    OFFER = "offer"


class Urgency(StrEnum):
    """How soon it matters."""

    URGENT = "urgent"
    SOON = "soon"
    ROUTINE = "routine"


class Reach(Model):
    """What is known of one channel of a customer.

    Attributes:
        channel: the channel.
        consented: whether the customer agreed to be sent to in this way.
        works: whether the last message in this way arrived.
        read_percent: how many of the last messages were read.
        cost: what one message costs.
    """

    channel: Channel
    consented: bool
    works: bool
    read_percent: Percent
    cost: Money


class NoticeDue(Event):
    """There is something to tell a customer.

    Attributes:
        notice_id: the message.
        customer_id: whom to tell.
        kind: what it is about.
        urgency: how soon it matters.
        valid_until: after this it is no use any more.
        time_zone: the customer's, as IANA names it, for example `Europe/Berlin`.
        quiet_from: the hour at which the customer's quiet time begins; the same as `quiet_until` for none.
        quiet_until: the hour at which it ends.
        reads_at: the hour at which the customer mostly reads messages.
        channels: each channel that the customer has, once.
    """

    namespace: ClassVar[str] = "commerce"
    key_field: ClassVar[str] = "customer_id"

    notice_id: Identifier
    customer_id: Identifier
    kind: NoticeKind
    urgency: Urgency
    valid_until: Timestamp
    time_zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$")]
    quiet_from: Hour = 22
    quiet_until: Hour = 8
    reads_at: Hour = 18
    channels: Annotated[tuple[Reach, ...], Field(min_length=1, max_length=MAX_CHANNELS)]

    @model_validator(mode="after")
    def _each_once(self) -> NoticeDue:
        if len({reach.channel for reach in self.channels}) != len(self.channels):
            raise ValueError("got a channel twice, expected each once")
        return self


class NoticeAnswered(Event):
    """What a customer did with a message: read it, let it lie, or asked for no more of its kind."""

    namespace: ClassVar[str] = "commerce"
    key_field: ClassVar[str] = "customer_id"

    notice_id: Identifier
    customer_id: Identifier
    channel: Channel
    read: bool
    unsubscribed: bool = False

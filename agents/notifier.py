"""The notifier: how and when a customer is told something, or that it is not worth telling.

Rules upheld here: what a message says is not known here, only what it is about; the customer's own clock decides what
is night; a customer who asked for no more is remembered, whatever the next event says of their consent; who may be told
what, when and how often stands in `policies/notices`. Not here: sending (who subscribes does), and words.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.agents.memory import Learned, Remembering
from jurat.agents.notice_time import is_quiet, next_at, zone_of
from jurat.policies.request import Entity, Facts
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Count, Identifier, MinorUnits, Timestamp
from jurat.schemas.notices import Channel, NoticeAnswered, NoticeDue, NoticeKind, Reach, Urgency

MINUTE: Final = timedelta(minutes=1)
MARKETING: Final = frozenset({NoticeKind.OFFER, NoticeKind.BACK_IN_STOCK})
"""What the customer did not ask for."""

PURPOSE: Final = "consent"
LAST_READ: Final = "last_read"

WEIGHT: Final = {
    NoticeKind.SECURITY: 90,
    NoticeKind.PAYMENT_PROBLEM: 70,
    NoticeKind.DELIVERY_TODAY: 55,
    NoticeKind.ORDER_SHIPPED: 25,
    NoticeKind.BACK_IN_STOCK: 15,
    NoticeKind.OFFER: 5,
}
"""Points of being told at all, by what it is about."""

HASTE: Final = {Urgency.URGENT: 50, Urgency.SOON: 25, Urgency.ROUTINE: 0}
"""Points that a message loses by waiting half a day."""

WAKES: Final = {Urgency.URGENT: 10, Urgency.SOON: 60, Urgency.ROUTINE: 60}
"""Points that a message in quiet hours costs: who is told of a stolen card at night is glad of it."""

HALF_DAY: Final = 12 * 60


class Notice(Entity):
    """The message as policies see it: what it is about, not what it says."""

    entity_type: ClassVar[str] = "Notice"

    customer_id: Identifier
    kind: str
    urgent: bool
    marketing: bool


class SendFacts(Facts):
    """How and when it would reach the customer; a channel that they have not is neither agreed to nor working."""

    channel: str
    consented: bool
    works: bool
    unsubscribed: bool
    delay_minutes: int
    quiet: bool
    still_valid: bool
    marketing: Count
    cost_minor: MinorUnits


class LeaveFacts(Facts):
    """All that matters is the message itself."""


class SendNow(Action):
    """Send it at once."""

    action_name: ClassVar[str] = "send_now"
    title: ClassVar[str] = "Send the message at once"
    resource: ClassVar[type[Entity]] = Notice
    facts: ClassVar[type[Facts]] = SendFacts

    channel: Channel


class SendAt(Action):
    """Send it at a moment to come."""

    action_name: ClassVar[str] = "send_at"
    title: ClassVar[str] = "Send the message later"
    resource: ClassVar[type[Entity]] = Notice
    facts: ClassVar[type[Facts]] = SendFacts

    channel: Channel
    at: Timestamp


class AddToDigest(Action):
    """Put it into the next collection of messages."""

    action_name: ClassVar[str] = "add_to_digest"
    title: ClassVar[str] = "Put the message into the next digest"
    resource: ClassVar[type[Entity]] = Notice
    facts: ClassVar[type[Facts]] = LeaveFacts


class Suppress(Action):
    """Do not send it."""

    action_name: ClassVar[str] = "suppress"
    title: ClassVar[str] = "Do not send the message"
    resource: ClassVar[type[Entity]] = Notice
    facts: ClassVar[type[Facts]] = LeaveFacts


def judged(situation: Situation[NoticeDue], action: Action) -> Judged:
    """State the facts by which policies judge how a customer is told."""
    notice = situation.event
    if isinstance(action, SendNow):
        return Judged(_notice(notice), _sent(situation, action.channel, situation.now))
    if isinstance(action, SendAt):
        return Judged(_notice(notice), _sent(situation, action.channel, action.at))
    if isinstance(action, AddToDigest | Suppress):
        return Judged(_notice(notice), LeaveFacts())
    raise ConfigurationError(f"notifier got the action {type(action).__name__}, expected one of its own")


def candidates(situation: Situation[NoticeDue]) -> tuple[Candidate, ...]:
    """Score each channel now, when the night is over, and when the customer mostly reads; a digest; and silence."""
    notice, now = situation.event, situation.now
    zone = zone_of(notice.time_zone)
    moments: list[tuple[Action, Reach, datetime]] = [
        (SendNow(channel=reach.channel), reach, now) for reach in notice.channels
    ]
    moments += [
        (SendAt(channel=reach.channel, at=at), reach, at)
        for reach in notice.channels
        for at in dict.fromkeys((next_at(now, zone, notice.quiet_until), next_at(now, zone, notice.reads_at)))
    ]
    found = [
        Candidate(action, _signals(situation, reach, at))
        for action, reach, at in moments
        if at <= notice.valid_until
    ]
    weight = WEIGHT[notice.kind]
    waits = -HASTE[notice.urgency] - (20 if notice.valid_until < now + timedelta(days=1) else 0)
    found += [
        Candidate(
            AddToDigest(),
            (
                Signal("worth telling", weight // 2, "informed"),
                Signal("waits for the digest", waits, "informed"),
                Signal("bothers nobody by itself", 12, "spared"),
            ),
        ),
        Candidate(
            Suppress(),
            (Signal("not told", -weight // 2, "informed"), Signal("bothers nobody", 15, "spared")),
        ),
    ]
    return tuple(found)


def _signals(situation: Situation[NoticeDue], reach: Reach, at: datetime) -> tuple[Signal, ...]:
    notice = situation.event
    zone = zone_of(notice.time_zone)
    hour = at.astimezone(zone).hour
    away = min((hour - notice.reads_at) % 24, (notice.reads_at - hour) % 24)
    waits = min(HALF_DAY, (at - situation.now) // MINUTE)
    quiet = is_quiet(at, zone, begins=notice.quiet_from, ends=notice.quiet_until)
    ignored = situation.memory.known(LAST_READ)
    return (
        Signal("worth telling", WEIGHT[notice.kind], "informed"),
        Signal("read in this way", reach.read_percent // 3, "informed"),
        Signal("waits", -HASTE[notice.urgency] * waits // HALF_DAY, "informed"),
        Signal("at an hour when they read", max(0, 12 - 2 * away), "informed"),
        Signal("wakes them", -WAKES[notice.urgency] if quiet else 0, "spared"),
        Signal(
            "the last one was not read",
            -12 if ignored is not None and ignored.value is False else 0,
            "spared",
        ),
        Signal(
            "cost", -min(40, reach.cost.amount_minor * (4 if notice.kind in MARKETING else 1) // 2), "cost"
        ),
        Signal("not agreed to, or it does not work", 0 if reach.consented and reach.works else -100),
    )


def _sent(situation: Situation[NoticeDue], channel: Channel, at: datetime) -> SendFacts:
    notice = situation.event
    reach = next((reach for reach in notice.channels if reach.channel is channel), None)
    return SendFacts(
        channel=channel.value,
        consented=reach is not None and reach.consented,
        works=reach is not None and reach.works,
        unsubscribed=situation.memory.known(_unsubscribed(channel)) is not None,
        delay_minutes=(at - situation.now) // MINUTE,
        quiet=is_quiet(at, zone_of(notice.time_zone), begins=notice.quiet_from, ends=notice.quiet_until),
        still_valid=at <= notice.valid_until,
        marketing=int(notice.kind in MARKETING),
        cost_minor=reach.cost.amount_minor if reach else 0,
    )


def _notice(notice: NoticeDue) -> Notice:
    return Notice(
        id=notice.notice_id,
        customer_id=notice.customer_id,
        kind=notice.kind.value,
        urgent=notice.urgency is Urgency.URGENT,
        marketing=notice.kind in MARKETING,
    )


def _unsubscribed(channel: Channel) -> str:
    return f"unsubscribed_{channel.value}"


def _taught(answer: NoticeAnswered, at: datetime) -> tuple[Learned, ...]:
    """Whether the last message was read, and that they want no more in this way."""
    read = Learned(LAST_READ, answer.read, at, PURPOSE)
    if not answer.unsubscribed:
        return (read,)
    return (read, Learned(_unsubscribed(answer.channel), value=True, since=at, purpose=PURPOSE))


def fallback(situation: Situation[NoticeDue]) -> Action:
    """The digest for what can wait; what cannot goes out by the channel that is read most, if it may."""
    notice = situation.event
    if notice.urgency is not Urgency.URGENT:
        return AddToDigest()
    best = max(notice.channels, key=lambda reach: (reach.consented and reach.works, reach.read_percent))
    return SendNow(channel=best.channel)


NOTIFIER: Agent[NoticeDue] = Agent(
    name="notifier",
    listens={"commerce.notices": (NoticeDue,)},
    subject=lambda notice: notice.notice_id,
    actions=(SendNow, SendAt, AddToDigest, Suppress),
    bundle="notices",
    judged=judged,
    candidates=candidates,
    fallback=fallback,
    remembers=Remembering({NoticeAnswered: _taught}),
)

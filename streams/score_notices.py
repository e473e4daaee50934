"""A world for the notifier: customers who read, sleep, get tired and leave.

The truth, which no event holds: how much a message of each kind is worth to its customer when they read it in time, in
which channels they read at all, at which hours, how soon they tire of messages and turn a channel off, and how much
being woken costs. The events echo it: shares of read messages from the past, the hour at which they mostly read.

The rule that the notifier is compared with is what most services do: an e-mail at once, whatever the hour; a text
message too where it is urgent and the e-mail does not work.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from jurat.agents.agent import Action, Situation
from jurat.agents.notifier import NOTIFIER, SendAt, SendNow, Suppress
from jurat.schemas.model import Event, Money
from jurat.schemas.notices import Channel, NoticeAnswered, NoticeDue, NoticeKind, Reach, Urgency
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator_draws import Draws

CURRENCY: Final = "EUR"
START: Final = datetime(2026, 3, 20, tzinfo=UTC)
"""Nine days before most of Europe's clocks go forward."""

ZONES: Final = ("Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo", "Australia/Sydney")
KINDS: Final = (
    (NoticeKind.SECURITY, 4), (NoticeKind.PAYMENT_PROBLEM, 9), (NoticeKind.DELIVERY_TODAY, 18),
    (NoticeKind.ORDER_SHIPPED, 24), (NoticeKind.BACK_IN_STOCK, 15), (NoticeKind.OFFER, 30),
)  # fmt: skip
WORTH_MINOR: Final = {
    NoticeKind.SECURITY: 900,
    NoticeKind.PAYMENT_PROBLEM: 700,
    NoticeKind.DELIVERY_TODAY: 250,
    NoticeKind.ORDER_SHIPPED: 60,
    NoticeKind.BACK_IN_STOCK: 90,
    NoticeKind.OFFER: 35,
}
"""What a message is worth to the shop when it is read in time: a saved charge, a parcel that is not missed, a sale."""

VALID_HOURS: Final = {
    NoticeKind.SECURITY: 24,
    NoticeKind.PAYMENT_PROBLEM: 72,
    NoticeKind.DELIVERY_TODAY: 10,
    NoticeKind.ORDER_SHIPPED: 72,
    NoticeKind.BACK_IN_STOCK: 48,
    NoticeKind.OFFER: 120,
}
COST_MINOR: Final = {Channel.EMAIL: 1, Channel.PUSH: 1, Channel.SMS: 8, Channel.LETTER: 95}
WOKEN_MINOR: Final = 150
LEFT_MINOR: Final = 400
"""A customer who turns a channel off: what would have been sold there."""

TIRES_PER_MILLE: Final = 60
"""A message that nobody asked for makes so many of a thousand turn the channel off; a woken one five times as many."""

CUSTOMERS_PER_CASE: Final = 8
ASLEEP: Final = (23, 7)


@dataclass(slots=True)
class _Customer:
    name: str
    zone: str
    reads_at: int
    reads: dict[Channel, int]
    consents: frozenset[Channel]
    off: set[Channel] = field(default_factory=set)


def play(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    """Messages for a few customers over some weeks, each message one case."""
    people, happens, reacts = (Draws(seed, f"notices {label}") for label in ("people", "happens", "reacts"))
    customers = [_customer(people, seed, number) for number in range(max(1, cases // CUSTOMERS_PER_CASE))]
    due: list[tuple[datetime, int, _Customer, Event]] = []
    at = START
    for number in range(cases):
        at += timedelta(minutes=happens.wait(90))
        customer = happens.pick(customers)
        heapq.heappush(due, (at, number, customer, _notice(happens, customer, f"n-{seed}-{number}", at)))
    value = right = 0
    turn = cases
    while due:
        at, _turn, customer, event = heapq.heappop(due)
        action = yield Step(event, at)
        if not isinstance(event, NoticeDue):
            continue
        draws = (reacts.below(1000), reacts.below(1000), reacts.wait(45))
        if not isinstance(action, SendNow | SendAt):
            right += event.kind is NoticeKind.OFFER or isinstance(action, Suppress)
            continue
        sent = at if isinstance(action, SendNow) else max(at, action.at)
        earned, answer, when = _reaction(customer, event, action.channel, sent, draws)
        value += earned
        right += earned > 0
        if answer is not None:
            heapq.heappush(due, (max(when, at), turn, customer, answer))
            turn += 1
    return Tally(value, cases, right=right)


def _customer(draws: Draws, seed: int, number: int) -> _Customer:
    reads = {
        Channel.EMAIL: draws.pick((15, 35, 60)),
        Channel.PUSH: draws.pick((10, 40, 75)),
        Channel.SMS: draws.pick((70, 85, 95)),
    }
    consents = frozenset(channel for channel in reads if draws.happens(800))
    return _Customer(f"c-{seed}-{number}", draws.pick(ZONES), draws.pick((8, 12, 18, 20)), reads, consents)


def _notice(draws: Draws, customer: _Customer, name: str, at: datetime) -> NoticeDue:
    kind = draws.weighted(KINDS)
    urgency = Urgency.ROUTINE
    if kind is NoticeKind.SECURITY or (kind is NoticeKind.DELIVERY_TODAY and draws.happens(200)):
        urgency = Urgency.URGENT
    elif kind in (NoticeKind.PAYMENT_PROBLEM, NoticeKind.DELIVERY_TODAY):
        urgency = Urgency.SOON
    channels = tuple(
        Reach(
            channel=channel,
            consented=channel in customer.consents,
            works=draws.happens(970),
            read_percent=max(0, min(100, share + draws.between(-10, 10))),
            cost=Money(amount_minor=COST_MINOR[channel], currency=CURRENCY),
        )
        for channel, share in customer.reads.items()
    )
    return NoticeDue(
        notice_id=name,
        customer_id=customer.name,
        kind=kind,
        urgency=urgency,
        valid_until=at + timedelta(hours=VALID_HOURS[kind]),
        time_zone=customer.zone,
        reads_at=customer.reads_at,
        channels=channels,
    )


def _reaction(
    customer: _Customer, notice: NoticeDue, channel: Channel, sent: datetime, draws: tuple[int, int, int]
) -> tuple[int, NoticeAnswered | None, datetime]:
    """What a message that was sent earned, and what the customer does about it."""
    value = -COST_MINOR[channel]
    reach = next(reach for reach in notice.channels if reach.channel is channel)
    if not reach.works or channel in customer.off:
        return value, None, sent
    hour = sent.astimezone(ZoneInfo(customer.zone)).hour
    asleep = hour >= ASLEEP[0] or hour < ASLEEP[1]
    wakes = asleep and channel in (Channel.SMS, Channel.PUSH)
    away = min((hour - customer.reads_at) % 24, (customer.reads_at - hour) % 24)
    read_at = sent + timedelta(minutes=draws[2] + 45 * away)
    reads = draws[0] < 10 * customer.reads[channel] and read_at <= notice.valid_until
    if reads:
        value += WORTH_MINOR[notice.kind]
    if wakes:
        value -= WOKEN_MINOR
    tires = TIRES_PER_MILLE if notice.kind in (NoticeKind.OFFER, NoticeKind.BACK_IN_STOCK) else 4
    leaves = draws[1] < tires * (5 if wakes else 1)
    if leaves:
        customer.off.add(channel)
        value -= LEFT_MINOR
    answer = NoticeAnswered(
        notice_id=notice.notice_id,
        customer_id=notice.customer_id,
        channel=channel,
        read=reads,
        unsubscribed=leaves,
    )
    return value, answer, read_at


def rule(situation: Situation[Any]) -> Action:
    """An e-mail at once; a text message where it is urgent and e-mail does not work."""
    channels = {reach.channel: reach for reach in situation.event.channels}
    email = channels.get(Channel.EMAIL)
    if situation.event.urgency is Urgency.URGENT and (email is None or not email.works):
        return SendNow(channel=Channel.SMS)
    return SendNow(channel=Channel.EMAIL)


NOTICES: Final = World(
    name="notices",
    agent=NOTIFIER,
    rule=rule,
    rule_title="an e-mail at once, a text message where that fails and it is urgent",
    currency=CURRENCY,
    play=play,
)

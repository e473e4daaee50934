"""The notifier under the shipped policies: channels, hours, consent, fatigue, time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jurat.agents.agent import Action, Situation
from jurat.agents.memory import NOTHING, Memory, remember
from jurat.agents.notice_time import is_quiet, next_at, zone_of
from jurat.agents.notifier import NOTIFIER, AddToDigest, SendAt, SendNow, Suppress
from jurat.agents.payment_retrier import GiveUp
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.errors import ConfigurationError, InputRejected
from jurat.schemas.notices import Channel, NoticeAnswered, NoticeDue, NoticeKind, Reach, Urgency
from jurat.streams.usage import Counted, PartitionUsage
from tests.shop import Down, Insisting, euros, run, told

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NIGHT = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
WHERE = InputRef(topic="commerce.notices", partition=0, offset=0)


@cache
def engine() -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle("notices")))


def reach(channel: Channel, read: int = 60, **changes: Any) -> Reach:
    given: dict[str, Any] = {
        "channel": channel,
        "consented": True,
        "works": True,
        "read_percent": read,
        "cost": euros(7 if channel is Channel.SMS else 1),
    }
    return Reach(**given | changes)


BOTH = (reach(Channel.EMAIL, 40), reach(Channel.SMS, 90))


def notice(
    kind: NoticeKind = NoticeKind.ORDER_SHIPPED,
    urgency: Urgency = Urgency.ROUTINE,
    *channels: Reach,
    hours: int = 72,
    at: datetime = NOON,
    **changes: Any,
) -> NoticeDue:
    given: dict[str, Any] = {
        "notice_id": "n-1",
        "customer_id": "c-1",
        "kind": kind,
        "urgency": urgency,
        "valid_until": at + timedelta(hours=hours),
        "time_zone": "Europe/Berlin",
        "channels": channels or BOTH,
    }
    return NoticeDue(**given | changes)


def asked(event: NoticeDue, at: datetime = NOON, memory: Memory = NOTHING) -> Situation[Any]:
    return Situation(event=event, now=at, occurred_at=at, memory=memory)


def fresh() -> Counted:
    return Counted(engine(), PartitionUsage(partition=0), "c-1")


def insisted(
    event: NoticeDue, action: Action, at: datetime = NOON, memory: Memory = NOTHING
) -> tuple[str, ...]:
    seen = asked(event, at, memory)
    decided = run(NOTIFIER, seen, reasoner=Insisting(action), judge=fresh())
    name, verdict, policies = told(decided)[0]
    assert name == action.action_name
    return (verdict, *policies)


def answered(channel: Channel, *, read: bool = False, unsubscribed: bool = False) -> Memory:
    answer = NoticeAnswered(
        notice_id="n-0", customer_id="c-1", channel=channel, read=read, unsubscribed=unsubscribed
    )
    assert NOTIFIER.remembers is not None
    learned = NOTIFIER.remembers.from_events[NoticeAnswered](answer, NOON)
    return remember(NOTHING, learned, source=WHERE, learned_at=NOON)


def test_an_urgent_matter_goes_out_at_once_even_at_night() -> None:
    decided = run(NOTIFIER, asked(notice(NoticeKind.SECURITY, Urgency.URGENT), NIGHT), judge=fresh())
    assert isinstance(decided.chosen.proposal.action, SendNow)
    assert decided.chosen.judgement.verdict is Verdict.ALLOW


def test_a_parcel_on_its_way_does_not_wake_anybody() -> None:
    decided = run(NOTIFIER, asked(notice(), NIGHT), judge=fresh())
    action = decided.chosen.proposal.action
    assert not isinstance(action, SendNow)
    if isinstance(action, SendAt):
        assert 8 <= action.at.astimezone(ZoneInfo("Europe/Berlin")).hour < 22


def test_an_offer_goes_into_the_digest_or_nowhere() -> None:
    event = notice(NoticeKind.OFFER, Urgency.ROUTINE, reach(Channel.SMS, 90, cost=euros(30)))
    decided = run(NOTIFIER, asked(event), judge=fresh())
    assert isinstance(decided.chosen.proposal.action, AddToDigest | Suppress)


@pytest.mark.parametrize(
    ("event", "action", "at", "answer"),
    [
        (notice(), SendNow(channel=Channel.LETTER), NOON, ("deny", "notice.consent", "notice.does-not-work")),
        (notice(NoticeKind.OFFER), SendNow(channel=Channel.EMAIL), NIGHT, ("deny", "notice.quiet")),
        (
            notice(),
            SendAt(channel=Channel.EMAIL, at=NOON - timedelta(minutes=1)),
            NOON,
            ("deny", "notice.when"),
        ),
        (
            notice(hours=1),
            SendAt(channel=Channel.EMAIL, at=NOON + timedelta(hours=2)),
            NOON,
            ("deny", "notice.too-late"),
        ),
        (
            notice(hours=2_000),
            SendAt(channel=Channel.EMAIL, at=NOON + timedelta(days=7, minutes=1)),
            NOON,
            ("deny", "notice.when"),
        ),
        (notice(NoticeKind.PAYMENT_PROBLEM), Suppress(), NOON, ("deny", "notice.must-be-told")),
        (notice(urgency=Urgency.URGENT), AddToDigest(), NOON, ("deny", "notice.must-be-told")),
        (
            notice(NoticeKind.OFFER, Urgency.ROUTINE, reach(Channel.SMS, cost=euros(21))),
            SendNow(channel=Channel.SMS),
            NOON,
            ("escalate", "notice.marketing-costs"),
        ),
    ],
)
def test_what_a_reasoner_may_not_do(
    event: NoticeDue, action: Action, at: datetime, answer: tuple[str, ...]
) -> None:
    assert insisted(event, action, at) == answer


def test_who_asked_for_no_more_is_remembered() -> None:
    gone = answered(Channel.EMAIL, unsubscribed=True)
    offer, parcel = notice(NoticeKind.OFFER), notice()
    assert insisted(offer, SendNow(channel=Channel.EMAIL), memory=gone) == ("deny", "notice.unsubscribed")
    assert insisted(parcel, SendNow(channel=Channel.EMAIL), memory=gone) == ("allow", "notice.send.grant")
    assert insisted(offer, SendNow(channel=Channel.SMS), memory=gone) == ("allow", "notice.send.grant")
    assert insisted(offer, SendNow(channel=Channel.EMAIL), memory=answered(Channel.EMAIL)) == (
        "allow",
        "notice.send.grant",
    )


def test_four_a_day_and_two_offers_a_week() -> None:
    usage = PartitionUsage(partition=0)

    def send(event: NoticeDue, offset: int, at: datetime) -> tuple[str, ...]:
        seen = asked(event, at)
        insisting = Insisting(SendNow(channel=Channel.EMAIL))
        decided = run(NOTIFIER, seen, reasoner=insisting, judge=Counted(engine(), usage, "c-1"))
        first = decided.proposals[0]
        if first.judgement.verdict is Verdict.ALLOW:
            where = InputRef(topic="commerce.notices", partition=0, offset=offset)
            usage.take(first.judgement.charges, where=where, at=at)
        return (first.judgement.verdict.value, *first.judgement.policies)

    allowed = ("allow", "notice.send.grant")
    assert [send(notice(NoticeKind.OFFER), number, NOON) for number in range(3)] == [
        allowed,
        allowed,
        ("deny", "notice.marketing-week"),
    ]
    assert [send(notice(), number, NOON) for number in range(10, 13)] == [
        allowed,
        allowed,
        ("deny", "notice.day"),
    ]
    assert send(notice(urgency=Urgency.URGENT), 20, NOON) == allowed
    assert send(notice(), 21, NOON + timedelta(hours=25)) == allowed
    assert send(notice(NoticeKind.OFFER, hours=900), 22, NOON + timedelta(days=6)) == (
        "deny",
        "notice.marketing-week",
    )
    assert send(notice(NoticeKind.OFFER, hours=900), 23, NOON + timedelta(days=7, minutes=1)) == allowed


def test_without_a_reasoner_what_can_wait_waits() -> None:
    decided = run(NOTIFIER, asked(notice()), reasoner=Down(), judge=fresh())
    assert decided.chosen.proposal.action == AddToDigest()
    urgent = notice(
        NoticeKind.SECURITY, Urgency.URGENT, reach(Channel.SMS, 99, works=False), reach(Channel.EMAIL, 5)
    )
    decided = run(NOTIFIER, asked(urgent), reasoner=Down(), judge=fresh())
    assert decided.chosen.proposal.action == SendNow(channel=Channel.EMAIL)


def test_an_action_of_another_agent_is_a_defect() -> None:
    with pytest.raises(ConfigurationError, match="GiveUp"):
        NOTIFIER.judged(asked(notice()), GiveUp())


def test_a_time_zone_that_is_none_is_refused_by_name() -> None:
    for name in ("Europe/Atlantis", "Mars", "Europe"):
        with pytest.raises(InputRejected, match=name):
            zone_of(name)
    for name in ("../etc/passwd", "/etc/passwd", "a" * 200, ""):
        with pytest.raises(ValidationError):
            notice(time_zone=name)


def test_a_channel_stands_once() -> None:
    with pytest.raises(ValidationError, match="twice"):
        notice(NoticeKind.OFFER, Urgency.ROUTINE, BOTH[0], BOTH[0])


@pytest.mark.parametrize(
    ("hour", "begins", "ends", "quiet"),
    [
        (21, 22, 8, False),
        (22, 22, 8, True),
        (7, 22, 8, True),
        (8, 22, 8, False),
        (12, 10, 14, True),
        (14, 10, 14, False),
        (3, 5, 5, False),
    ],
)
def test_quiet_hours_go_over_midnight(hour: int, begins: int, ends: int, *, quiet: bool) -> None:
    zone = ZoneInfo("Europe/Berlin")
    moment = datetime(2026, 1, 15, hour, 30, tzinfo=zone)
    assert is_quiet(moment, zone, begins=begins, ends=ends) is quiet


@pytest.mark.parametrize(
    ("after", "hour", "expected"),
    [
        # Berlin goes from 2:00 to 3:00 on 29 March 2026: 8:00 is an hour earlier in UTC than the day before.
        ("2026-03-28T20:00:00+00:00", 8, "2026-03-29T06:00:00+00:00"),
        ("2026-03-27T20:00:00+00:00", 8, "2026-03-28T07:00:00+00:00"),
        # The hour that the day does not have.
        ("2026-03-28T23:00:00+00:00", 2, "2026-03-29T01:00:00+00:00"),
        # And back, from 3:00 to 2:00, on 25 October 2026.
        ("2026-10-24T20:00:00+00:00", 8, "2026-10-25T07:00:00+00:00"),
        ("2026-10-24T22:30:00+00:00", 2, "2026-10-25T00:00:00+00:00"),
    ],
)
def test_the_next_hour_on_days_when_clocks_change(after: str, hour: int, expected: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert next_at(datetime.fromisoformat(after), zone, hour) == datetime.fromisoformat(expected)


ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "UTC")


@settings(max_examples=300, deadline=None)
@given(
    st.integers(946_684_800, 2_145_916_799).map(lambda s: datetime.fromtimestamp(s, UTC)),
    st.sampled_from(ZONES),
    st.integers(0, 23),
)
def test_the_next_hour_is_to_come_and_at_most_two_days_away(moment: datetime, name: str, hour: int) -> None:
    zone = ZoneInfo(name)
    found = next_at(moment, zone, hour)
    assert moment < found <= moment + timedelta(hours=50)
    assert found.astimezone(zone).hour in (hour, (hour + 1) % 24)


reaches = st.lists(
    st.builds(
        Reach,
        channel=st.sampled_from(Channel),
        consented=st.booleans(),
        works=st.booleans(),
        read_percent=st.integers(0, 100),
        cost=st.builds(euros, st.integers(0, 200)),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.channel,
)


@settings(max_examples=150, deadline=None)
@given(
    reaches,
    st.sampled_from(NoticeKind),
    st.sampled_from(Urgency),
    st.sampled_from(ZONES),
    st.integers(1_767_225_600, 1_798_761_599).map(lambda s: datetime.fromtimestamp(s, UTC)),
    st.integers(0, 200),
    st.integers(0, 23),
    st.integers(0, 23),
)
def test_whatever_is_due_nobody_is_sent_to_against_their_will(
    channels: list[Reach],
    kind: NoticeKind,
    urgency: Urgency,
    zone: str,
    at: datetime,
    hours: int,
    begins: int,
    ends: int,
) -> None:
    event = notice(
        kind, urgency, *channels, hours=hours, at=at, time_zone=zone, quiet_from=begins, quiet_until=ends
    )
    decided = run(NOTIFIER, asked(event, at), judge=fresh())
    action = decided.chosen.proposal.action
    if decided.chosen.judgement.verdict is not Verdict.ALLOW or not isinstance(action, SendNow | SendAt):
        return
    used = next(one for one in channels if one.channel is action.channel)
    assert used.works
    assert used.consented or kind is NoticeKind.SECURITY
    sent = at if isinstance(action, SendNow) else action.at
    assert at <= sent <= event.valid_until
    if is_quiet(sent, ZoneInfo(zone), begins=begins, ends=ends):
        assert urgency is Urgency.URGENT
        assert kind not in (NoticeKind.OFFER, NoticeKind.BACK_IN_STOCK)


@pytest.mark.parametrize(
    ("at", "zone"),
    [
        (datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "Asia/Tokyo"),
        (datetime(1, 1, 1, tzinfo=UTC), "America/New_York"),
    ],
)
def test_a_moment_at_the_end_of_the_calendar_is_refused_and_not_stumbled_over(
    at: datetime, zone: str
) -> None:
    verdict, *policies = insisted(notice(time_zone=zone), SendAt(channel=Channel.EMAIL, at=at))
    assert verdict == "deny"
    assert "notice.when" in policies

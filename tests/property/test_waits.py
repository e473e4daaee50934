"""What waits in a partition: parked inputs keep their order and survive a restart, timers fire once and on time."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jurat.schemas import canonical
from jurat.schemas.cloudevents import MAX_ID_CHARS, read_headers
from jurat.schemas.codec import decode
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import InputRejected
from jurat.schemas.timers import TimerFired
from jurat.streams import parking as parking_module
from jurat.streams import topics
from jurat.streams.kafka import Connection, KafkaRecord
from jurat.streams.outputs import Writer
from jurat.streams.parking import MAX_HEADERS, MAX_RECORD_BYTES, Parked, Parking, fits
from jurat.streams.timers import GARBAGE, MAX_DUE, MAX_TIMERS, Due, Standing, Timers, standing_timers
from tests.partition_stage import INPUT, START, TIMERS, record

SETTER = InputRef(topic=INPUT, partition=0, offset=3)
PRINTED_AT_MOST = int(topics.state("x").configs(replication=3)["max.message.bytes"])


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def restarted(changelog: dict[str, bytes], now: datetime) -> Parking:
    again, collected = Parking(partition=0), dict[str, Parked]()
    for suffix, value in sorted(changelog.items()):  # compaction keeps no order across keys
        again.restore(suffix, value, collected)
    again.restored(collected, now=now)
    return again


script = st.lists(
    st.one_of(
        st.tuples(st.just("park"), st.integers(0, 3)),
        st.tuples(st.just("due"), st.integers(0, 5)),
        st.tuples(st.just("again"), st.integers(0, 5)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=120,
)


@given(script=script)
def test_each_key_ends_in_the_order_in_which_it_was_parked_through_restarts(
    script: list[tuple[str, int]],
) -> None:
    parking, changelog, now, offset = Parking(partition=0), dict[str, bytes](), START, 0
    expected: dict[bytes | None, deque[int]] = defaultdict(deque)
    in_work: dict[bytes | None, int] = {}

    def write(one: Parked) -> None:
        changelog[one.suffix] = one.printed()

    for what, number in script:
        if what == "park":
            one = record(
                offset, None if number == 0 else f"k-{number}", topic=TIMERS if offset % 3 == 0 else INPUT
            )
            first = not parking.holds(one.key)
            assert first == (not expected[one.key])
            write(
                parking.park(one, attempt=1, due=now + timedelta(seconds=5)) if first else parking.park(one)
            )
            expected[one.key].append(offset)
            offset += 1
        elif what == "due":
            now += timedelta(seconds=number)
            for due in parking.take_due(now):
                assert due.record.key not in in_work
                assert due.record.offset == expected[due.record.key][0]
                in_work[due.record.key] = due.attempt
        elif what == "again" and in_work:
            lane = sorted(in_work, key=repr)[number % len(in_work)]
            write(parking.again(lane, attempt=in_work.pop(lane) + 1, due=now + timedelta(seconds=number)))
        elif what == "end" and in_work:
            lane = sorted(in_work, key=repr)[number % len(in_work)]
            del in_work[lane]
            was = parking.end(lane)
            assert was.record.offset == expected[lane].popleft()
            del changelog[was.suffix]
            following = parking.take_next(lane)
            assert (following is None) == (not expected[lane])
            if following is not None:
                in_work[lane] = following.attempt
        elif what == "restart":
            parking, in_work = restarted(changelog, now), {}
        assert len(parking) == sum(map(len, expected.values())) == len(changelog)
    parking = restarted(changelog, now)
    for due in parking.take_due(now + timedelta(hours=1)):
        lane = due.record.key
        taken: Parked | None = due
        while taken is not None:
            assert taken.record.offset == expected[lane].popleft()
            parking.end(lane)
            taken = parking.take_next(lane)
    assert (sum(map(len, expected.values())), len(parking), parking.next_due) == (0, 0, None)


keys = st.one_of(st.none(), st.binary(max_size=20))


@given(
    key=keys,
    value=keys,
    headers=st.lists(
        st.tuples(st.text(max_size=10).filter(str.isprintable), st.binary(max_size=10)), max_size=5
    ),
    attempt=st.integers(0, 100),
    timestamp_ms=st.integers(0, canonical.MAX_INTEGER),
)
def test_a_parked_input_comes_back_as_it_was(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], attempt: int, timestamp_ms: int
) -> None:
    one = KafkaRecord(INPUT, 0, 7, timestamp_ms, key, value, tuple(headers))
    parked = Parking(partition=0).park(one, attempt=attempt, due=at(1.5))
    assert restarted({parked.suffix: parked.printed()}, START).take_due(at(2)) == [parked]


@pytest.mark.parametrize("stamp", [-1, -(2**63), 2**63 - 1])
def test_whatever_a_publisher_stamped_can_be_parked(stamp: int) -> None:
    parked = Parking(partition=0).park(replace(record(0), timestamp_ms=stamp), attempt=1, due=START)
    (again,) = restarted({parked.suffix: parked.printed()}, START).take_due(START)
    assert again.record.timestamp_ms in (0, canonical.MAX_INTEGER)


@given(moment=st.datetimes(timezones=st.timezones() | st.just(UTC)), seconds=st.integers(-86_399, 86_399))
def test_timers_that_may_stand_come_back_as_they_were_set(moment: datetime, seconds: int) -> None:
    for one in (moment, moment.replace(tzinfo=timezone(timedelta(seconds=seconds)))):
        try:
            held = standing_timers({"t": one}, set_by=SETTER)
        except InputRejected:
            continue
        timers, again = Timers(), Timers()
        again.restore("k", timers.replace("k", held))
        assert again.next_due == timers.next_due
        assert timers.next_due == one.astimezone(UTC)  # one of an ambiguous hour equals none of another zone


def test_what_waited_behind_an_input_that_ended_is_due_at_once_after_a_restart() -> None:
    parking = Parking(partition=0)
    parking.park(record(0), attempt=1, due=at(60))
    behind = parking.park(record(1))
    assert restarted({behind.suffix: behind.printed()}, at(1)).take_due(at(1)) == [replace(behind, due=at(1))]


def test_what_is_parked_is_bounded_by_number_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking_module, "MAX_PARKED_RECORDS", 3)
    parking = Parking(partition=0)
    for offset in range(3):
        assert not parking.full
        parking.park(record(offset), attempt=1, due=START)
    assert parking.full
    parking.take_due(START)
    parking.end(b"c-1")
    assert not parking.full
    monkeypatch.setattr(parking_module, "MAX_PARKED_BYTES", 1_000)
    parking.park(record(9, size=1_000), attempt=1, due=START)
    assert parking.full


@pytest.mark.parametrize(
    "one",
    [
        record(0, "k", size=MAX_RECORD_BYTES - 1),
        replace(
            record(0, size=0), headers=(("n", b"x" * (MAX_RECORD_BYTES // MAX_HEADERS - 10)),) * MAX_HEADERS
        ),
        replace(record(0, size=0), headers=(("\u00e9" * 20, b""),) * MAX_HEADERS),
    ],
)
def test_whatever_fits_can_be_written_to_the_changelog(one: KafkaRecord) -> None:
    assert fits(one)
    assert len(Parking(partition=0).park(one).printed()) < PRINTED_AT_MOST - 1_000


# Few characters each, repeated: what is drawn must be large, not long to draw.
header = st.tuples(
    st.tuples(st.text('\0\x1f"\\a\u00e9\u2028\U0001f600', max_size=3), st.integers(0, 600)),
    st.tuples(st.binary(max_size=2), st.integers(0, 1_000)),
    st.integers(0, MAX_HEADERS),
)


@given(headers=st.lists(header, max_size=3), key=st.integers(0, 2_000), size=st.integers(0, MAX_RECORD_BYTES))
@example(headers=[(("\0", 349), (b"", 0), MAX_HEADERS)], key=0, size=0)
@settings(max_examples=30, deadline=None)
def test_whatever_fits_is_below_what_the_topic_takes_however_its_headers_are_named(
    headers: list[tuple[tuple[str, int], tuple[bytes, int], int]], key: int, size: int
) -> None:
    drawn = tuple(
        (name * names, value * values)
        for (name, names), (value, values), times in headers
        for _ in range(times)
    )
    one = replace(record(0, "\0" * key, size=size), headers=drawn)
    if fits(one):
        parking = Parking(partition=0)
        parking.park(one)
        again = parking.again(one.key, attempt=10**9, due=START.replace(microsecond=1))
        assert len(again.printed()) < PRINTED_AT_MOST - 1_000


@pytest.mark.parametrize(
    "one",
    [
        replace(record(0), headers=(("\0" * 349, b""),) * MAX_HEADERS),
        record(0, "k", size=MAX_RECORD_BYTES),
        replace(record(0), headers=(("n", b""),) * (MAX_HEADERS + 1)),
        replace(record(0), headers=(("n", b"x" * MAX_RECORD_BYTES),)),
    ],
)
def test_what_is_too_large_does_not_fit(one: KafkaRecord) -> None:
    assert not fits(one)


def standing(**timers: float) -> Standing:
    return Standing(set_by=SETTER, timers={name: at(seconds) for name, seconds in timers.items()})


timer_script = st.lists(
    st.one_of(
        st.tuples(
            st.just("replace"),
            st.sampled_from(["a", "b/c", "d"]),
            st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(0, 60), max_size=3),
        ),
        st.tuples(
            st.just("due"), st.just(""), st.dictionaries(st.just("by"), st.integers(0, 20), max_size=1)
        ),
        st.tuples(st.just("restart"), st.just(""), st.just({})),
    ),
    max_size=80,
)


@given(script=timer_script)
def test_timers_fire_when_they_are_due_once_and_as_they_were_last_set(
    script: list[tuple[str, str, dict[str, int]]],
) -> None:
    timers, changelog, now = Timers(), dict[str, bytes](), 0
    model: dict[str, dict[str, int]] = {}

    def write(key: str, value: bytes | None) -> None:
        if value is None:
            changelog.pop(key, None)
        else:
            changelog[key] = value

    for what, key, numbers in script:
        if what == "replace":
            write(key, timers.replace(key, standing(**numbers) if numbers else None))
            model[key] = dict(numbers)
        elif what == "due":
            now += numbers.get("by", 0)
            fired = timers.take_due(at(now))
            for one in fired:
                write(one.key, one.value)
            expected = sorted(
                (due, name_of, name)
                for name_of, held in model.items()
                for name, due in held.items()
                if due <= now
            )
            assert [(one.due_at, one.key, one.name) for one in fired] == [
                (at(due), k, n) for due, k, n in expected
            ]
            for _due, name_of, name in expected:
                del model[name_of][name]
        else:
            timers = Timers()
            for key_, value in changelog.items():
                timers.restore(key_, value)
        left = [due for held in model.values() for due in held.values()]
        assert len(timers) == len(left)
        assert timers.next_due == (at(min(left)) if left else None)


def test_replacing_a_timer_a_million_times_keeps_no_garbage() -> None:
    timers = Timers()
    timers.replace("first", standing(t=1))  # whatever is due before hides what lies below it on the heap
    ahead = [standing(t=100 + number, u=200 + number) for number in range(100)]
    for number in range(100_000):
        timers.replace(f"k-{number % 10}", ahead[number % 100])
    assert len(timers) == 21
    assert len(timers._heap) <= 2 * len(timers) + GARBAGE + 2 * MAX_TIMERS
    for number in range(10):
        timers.replace(f"k-{number}", None)
    assert [due.key for due in timers.take_due(at(10_000))] == ["first"]


def test_what_is_due_is_taken_a_batch_at_a_time() -> None:
    timers = Timers()
    for number in range(MAX_DUE + 1):
        timers.replace(f"k-{number}", standing(t=number))
    assert len(timers.take_due(at(10_000))) == MAX_DUE
    assert [due.key for due in timers.take_due(at(10_000))] == [f"k-{MAX_DUE}"]


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=100)


@given(key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200), name=printable)
def test_every_timer_that_may_stand_can_be_written_and_read(key: str, name: str) -> None:
    """A timer that cannot be written would stop its partition for good."""
    writer = Writer(
        connection=Connection("nowhere:1"),
        agent="payment-retrier",
        partition=4,
        signing=None,
        cluster_id="c",
        ids=None,
    )  # type: ignore[arg-type]
    timers = Timers()
    timers.replace(key, Standing(set_by=SETTER, timers={name: START}))
    (due,) = timers.take_due(START)
    event, state = writer.fired(due, input_topic=INPUT, at=START)
    assert (event.partition, event.key, state.key) == (4, key.encode(), f"timer/{INPUT}/{key}".encode())
    attributes = read_headers(event.headers)
    assert (attributes.subject, len(attributes.id) <= MAX_ID_CHARS) == (key, True)
    fired = decode(event.value, expected=TimerFired)
    assert isinstance(fired, TimerFired)
    assert fired == TimerFired(agent="payment-retrier", event_key=key, name=name, due_at=START, set_by=SETTER)


def test_a_timer_that_is_due_says_what_is_left_of_its_key() -> None:
    timers = Timers()
    timers.replace("k", standing(a=1, b=2))
    (due,) = timers.take_due(at(1))
    assert isinstance(due, Due)
    again = Timers()
    again.restore("k", due.value)
    assert [(one.name, one.value) for one in again.take_due(at(5))] == [("b", None)]

"""Dead letters without Kafka: what is a letter, what became of it, and what a terminal gets to see."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from click.testing import CliRunner

from jurat.cli import dead_letters as command
from jurat.cli.main import entry
from jurat.schemas.errors import ConfigurationError, RecordTooLarge
from jurat.streams import dead_letter_box as box
from jurat.streams.dead_letter_box import Coordinates, How, Letter, Place, Resolution, Survey, Wanted
from jurat.streams.dead_letter_resolving import MAX_BY_CHARS, Resolver, resolution_headers
from jurat.streams.dead_letters import MAX_LETTER_BYTES, OURS, dead_letter, original_headers
from jurat.streams.kafka import Connection, KafkaRecord

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORIGIN = Coordinates("shop.commerce.payments", 2, 40)
CONNECTION = Connection("nowhere:1", "shop")
ESCAPE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\n\nletter   9/9"
HOSTILE = ESCAPE.encode()


def rejected(
    *,
    key: bytes | None = b"c-1",
    value: bytes | None = b"{not json",
    headers: tuple[tuple[str, bytes], ...] = (),
) -> KafkaRecord:
    return KafkaRecord(ORIGIN.topic, ORIGIN.partition, ORIGIN.offset, 5, key, value, headers)


def on_topic(
    record: KafkaRecord, offset: int, *, error: str = "DecodeError", reason: str = "bad"
) -> KafkaRecord:
    letter = dead_letter(record, error=error, reason=reason)
    return KafkaRecord("shop.dead-letters.x", 2, offset, 7, letter.key, letter.value, tuple(letter.headers))


def resolved(letter: Place, offset: int, how: How = How.DROPPED, **fields: object) -> KafkaRecord:
    now_at = Coordinates(ORIGIN.topic, 2, 41) if how is How.REPLAYED else None
    one = Resolution(letter=letter, how=how, by="anna@desk", at=NOW, now_at=now_at)
    headers = dict(resolution_headers(one)) | fields
    kept = tuple((name, value) for name, value in headers.items() if isinstance(value, bytes))
    return KafkaRecord("shop.dead-letters.x", letter.partition, offset, 8, None, b"", kept)


def of(found: Letter | Resolution | None) -> Letter:
    assert isinstance(found, Letter)
    return found


def test_an_address_is_read_and_written() -> None:
    assert Place.parse("2/17") == Place(2, 17)
    assert str(Place(2, 17)) == "2/17"


@pytest.mark.parametrize(
    "text", ["", "2", "2/", "/17", "2/17/3", "-1/3", "2/1 7", "02/17", "2/٣", "2/17\n", "2/" + "9" * 30]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 2/17"):
        Place.parse(text)


def test_a_letter_says_where_it_came_from_and_why() -> None:
    letter = of(box.parse(on_topic(rejected(headers=(("ce_id", b"e-1"),)), 17, reason="x" * 3_000)))
    assert letter == Letter(
        place=Place(2, 17),
        written_ms=7,
        origin=ORIGIN,
        error="DecodeError",
        reason="x" * box.MAX_REASON_HELD,
        size=len(b"c-1" + b"{not json" + b"ce_id" + b"e-1"),
        truncated=None,
    )


def test_a_letter_that_was_cut_says_so() -> None:
    letter = of(box.parse(on_topic(rejected(value=b"x" * MAX_LETTER_BYTES), 0)))
    assert letter.truncated == MAX_LETTER_BYTES + 3
    assert letter.size < MAX_LETTER_BYTES


@pytest.mark.parametrize("how", list(How))
def test_a_resolution_is_read_as_it_was_written(how: How) -> None:
    found = box.parse(resolved(Place(2, 17), 20, how))
    assert isinstance(found, Resolution)
    assert (found.letter, found.how, found.by, found.at) == (Place(2, 17), how, "anna@desk", NOW)
    assert found.now_at == (Coordinates(ORIGIN.topic, 2, 41) if how is How.REPLAYED else None)


@pytest.mark.parametrize(
    "record",
    [
        KafkaRecord("t", 2, 20, 0, None, b"hello"),
        KafkaRecord("t", 2, 20, 0, None, b"", (("jurat-resolved", b"dropped"),)),
        resolved(Place(2, 17), 20, **{"jurat-resolved": b"forgotten"}),
        resolved(Place(2, 17), 20, **{"jurat-at": b"yesterday"}),
        resolved(Place(2, 17), 20, **{"jurat-letter": b"2/-1"}),
        resolved(Place(2, 20), 20),
        resolved(Place(2, 17), 20, How.REPLAYED, **{"jurat-offset": None}),
        KafkaRecord("t", 2, 20, 0, None, b"", (("jurat-error", b"x"), ("jurat-topic", b"t"))),
    ],
)
def test_what_is_neither_letter_nor_resolution_is_counted_and_left_out(record: KafkaRecord) -> None:
    found = Survey()
    found.add(on_topic(rejected(), 17), Wanted())
    found.add(record, Wanted())
    assert (found.foreign, found.first_foreign) == (1, Place(2, 20))
    assert list(found.letters) == [Place(2, 17)]


def test_a_resolution_on_another_partition_is_none() -> None:
    record = resolved(Place(2, 17), 20)
    moved = KafkaRecord("t", 3, 20, 0, None, b"", record.headers)
    assert box.parse(moved) is None


def test_an_input_cannot_bring_our_headers() -> None:
    """Else a publisher could have a letter taken for a resolution, or for one that was cut and is not replayed."""
    forged = (*((name, b"1") for name in sorted(OURS)), ("jurat-like", b"kept"))
    record = on_topic(rejected(headers=forged), 17)
    letter = of(box.parse(record))
    assert letter.origin == ORIGIN
    assert letter.truncated is None
    assert original_headers(record) == [("jurat-like", b"kept")]
    # A letter by whoever did not take them out is still a letter.
    older = KafkaRecord("t", 2, 18, 0, None, b"", (*resolved(Place(2, 17), 18).headers, *record.headers))
    assert isinstance(box.parse(older), Letter)


def filled(wanted: Wanted) -> Survey:
    found = Survey()
    found.add(on_topic(rejected(), 1), wanted)
    found.add(on_topic(rejected(), 2, error="InputRejected"), wanted)
    found.add(resolved(Place(2, 1), 3), wanted)
    found.add(resolved(Place(2, 1), 4, How.REPLAYED), wanted)
    return found


def test_resolved_letters_are_hidden_unless_asked_for() -> None:
    assert list(filled(Wanted()).letters) == [Place(2, 2)]
    assert list(filled(Wanted(error="DecodeError")).letters) == []
    every = filled(Wanted(also_resolved=True)).letters
    first = every[Place(2, 1)].resolution
    assert first is not None
    assert first.how is How.DROPPED, "the first resolution counts"
    assert every[Place(2, 2)].resolution is None
    named = filled(Wanted(places=frozenset([Place(2, 1)]))).letters
    assert [letter.resolution is None for letter in named.values()] == [False]


def test_a_survey_is_bounded_and_resolved_letters_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "MAX_HELD", 2)
    found = Survey()
    for offset in range(4):
        found.add(on_topic(rejected(), offset), Wanted())
    assert (list(found.letters), found.not_held) == ([Place(2, 0), Place(2, 1)], 2)
    found.add(resolved(Place(2, 0), 4), Wanted())
    found.add(on_topic(rejected(), 5), Wanted())
    assert list(found.letters) == [Place(2, 1), Place(2, 5)]


def shown(record: KafkaRecord) -> list[str]:
    return list(command.story(CONNECTION, of(box.parse(record)), record))


def test_show_tells_the_whole_story() -> None:
    record = on_topic(rejected(headers=(("ce_id", b"e-1"),)), 17, reason="got JSON that is none")
    assert shown(record) == [
        "letter   2/17, written 1970-01-01T00:00:00.007+00:00",
        "from     commerce.payments 2/40",
        "error    DecodeError",
        "reason   got JSON that is none",
        "state    waiting",
        "key",
        "  c-1",
        "1 headers",
        "  ce_id: e-1",
        "value, 9 bytes of text",
        "  {not json",
    ]


def test_a_value_that_is_no_text_is_dumped_up_to_a_bound() -> None:
    lines = shown(on_topic(rejected(key=None, value=b"\xc3\x01jurat" + bytes(1_000)), 17))
    assert lines[5] == "no key"
    assert lines[7] == "value, 1007 bytes, not text"
    assert lines[8] == "  00000000  c3 01 6a 75 72 61 74 00 00 00 00 00 00 00 00 00  ..jurat........."
    assert len(lines) == 8 + command.MAX_DUMP_BYTES // command.DUMP_WIDTH + 1
    assert lines[-1] == "and 495 more bytes; --raw writes them all"


def test_long_texts_and_many_headers_are_cut() -> None:
    many = tuple((f"h{n}", b"v" * 500) for n in range(60))
    lines = shown(on_topic(rejected(value=b"x" * 5_000, headers=many), 17))
    assert max(map(len, lines)) <= command.MAX_TEXT_CHARS + 2
    assert "  and 10 more" in lines
    assert lines[-1] == "and 1000 more characters; --raw writes them all"


@pytest.mark.parametrize("everywhere", [HOSTILE, b"\xff\xfe" + HOSTILE])
def test_what_strangers_wrote_cannot_steer_the_terminal(everywhere: bytes) -> None:
    headers = ((ESCAPE, everywhere),)
    record = on_topic(
        rejected(key=everywhere, value=everywhere, headers=headers), 17, error=ESCAPE, reason=ESCAPE
    )
    lines = shown(record)
    assert all(line.isprintable() for line in lines), lines
    assert sum(line.startswith("letter ") for line in lines) == 1, "a value faked a line of ours"
    letter = of(box.parse(record))
    line = command.json_line(letter)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["error"] == ESCAPE


def test_json_lines_say_what_became_of_a_letter() -> None:
    waiting = of(box.parse(on_topic(rejected(), 17)))
    assert json.loads(command.json_line(waiting)) == {
        "letter": "2/17",
        "written_at": "1970-01-01T00:00:00.007+00:00",
        "topic": "shop.commerce.payments",
        "partition": 2,
        "offset": 40,
        "error": "DecodeError",
        "reason": "bad",
        "bytes": 12,
        "original_bytes": None,
        "state": "waiting",
        "by": None,
        "at": None,
        "now_at": None,
    }
    found = filled(Wanted(also_resolved=True))
    found.add(resolved(Place(2, 2), 5, How.REPLAYED), Wanted(also_resolved=True))
    said = json.loads(command.json_line(found.letters[Place(2, 2)]))
    assert (said["state"], said["by"], said["at"]) == ("replayed", "anna@desk", "2026-03-02T09:00:00+00:00")
    assert said["now_at"] == {"topic": "shop.commerce.payments", "partition": 2, "offset": 41}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("replay", "payment-retrier"), "--all"),
        (("drop", "payment-retrier", "2/17", "--all"), "--all"),
        (("replay", "payment-retrier", "2/17", "--error", "X"), "--error narrows --all"),
        (("replay", "payment-retrier", "2:17"), "such as 2/17"),
        (("show", "payment-retrier", "\x1b[2J/1"), "such as 2/17"),
        (("list", "nobody"), "is not one of"),
    ],
)
def test_what_is_asked_wrongly_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(entry, ["dead-letters", *words, "--bootstrap-servers", "nowhere:1"])
    assert done.exit_code == 2
    assert said in done.output
    assert "\x1b" not in done.output


def test_letters_of_the_context_stream_are_not_replayed() -> None:
    words = ["dead-letters", "replay", "context", "--all", "--bootstrap-servers", "nowhere:1"]
    done = CliRunner().invoke(entry, words)
    assert isinstance(done.exception, ConfigurationError)
    assert "drop them" in str(done.exception)


@pytest.mark.parametrize("by", ["", "x" * (MAX_BY_CHARS + 1)])
def test_an_operator_has_a_name(by: str) -> None:
    with pytest.raises(ConfigurationError, match="an operator's name"):
        Resolver(CONNECTION, agent="x", inputs=[], by=by, clock=lambda: NOW)


async def test_a_letter_that_is_too_large_names_the_topic_that_it_came_from() -> None:
    resolver = Resolver(CONNECTION, agent="x", inputs=[ORIGIN.topic], by="anna", clock=lambda: NOW)
    letter = Letter(Place(2, 17), 7, ORIGIN, "DecodeError", "bad", 9, None)
    sent: asyncio.Future[Coordinates] = asyncio.get_running_loop().create_future()
    sent.set_exception(MessageSizeTooLargeError())
    with pytest.raises(RecordTooLarge, match=f"for {ORIGIN.topic} as too large") as caught:
        await resolver._acknowledged(letter, sent, 1)
    assert "or run the command, again" in str(caught.value)
    assert "a topic" not in str(caught.value)

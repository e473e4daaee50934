"""What the group committed against what the changelog knows: less is fine, more means that records were lost."""

from __future__ import annotations

import base64
import zlib

import pytest

from jurat.schemas.errors import StreamError, TopicMismatch
from jurat.streams import opening
from jurat.streams.kafka import TopicPartition
from jurat.streams.offsets import OffsetMap
from jurat.streams.state import Source


def known(low: int, *done: int) -> Source:
    return Source(TopicPartition("commerce.payments", 3), OffsetMap(low, done))


def check(source: Source, offset: int, text: str) -> None:
    opening._check_source(source, offset, text, "payment-retrier")


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (10, OffsetMap(10, {12, 14}).encode()),
        (10, OffsetMap(10, {14}).encode()),
        (10, ""),
        (3, OffsetMap(3, {5, 12}).encode()),
        (3, "of another program"),
        (0, ""),
    ],
)
def test_a_group_that_knows_no_more_than_the_changelog_is_believed(offset: int, text: str) -> None:
    check(known(10, 12, 14), offset, text)


@pytest.mark.parametrize(
    ("offset", "text"),
    [(11, ""), (10, OffsetMap(10, {13}).encode()), (10, OffsetMap(10, {12, 14, 99}).encode()), (10**9, "")],
)
def test_a_group_that_knows_more_than_the_changelog_stops_the_partition(offset: int, text: str) -> None:
    with pytest.raises(TopicMismatch, match="lost records"):
        check(known(10, 12, 14), offset, text)


def test_metadata_of_another_program_stop_the_partition() -> None:
    with pytest.raises(StreamError, match="another program"):
        check(known(10, 12), 10, "{}")


@pytest.mark.parametrize("level", [0, 1, 9])
def test_maps_are_compared_by_what_they_say(level: int) -> None:
    """The library that compresses may be another one after an upgrade; the same maps must not stop a worker."""
    bits = bytearray(200)
    done = range(11, 10 + 8 * 200, 3)
    for offset in done:
        bits[(offset - 10) >> 3] |= 1 << ((offset - 10) & 7)
    text = (
        "z" + base64.urlsafe_b64encode(zlib.compress(bytes(bits).rstrip(b"\0"), level)).rstrip(b"=").decode()
    )
    check(known(10, *done), 10, text)

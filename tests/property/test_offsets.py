"""Offset maps: what is done is what a naive set says, a map has one form, and it always fits Kafka's metadata."""

from __future__ import annotations

import base64
import random
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.schemas.errors import StreamError
from jurat.streams.offsets import MAX_MAP_CHARS, MAX_SPAN, OffsetMap

KAFKA_METADATA_BYTES = 4_096


class Model:
    """What a map must say, kept the naive way; offsets below `base` were done before."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.read: set[int] = set()
        self.done: set[int] = set()
        self.top = base

    def low(self) -> int:
        """The lowest offset that somebody must still decide; the next one where there is none."""
        return min(self.read - self.done, default=self.top)

    def above(self) -> set[int]:
        """Below the last one read, everything counts as done that was not read."""
        low = self.low()
        return {at for at in range(low, self.top) if at not in self.read - self.done}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 40)),
        st.tuples(st.just("finish"), st.integers(0, 100)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=120,
)


@given(base=st.integers(0, 2**50), script=steps)
def test_a_map_says_what_a_set_says_through_restarts(base: int, script: list[tuple[str, int]]) -> None:
    """Inputs are read in rising order with gaps, end in any order, and after a restart are read again from the low."""
    model, map_ = Model(base), OffsetMap(base)
    log: list[int] = []  # every offset that exists, so that a restart reads the same ones again
    position = base
    for what, number in script:
        open_ = sorted(model.read - model.done)
        if what == "admit":
            later = [at for at in log if at >= position]
            offset = later[0] if later else position + number
            if not later:
                log.append(offset)
            assert map_.admits(offset)
            fresh = map_.admit(offset)
            assert fresh == (offset not in model.done), offset
            model.read.add(offset)
            model.top = max(model.top, offset + 1)
            position = offset + 1
        elif what == "finish" and open_:
            offset = open_[number % len(open_)]
            if offset >= position:
                continue  # not read again yet after a restart
            map_.finish(offset)
            model.done.add(offset)
        elif what == "restart":
            map_ = OffsetMap.decode(map_.low, map_.encode())
            position = map_.low
        if position >= model.top:
            assert map_.low == model.low()
            assert {at for at in range(map_.low, model.top) if map_.is_done(at)} == model.above()
        assert all(map_.is_done(at) for at in model.done)
        assert not any(map_.is_done(at) for at in model.read - model.done)


sets = st.sets(st.integers(1, MAX_SPAN - 1), max_size=300)


@given(low=st.integers(0, 2**53), above=sets)
def test_what_is_printed_is_read_back(low: int, above: set[int]) -> None:
    one = OffsetMap(low, {low + at for at in above})
    text = one.encode()
    again = OffsetMap.decode(low, text)
    assert (again.low, again.encode(), len(again)) == (low, text, len(above))
    assert again.covers(one)
    assert one.covers(again)
    assert all(again.is_done(low + at) for at in above)
    assert text.isascii()
    assert len(text) <= MAX_MAP_CHARS


@given(above=sets, text=st.text(max_size=40), at=st.integers(0, 10_000), cut=st.integers(0, 8))
def test_a_text_that_was_tampered_with_is_refused_or_is_a_map(
    above: set[int], text: str, at: int, cut: int
) -> None:
    printed = OffsetMap(5, {5 + one for one in above}).encode()
    at %= len(printed) + 1
    for tampered in (text, printed[:at] + text + printed[at + cut :], "b" + text, "z" + text, printed + "="):
        try:
            read = OffsetMap.decode(5, tampered)
        except StreamError:
            continue
        assert read.low == 5
        assert len(read.encode()) <= MAX_MAP_CHARS
        assert not read.is_done(5)
        if tampered[:1] == "b":
            plain = base64.urlsafe_b64decode(tampered[1:] + "=" * (-(len(tampered) - 1) % 4))
            assert _bits_of(read) == plain, "two texts, one map"


def _bits_of(one: OffsetMap) -> bytes:
    text = one.encode()
    raw = base64.urlsafe_b64decode(text[1:] + "=" * (-(len(text) - 1) % 4))
    return zlib.decompress(raw) if text[0] == "z" else raw


def packed(kind: str, raw: bytes) -> str:
    return kind + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "text",
    [
        "b",
        "z",
        "?AA",
        packed("b", b""),
        packed("b", b"\x01"),
        packed("b", b"\x02\x00"),
        packed("b", b"\x02" * (MAX_SPAN // 8 + 1)),
        packed("z", zlib.compress(b"\x02" * (MAX_SPAN // 8 + 1))),
        packed("z", zlib.compress(b"\x02" * 10_000_000)),
        packed("z", zlib.compress(b"\x02") + b"more"),
        packed("z", zlib.compress(b"\x02")[:-1]),
        packed("b", b"\x02") + "==",
        "bAh",  # the same byte as bAg, with bits that say nothing
        "b" + base64.b64encode(b"\xfe\xff\xff").decode(),  # the other alphabet
        "b-_\n8",
        "b\u00e9\u00e9",
        "b" + "A" * (MAX_MAP_CHARS + 1),
    ],
)
def test_what_is_not_in_the_one_form_is_refused(text: str) -> None:
    with pytest.raises(StreamError, match="offset-map"):
        OffsetMap.decode(0, text)


def test_no_map_outgrows_kafkas_metadata() -> None:
    """Bits that do not compress are the worst that can be."""
    draw = random.Random(7)
    for share in (0.01, 0.3, 0.5, 0.7, 0.99):
        one = OffsetMap(0)
        for offset in range(MAX_SPAN):
            assert one.admits(offset)
            one.admit(offset)
        assert not one.admits(MAX_SPAN)
        for offset in range(1, MAX_SPAN):
            if draw.random() < share:
                one.finish(offset)
        one.finish(MAX_SPAN - 1)
        assert len(one.encode()) <= MAX_MAP_CHARS < KAFKA_METADATA_BYTES
        one.finish(0)
        assert one.low > 0


@pytest.mark.parametrize("gap", [10**3, 10**9, 2**62])
def test_a_huge_gap_costs_neither_memory_nor_time(gap: int) -> None:
    one = OffsetMap(0, {3, 9})
    tracemalloc.start()
    start = time.process_time()
    for offset in (gap, 2 * gap, 3 * gap):
        assert one.admits(offset)
        assert one.admit(offset)
        assert one.low == offset
        one.finish(offset)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
    assert time.process_time() - start < 5  # one by one, a billion take minutes
    assert (one.low, one.encode()) == (3 * gap + 1, "")


def test_a_gap_is_not_admitted_over_an_open_input_beyond_the_span() -> None:
    one = OffsetMap(0)
    one.admit(0)
    assert one.admits(MAX_SPAN - 1)
    assert not one.admits(MAX_SPAN)
    one.finish(0)
    assert one.admits(10**12)


@pytest.mark.parametrize("shape", ["from the front", "from the back", "all but the first", "read past"])
def test_a_full_span_is_worked_off_in_linear_time(shape: str) -> None:
    start = time.process_time()
    if shape == "read past":
        one = OffsetMap(0, range(1, MAX_SPAN))
        for offset in range(MAX_SPAN):
            one.admit(offset)
            if offset == 0:
                one.finish(0)
    else:
        one = OffsetMap(0)
        for offset in range(MAX_SPAN):
            one.admit(offset)
        order = {
            "from the front": range(MAX_SPAN),
            "from the back": range(MAX_SPAN - 1, -1, -1),
            "all but the first": (*range(1, MAX_SPAN), 0),
        }[shape]
        for offset in order:
            one.finish(offset)
    assert one.low == MAX_SPAN
    assert time.process_time() - start < 10  # some tenths of a second; one pass for each would take minutes


def test_a_map_covers_what_knows_no_more_than_it() -> None:
    known = OffsetMap(10, {12, 14})
    for less in (OffsetMap(9), OffsetMap(10), OffsetMap(10, {14}), OffsetMap(3, {5, 9, 12}), known):
        assert known.covers(less)
    for more in (OffsetMap(11), OffsetMap(10, {13}), OffsetMap(10, {12, 14, 15}), OffsetMap(9, {11})):
        assert not known.covers(more)

"""The window of seen ids against a list that is searched from end to end, over commits, aborts and restarts."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jurat.streams.duplicates import Seen, SeenWindow

WINDOW_S = 10
MAX_IDS = 12
SOURCES = ("/a", "/ab", "")
NAMES = ("b1", "1", "x", "y", "z", "")

Row = tuple[str, str, int, str, int]
"""Source, id, offset, digest, timestamp."""


@dataclass
class Naive:
    """What the module's rules say, in the simplest words."""

    batches: dict[int, list[Row]] = field(default_factory=dict)
    pending: list[Row] = field(default_factory=list)

    def first(self, source: str, name: str, at_ms: int) -> Seen | None:
        rows = [*self.pending, *(row for batch in self.batches.values() for row in batch)]
        near = [row for row in rows if row[:2] == (source, name) and abs(row[4] - at_ms) <= WINDOW_S * 1000]
        return Seen(*min((row[2], row[3]) for row in near)) if near else None

    def leaving(self) -> set[int]:
        if not self.pending:
            return set()
        horizon = min(row[4] for row in self.pending) - WINDOW_S * 1000
        by_age = sorted((max(row[4] for row in rows), first) for first, rows in self.batches.items())
        gone: set[int] = set()
        for latest, first in by_age:
            held = sum(len(rows) for key, rows in self.batches.items() if key not in gone)
            if latest < horizon or held + len(self.pending) > MAX_IDS:
                gone.add(first)
        return gone

    def commit(self) -> None:
        for first in self.leaving():
            del self.batches[first]
        if self.pending:
            self.batches[min(row[2] for row in self.pending)] = self.pending
            self.pending = []


class Window(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.window = SeenWindow(window_s=WINDOW_S, max_ids=MAX_IDS)
        self.naive = Naive()
        self.changelog: dict[str, bytes] = {}
        self.offset = 0
        self.now_ms = 1_000_000

    @rule(
        source=st.sampled_from(SOURCES),
        name=st.sampled_from(NAMES),
        step_ms=st.integers(0, 3_000),
        skew_ms=st.one_of(st.just(0), st.integers(-40_000, 40_000)),
        ended=st.booleans(),
    )
    def event(self, source: str, name: str, step_ms: int, skew_ms: int, ended: bool) -> None:
        self.now_ms += step_ms
        at_ms = self.now_ms + skew_ms
        expected = self.naive.first(source, name, at_ms)
        assert self.window.first(source, name, timestamp_ms=at_ms) == expected
        self.offset += 1
        if not ended:  # rejected: not remembered
            return
        digest = hashlib.sha256(str(self.offset).encode()).hexdigest()
        self.window.remember(source, name, offset=self.offset, sha256=digest, timestamp_ms=at_ms)
        if expected is None:
            self.naive.pending.append((source, name, self.offset, digest, at_ms))

    @rule()
    def commit(self) -> None:
        for suffix, value in self.window.flush():
            if value is None:
                del self.changelog[suffix]  # only what was written may be deleted
            else:
                self.changelog[suffix] = value
        self.window.committed()
        self.naive.commit()

    @rule()
    def abort(self) -> None:
        once = self.window.flush()
        assert self.window.flush() == once

    @rule(seed=st.integers(0, 2**32))
    def restart(self, seed: int) -> None:
        self.window = SeenWindow(window_s=WINDOW_S, max_ids=MAX_IDS)
        entries: list[tuple[str, bytes | None]] = list(self.changelog.items())
        random.Random(seed).shuffle(entries)
        for suffix, value in entries:
            self.window.restore(suffix, value)
            if seed % 3 == 0:  # not compacted yet: written again, and tombstones of what is not there
                self.window.restore(suffix, value)
                self.window.restore(str(10**6 + int(suffix)), None)
        self.naive.pending = []

    @invariant()
    def same_number(self) -> None:
        held = sum(map(len, self.naive.batches.values()))
        assert len(self.window) == held + len(self.naive.pending)
        assert {int(suffix) for suffix in self.changelog} == set(self.naive.batches)

    @invariant()
    def same_answers(self) -> None:
        for source in SOURCES:
            for name in NAMES:
                got = self.window.first(source, name, timestamp_ms=self.now_ms)
                assert got == self.naive.first(source, name, self.now_ms)


TestWindow = Window.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)

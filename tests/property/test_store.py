"""A spilling store is a dict, whatever is done to it and however little it may hold in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jurat.streams.store import ENTRY_OVERHEAD_BYTES, Hot, SpillingStore

KEYS = st.one_of(st.sampled_from(["a", "b", "c", "ä/ö"]), st.text(max_size=4))
VALUES = st.binary(max_size=40)


class StoreIsADict(RuleBasedStateMachine):
    """Random operations on both; they always say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folders: list[Path] = []
        self.known: dict[str, bytes] = {}

    @initialize(max_bytes=st.sampled_from([0, 1, ENTRY_OVERHEAD_BYTES, 700, 1_000_000]))
    def make(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.store = SpillingStore(max_bytes=max_bytes, folder=self.new_folder)

    def new_folder(self) -> Path:
        self.folders.append(Path(tempfile.mkdtemp()))
        return self.folders[-1]

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: bytes) -> None:
        self.store.put(key, value)
        self.known[key] = value

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.store.delete(key)
        self.known.pop(key, None)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.store.get(key) == self.known.get(key)

    @rule()
    def get_all(self) -> None:
        assert {key: self.store.get(key) for key in self.known} == self.known

    @invariant()
    def counts_and_stays_below_its_bound(self) -> None:
        assert len(self.store) == len(self.known)
        assert self.store.bytes_in_memory <= self.max_bytes
        assert self.store.spilled is bool(self.folders)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
        assert len(self.folders) <= 1
        assert not any(folder.exists() for folder in self.folders)


StoreIsADict.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStoreIsADict = StoreIsADict.TestCase


class HotIsBounded(RuleBasedStateMachine):
    """The values used last are held: a model that keeps a plain list says which."""

    BOUND = 10

    def __init__(self) -> None:
        super().__init__()
        self.hot: Hot[int] = Hot(self.BOUND)
        self.known: list[tuple[str, int, int]] = []  # the one used longest ago first

    @rule(key=st.sampled_from("abcd"), value=st.integers(), cost=st.integers(1, 12))
    def put(self, key: str, value: int, cost: int) -> None:
        self.hot.put(key, value, cost=cost)
        self.known = [*(one for one in self.known if one[0] != key), (key, value, cost)]
        while sum(one[2] for one in self.known) > self.BOUND:
            self.known.pop(0)

    @rule(key=st.sampled_from("abcd"))
    def get(self, key: str) -> None:
        held = [one for one in self.known if one[0] == key]
        assert self.hot.get(key) == (held[0][1] if held else None)
        self.known = [*(one for one in self.known if one[0] != key), *held]

    @rule(key=st.sampled_from("abcd"))
    def drop(self, key: str) -> None:
        self.hot.drop(key)
        self.known = [one for one in self.known if one[0] != key]

    @rule()
    def clear(self) -> None:
        self.hot.clear()
        self.known = []

    @invariant()
    def holds_no_more(self) -> None:
        assert len(self.hot) == len(self.known)
        assert self.hot.bytes_held == sum(one[2] for one in self.known) <= self.BOUND


TestHotIsBounded = HotIsBounded.TestCase

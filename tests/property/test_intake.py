"""Lanes and the budget: order per key, one of a key at a time, nobody starves and no place is lost."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from jurat.streams.intake import Budget, Lanes, Work
from tests.partition_stage import record

moves = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("release"), st.integers(0, 9)),
        st.tuples(st.just("drain"), st.integers(0, 9)),
        st.tuples(st.just("clear"), st.integers(0, 20)),
    ),
    max_size=150,
)


@given(script=moves)
def test_lanes_keep_each_keys_order_and_give_one_of_a_key_at_a_time(script: list[tuple[str, int]]) -> None:
    lanes, offset = Lanes(), 0
    waiting: dict[bytes | None, deque[int]] = {}
    busy: list[bytes | None] = []
    for what, number in script:
        if what == "add":
            key = None if number == 0 else f"k-{number}"
            work = Work(record(offset, key))
            lanes.add(work)
            waiting.setdefault(work.lane, deque()).append(offset)
            offset += 1
        elif what == "take":
            takable = [lane for lane, queue in waiting.items() if queue and lane not in busy]
            assert lanes.ready == bool(takable)
            taken = lanes.take()
            if taken is None:
                assert not takable
            else:
                assert taken.lane in takable
                assert taken.record.offset == waiting[taken.lane].popleft()
                busy.append(taken.lane)
        elif what == "release" and busy:
            lanes.release(busy.pop(number % len(busy)))
        elif what == "drain" and busy:
            lane = busy[number % len(busy)]
            assert [work.record.offset for work in lanes.drain(lane)] == list(waiting.pop(lane, ()))
        elif what == "clear" and number == 0:
            lanes.clear()
            waiting.clear()
        assert len(lanes) == sum(map(len, waiting.values()))
    for lane in busy:
        lanes.release(lane)
    left = sum(map(len, waiting.values()))
    seen = 0
    while (work := lanes.take()) is not None:
        seen += 1
        lanes.release(work.lane)
    assert (seen, len(lanes), lanes.ready) == (left, 0, False)


class Partition:
    """Takes places as a partition does: asks, works, gives back, and asks again while it has work."""

    def __init__(self, budget: Budget, work: int) -> None:
        self.budget = budget
        self.work = work
        self.held = 0
        self.had = 0

    def ask(self) -> None:
        while self.work > 0 and self.budget.start(self.ask):
            self.work -= 1
            self.held += 1
            self.had += 1

    def end_one(self) -> None:
        self.held -= 1
        self.budget.end()
        self.ask()


@given(
    places=st.integers(1, 4),
    loads=st.lists(st.integers(0, 20), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
    forget=st.integers(0, 5),
)
def test_places_never_leak_and_everybodys_work_gets_done(
    places: int, loads: list[int], seed: int, forget: int
) -> None:
    budget, draw = Budget(places), random.Random(seed)
    partitions = [Partition(budget, load) for load in loads]
    for _ in range(20 * sum(loads) + 20):
        for each in partitions:
            each.ask()
        assert budget.in_flight == sum(each.held for each in partitions) <= places
        assert budget.in_flight == places or not any(each.work for each in partitions), "a place lies idle"
        working = [each for each in partitions if each.held]
        if not working:
            break
        draw.choice(working).end_one()
        if forget < len(partitions) and draw.random() < 0.1:
            partitions[forget].work = 0
            budget.forget(partitions[forget].ask)
    assert (budget.in_flight, [each.work for each in partitions]) == (0, [0] * len(loads))


def test_those_who_wait_get_a_place_in_turn() -> None:
    budget = Budget(1)
    greedy = Partition(budget, 1_000)
    others = [Partition(budget, 10) for _ in range(3)]
    greedy.ask()
    for each in others:
        each.ask()
    for turn in range(44):
        next(each for each in (greedy, *others) if each.held).end_one()
        if turn == 3:
            assert [each.had for each in others] == [1, 1, 1]
    assert [each.had for each in others] == [10, 10, 10]


@given(sizes=st.lists(st.integers(0, 10**7), max_size=50))
def test_what_is_held_is_given_back(sizes: list[int]) -> None:
    budget = Budget()
    held = [budget.hold(record(0, size=size % 1_000)) for size in sizes]
    assert budget.bytes == sum(held)
    for size in held:
        budget.release(size)
    assert budget.bytes == 0

"""Tiers and the cache: who is asked when, that nothing spent is lost, and that other policies are another question."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from jurat.agents.action_space import LazySpace
from jurat.agents.payment_retrier import PAYMENT_RETRIER, GiveUp
from jurat.agents.reasoner import Proposal, ProposalRequest, RawArguments, ToolCall
from jurat.agents.reasoner_cached import MAX_AGE_S, MAX_ANSWERS, Cached
from jurat.agents.reasoner_spending import NOTHING
from jurat.agents.reasoner_tiered import Tiered
from jurat.schemas.errors import ProposalInvalid, ReasonerUnavailable
from tests.shop import NOTHING_USED, shop_engine, situation
from tests.unit.test_agents_payments import failed
from tests.unit.test_reasoner_wrappers import BUSY, GOOD, REQUEST, USELESS, Scripted, call

UNSURE = Proposal(GiveUp(), "a guess", confidence=59, call=call(5))
SURE = Proposal(GiveUp(), "surely", confidence=60)


def tiered(cheap: Scripted, dear: Scripted) -> Proposal | ToolCall | None:
    return asyncio.run(Tiered(cheap, least=60, dear=dear).propose(REQUEST))


def test_the_dear_one_is_not_asked_where_the_cheap_one_is_sure() -> None:
    dear = Scripted(GOOD)
    assert tiered(Scripted(SURE, name="cheap"), dear) == replace(SURE, reasoner="cheap")
    assert dear.asked == 0


@pytest.mark.parametrize(
    ("first", "cost"), [(UNSURE, 105), (replace(SURE, confidence=None), 100), (None, 100), (USELESS, 130)]
)
def test_the_dear_one_answers_where_it_is_not_and_tells_what_both_took(
    first: Proposal | ProposalInvalid | None, cost: int
) -> None:
    got = tiered(Scripted(first), Scripted(GOOD))
    assert isinstance(got, Proposal)
    assert got.call is not None
    assert (got.rationale, got.call.spent.cost_micros) == ("enough", cost)


def test_a_guess_is_better_than_nothing() -> None:
    got = tiered(Scripted(UNSURE, name="cheap"), Scripted(BUSY))
    assert isinstance(got, Proposal)
    assert got.call is not None
    assert (got.rationale, got.reasoner, got.call.spent.cost_micros) == ("a guess", "cheap", 12)
    got = tiered(Scripted(UNSURE, name="cheap"), Scripted(None))
    assert got == replace(UNSURE, reasoner="cheap")


def test_a_failure_of_both_is_the_last_ones_with_what_both_took() -> None:
    with pytest.raises(ReasonerUnavailable) as caught:
        tiered(Scripted(USELESS), Scripted(BUSY))
    assert caught.value.details["spent"].cost_micros == 37  # type: ignore[attr-defined]


def test_what_the_cheap_one_took_in_vain_is_told_where_nobody_proposes() -> None:
    with pytest.raises(ProposalInvalid) as caught:
        tiered(Scripted(BUSY), Scripted(None))
    assert caught.value.details["spent"].cost_micros == 7  # type: ignore[attr-defined]
    rule = tiered(Scripted(BUSY), Scripted(SURE))
    assert isinstance(rule, Proposal)
    assert rule.wasted is not None
    assert rule.wasted.cost_micros == 7


def test_a_wish_for_a_tool_stands() -> None:
    wish = ToolCall("look", RawArguments(given={}))
    assert tiered(Scripted(wish), Scripted(GOOD)) is wish


def test_it_is_named_after_the_dear_one() -> None:
    both = Tiered(Scripted(name="cheap"), least=60, dear=Scripted(name="dear"))
    assert (both.name, both.deterministic) == ("dear", False)


def asked_about(number: int) -> ProposalRequest:
    seen = situation(PAYMENT_RETRIER, failed(amount=10_000 + number))
    return ProposalRequest(
        PAYMENT_RETRIER, seen, space=LazySpace(PAYMENT_RETRIER, seen, shop_engine(), usage=NOTHING_USED)
    )


class Counting:
    """Answers alike, and counts."""

    name = "counting"
    deterministic = False

    def __init__(self) -> None:
        self.asked = 0

    async def propose(self, request: ProposalRequest) -> Proposal:
        self.asked += 1
        return GOOD


async def test_the_same_question_is_asked_once_and_paid_once() -> None:
    now, counting = [0.0], Counting()
    cached = Cached(counting, clock=lambda: now[0])
    assert await cached.propose(asked_about(1)) == GOOD
    again = await cached.propose(asked_about(1))
    assert GOOD.call is not None
    assert again == replace(GOOD, call=replace(GOOD.call, spent=NOTHING))
    await cached.propose(asked_about(2))
    assert counting.asked == 2
    now[0] += MAX_AGE_S
    assert await cached.propose(asked_about(1)) == GOOD
    assert counting.asked == 3


async def test_other_policies_are_another_question() -> None:
    counting = Counting()
    cached = Cached(counting, clock=lambda: 0.0)
    request = asked_about(1)
    narrower = replace(request.space(), actions=request.space().actions[:1])
    assert narrower != request.space()
    await cached.propose(request)
    await cached.propose(replace(request, space=lambda: narrower))
    assert counting.asked == 2


async def test_what_was_asked_longest_ago_leaves_first() -> None:
    counting = Counting()
    cached = Cached(counting, clock=lambda: 0.0)
    first = asked_about(0)
    event = first.situation.event

    def about(number: int) -> ProposalRequest:
        changed = event.model_copy(update={"payment_id": f"pay-{number}"})
        return replace(first, situation=replace(first.situation, event=changed))

    for number in range(MAX_ANSWERS + 1):
        await cached.propose(about(number))
    await cached.propose(about(1))
    assert counting.asked == MAX_ANSWERS + 1
    await cached.propose(about(0))
    assert counting.asked == MAX_ANSWERS + 2


async def test_what_was_asked_again_stays_longer() -> None:
    counting = Counting()
    cached = Cached(counting, clock=lambda: 0.0)
    first = asked_about(0)
    event = first.situation.event
    for number in (*range(MAX_ANSWERS), 0, MAX_ANSWERS, 0):
        changed = event.model_copy(update={"payment_id": f"pay-{number}"})
        await cached.propose(replace(first, situation=replace(first.situation, event=changed)))
    assert counting.asked == MAX_ANSWERS + 1


async def test_failures_are_not_kept() -> None:
    class FailsOnce(Counting):
        async def propose(self, request: ProposalRequest) -> Proposal:
            answer = await super().propose(request)
            if self.asked == 1:
                raise BUSY
            return answer

    cached, request = Cached(FailsOnce(), clock=lambda: 0.0), asked_about(1)
    with pytest.raises(ReasonerUnavailable):
        await cached.propose(request)
    assert await cached.propose(request) == GOOD

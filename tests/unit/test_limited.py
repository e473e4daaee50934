"""Limits on calls of models: what a reasoner that is held within them asks for, and says afterwards."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jurat.agents.action_space import LazySpace
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.model_answer import Price
from jurat.agents.openai_client import Answered
from jurat.agents.openai_reasoner import MAX_ANSWER_TOKENS, OpenAIReasoner
from jurat.agents.payment_retrier import GiveUp
from jurat.agents.reasoner import Proposal, ProposalRequest, Spent
from jurat.agents.reasoner_circuit import MAX_FAILURES, CircuitBroken
from jurat.agents.reasoner_limited import Limited
from jurat.agents.reasoner_retrying import Retrying
from jurat.schemas.errors import (
    ConfigurationError,
    JuratError,
    LimitReached,
    ProposalInvalid,
    ReasonerUnavailable,
)
from jurat.schemas.marketplace import DisputeCategory
from tests.llmock import completion, says
from tests.shop import NOTHING_USED, euros, shop_engine, situation
from tests.unit.test_agents_disputes import dispute
from tests.unit.test_limits import MOST, NOON, REALLY, Partition, requests
from tests.unit.test_reasoner_wrappers import REQUEST, call


class Purse:
    """Remembers what was set aside and settled."""

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty
        self.said: list[Spent] = []

    async def reserve(self, most: Spent, limits: object) -> Any:
        if self.empty:
            raise LimitReached("no", retry_after_s=5)
        self.said.append(most)
        return self.said.append


class Sells:
    """A reasoner that takes `MOST` at most, and answers as told."""

    name = "sells"
    deterministic = False

    def __init__(self, answer: Proposal | JuratError | None) -> None:
        self.answer, self.asked = answer, 0

    def at_most(self, _request: ProposalRequest) -> Spent | None:
        return None if self.answer is None else MOST

    async def propose(self, _request: ProposalRequest) -> Proposal | None:
        self.asked += 1
        if isinstance(self.answer, JuratError):
            raise self.answer
        return self.answer


def told(calls: int, tokens: int, cost: int | None) -> Spent:
    return Spent(
        calls=calls,
        input_tokens=tokens,
        output_tokens=0,
        cost_micros=cost,
        currency=None if cost is None else "EUR",
    )


def answer(spent: Spent) -> Proposal:
    return Proposal(GiveUp(), "enough", call=replace(call(0), spent=spent))


@pytest.mark.parametrize(
    ("got", "settled"),
    [
        (answer(REALLY), REALLY),
        (answer(told(1, 0, 0)), MOST),  # a server that does not count
        (ProposalInvalid("nonsense", call=replace(call(0), spent=REALLY)), REALLY),
        (ReasonerUnavailable("lost on the way", spent=told(1, 0, None)), MOST),
        (ReasonerUnavailable("busy", spent=told(0, 0, None)), told(1, 0, 0)),  # it was sent, and cost nothing
        (ConfigurationError("a wrong key", spent=told(0, 0, None)), told(1, 0, 0)),  # nor does a crash loop
    ],
)
async def test_what_the_server_says_takes_the_place_of_the_most(
    got: Proposal | JuratError, settled: Spent
) -> None:
    purse = Purse()
    with contextlib.suppress(JuratError):
        assert await Limited(Sells(got), requests(1)).propose(replace(REQUEST, purse=purse)) is got
    assert purse.said == [MOST, settled]


async def test_over_a_limit_nothing_is_sent() -> None:
    sells = Sells(answer(REALLY))
    with pytest.raises(LimitReached):
        await Limited(sells, requests(1)).propose(replace(REQUEST, purse=Purse(empty=True)))
    assert sells.asked == 0


async def test_where_nothing_would_be_sent_nothing_is_set_aside() -> None:
    purse = Purse(empty=True)
    assert await Limited(Sells(None), requests(1)).propose(replace(REQUEST, purse=purse)) is None


async def test_limits_where_nobody_counts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="only there do limits hold"):
        await Limited(Sells(answer(REALLY)), requests(1)).propose(REQUEST)


async def test_a_short_wait_for_the_next_minute_is_waited_and_a_limit_opens_no_circuit() -> None:
    partition = Partition(now=NOON + timedelta(seconds=20))
    purse, sells, waits = partition.open(), Sells(answer(REALLY)), []

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        partition.now += timedelta(seconds=wait_s)

    asked = CircuitBroken(
        Retrying(Limited(sells, requests(1)), sleep=sleep, draw=lambda: 0.0), clock=lambda: 0.0
    )
    request = replace(REQUEST, purse=purse)
    assert await asked.propose(request) == sells.answer
    assert await asked.propose(request) == sells.answer
    assert waits == [10.25], "ten seconds, and a little more, as others wait too"
    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(LimitReached):  # a whole minute is too long
            await asked.propose(request)
    assert (len(waits), sells.asked) == (1, 2)
    partition.now += timedelta(minutes=1)
    assert await asked.propose(request) == sells.answer


@pytest.mark.model_calls  # of nobody
async def test_the_most_is_no_less_than_what_is_sent() -> None:
    sent: list[dict[str, Any]] = []

    class Client:
        async def complete(self, given: dict[str, Any], *, call_id: str) -> Answered:
            sent.append(given)
            return Answered(200, completion(says("release_to_seller")), None)

    seen = situation(DISPUTE_MEDIATOR, dispute(DisputeCategory.NOT_RECEIVED, amount=euros(90_000)))
    space = LazySpace(DISPUTE_MEDIATOR, seen, shop_engine(), usage=NOTHING_USED)
    request = ProposalRequest(DISPUTE_MEDIATOR, seen, space=space)
    reasoner = OpenAIReasoner(Client(), model="m", price=Price(1_000_000, 2_000_000, "EUR"))
    most = reasoner.at_most(request)
    assert most is not None
    await reasoner.propose(request)
    assert len(json.dumps(sent[0]["messages"], ensure_ascii=False).encode()) < most.input_tokens < 20_000
    assert (most.output_tokens, most.currency) == (MAX_ANSWER_TOKENS, "EUR")
    assert most.cost_micros == most.input_tokens + 2 * MAX_ANSWER_TOKENS
    nothing = replace(space(), actions=())
    assert reasoner.at_most(replace(request, space=lambda: nothing)) is None

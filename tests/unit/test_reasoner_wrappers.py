"""Retries and fallbacks: how often is asked, how long is waited, and that nothing that was spent is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from jurat.agents.payment_retrier import PAYMENT_RETRIER, GiveUp
from jurat.agents.reasoner import ModelCall, Proposal, ProposalRequest, Spent, ToolCall
from jurat.agents.reasoner_circuit import MAX_FAILURES, OPEN_S, CircuitBroken
from jurat.agents.reasoner_fallback import Fallback
from jurat.agents.reasoner_retrying import FIRST_WAIT_S, MAX_TRIES, MAX_WAIT_S, Retrying
from jurat.agents.reasoner_spending import call_of, spent_by
from jurat.schemas.errors import (
    ConfigurationError,
    JuratError,
    LimitReached,
    ProposalInvalid,
    ReasonerUnavailable,
    StreamError,
)
from tests.shop import situation
from tests.unit.test_agents_payments import failed

REQUEST = ProposalRequest(PAYMENT_RETRIER, situation(PAYMENT_RETRIER, failed()))


def spent(cost: int | None, currency: str | None = "USD") -> Spent:
    return Spent(calls=1, input_tokens=10, output_tokens=2, cost_micros=cost, currency=currency)


def call(cost: int) -> ModelCall:
    return ModelCall(
        model="m",
        parameters_sha256="0" * 64,
        prompt_sha256="1" * 64,
        response_sha256="2" * 64,
        spent=spent(cost),
    )


GOOD = Proposal(GiveUp(), "enough", call=call(100))
BUSY = ReasonerUnavailable("busy", spent=spent(7))
USELESS = ProposalInvalid("nonsense", call=call(30))


class Scripted:
    """Answers what it was told to, in turn."""

    deterministic = False

    def __init__(self, *script: Proposal | ToolCall | JuratError | None, name: str = "scripted") -> None:
        self.script: Sequence[Proposal | ToolCall | JuratError | None] = script
        self.name = name
        self.asked = 0

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        assert request is REQUEST
        self.asked += 1
        answer = self.script[self.asked - 1]
        if isinstance(answer, JuratError):
            raise answer
        return answer


def retried(reasoner: Scripted) -> tuple[Proposal | ToolCall | JuratError | None, list[float]]:
    waits: list[float] = []

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)

    try:
        return asyncio.run(Retrying(reasoner, sleep=sleep, draw=lambda: 0.5).propose(REQUEST)), waits
    except JuratError as error:
        return error, waits


def test_what_may_pass_is_tried_again_after_waits_that_double() -> None:
    asked = Scripted(BUSY, BUSY, GOOD)
    got, waits = retried(asked)
    assert isinstance(got, Proposal)
    assert got.call is not None
    assert got.call.spent == Spent(calls=3, input_tokens=30, output_tokens=6, cost_micros=114, currency="USD")
    assert waits == [FIRST_WAIT_S * 0.75, FIRST_WAIT_S * 1.5]


def test_it_ends_with_what_all_tries_took() -> None:
    asked = Scripted(*[BUSY] * 10)
    got, waits = retried(asked)
    assert type(got) is ReasonerUnavailable
    assert asked.asked == MAX_TRIES == len(waits) + 1
    assert got.details["spent"] == Spent(
        calls=3, input_tokens=30, output_tokens=6, cost_micros=21, currency="USD"
    )


@pytest.mark.parametrize(("told", "tries"), [(0, 2), (3, 2), (MAX_WAIT_S, 2), (21, 1), (86_400, 1)])
def test_a_server_that_names_a_time_is_not_asked_before_it_nor_by_all_at_once(
    told: float, tries: int
) -> None:
    asked = Scripted(ReasonerUnavailable("busy", retry_after_s=int(told)), GOOD)
    _got, waited = retried(asked)
    assert asked.asked == tries
    assert waited == [told + FIRST_WAIT_S * 0.75] * (tries - 1), "spread by the draw"


@pytest.mark.parametrize("error", [USELESS, ConfigurationError("no such model")])
def test_what_does_not_pass_is_not_tried_again(error: JuratError) -> None:
    asked = Scripted(error)
    got, waits = retried(asked)
    assert got is error
    assert (asked.asked, waits) == (1, [])


@pytest.mark.parametrize("useless", [USELESS, ProposalInvalid("nonsense", spent=spent(30))])
def test_an_answer_of_no_use_after_a_failure_carries_what_both_took(useless: ProposalInvalid) -> None:
    got, _waits = retried(Scripted(BUSY, useless))
    assert isinstance(got, ProposalInvalid)
    assert str(got) == "nonsense"
    assert spent_by(got) == Spent(calls=2, input_tokens=20, output_tokens=4, cost_micros=37, currency="USD")
    assert (call_of(got) is None) == (call_of(useless) is None)


def test_the_next_answers_with_what_the_first_took_and_its_name() -> None:
    first, second = Scripted(USELESS, name="dear"), Scripted(GOOD, name="cheap")
    got = asyncio.run(Fallback(first, second).propose(REQUEST))
    assert isinstance(got, Proposal)
    assert got.reasoner == "cheap"
    assert got.call is not None
    assert (got.call.spent.calls, got.call.spent.cost_micros) == (2, 130)


def test_a_rule_of_thumb_that_answers_carries_the_call_that_was_of_no_use() -> None:
    rule = Scripted(Proposal(GiveUp(), "a rule"), name="heuristic")
    got = asyncio.run(Fallback(Scripted(USELESS), rule).propose(REQUEST))
    assert isinstance(got, Proposal)
    assert got.reasoner == "heuristic"
    assert got.call == call(30)


def test_the_call_that_was_of_no_use_stays_where_a_later_one_could_not_be_made() -> None:
    rule = Scripted(Proposal(GiveUp(), "a rule", reasoner="rules/3"), name="heuristic")
    got = asyncio.run(Fallback(Scripted(USELESS), Scripted(BUSY), rule).propose(REQUEST))
    assert isinstance(got, Proposal)
    assert got.reasoner == "rules/3", "as it names itself"
    assert got.call is not None
    assert got.call.prompt_sha256 == call(30).prompt_sha256
    assert (got.call.spent.calls, got.call.spent.cost_micros) == (2, 37)


@pytest.mark.parametrize("before", [None, spent(1)])
def test_a_rule_of_thumb_that_answers_tells_what_time_outs_took(before: Spent | None) -> None:
    rule = Scripted(Proposal(GiveUp(), "a rule", wasted=before), name="heuristic")
    got = asyncio.run(Fallback(Scripted(BUSY), Scripted(BUSY), rule).propose(REQUEST))
    assert isinstance(got, Proposal)
    assert (got.reasoner, got.call) == ("heuristic", None)
    assert got.wasted is not None
    extra = before is not None
    assert (got.wasted.calls, got.wasted.cost_micros) == (2 + extra, 14 + extra)


@pytest.mark.parametrize(("failure", "cost"), [(BUSY, 7), (USELESS, 30)])
def test_where_nothing_is_left_to_propose_what_was_taken_is_told(failure: JuratError, cost: int) -> None:
    with pytest.raises(ProposalInvalid) as caught:
        asyncio.run(Fallback(Scripted(failure), Scripted(None, name="heuristic")).propose(REQUEST))
    assert spent_by(caught.value).cost_micros == cost
    unpaid = ReasonerUnavailable("refused")
    assert asyncio.run(Fallback(Scripted(unpaid), Scripted(None)).propose(REQUEST)) is None


def test_the_last_failure_stands_with_what_all_took() -> None:
    with pytest.raises(ReasonerUnavailable) as caught:
        asyncio.run(Fallback(Scripted(USELESS), Scripted(BUSY)).propose(REQUEST))
    assert caught.value.details["spent"] == Spent(
        calls=2, input_tokens=20, output_tokens=4, cost_micros=37, currency="USD"
    )


def test_a_wrong_setting_is_not_papered_over() -> None:
    second = Scripted(GOOD)
    with pytest.raises(ConfigurationError, match="no such model"):
        asyncio.run(Fallback(Scripted(ConfigurationError("no such model")), second).propose(REQUEST))
    assert second.asked == 0


def test_costs_of_two_currencies_are_no_cost() -> None:
    mixed = ReasonerUnavailable("busy", spent=spent(7, "EUR"))
    got, _waits = retried(Scripted(mixed, GOOD))
    assert isinstance(got, Proposal)
    assert got.call is not None
    assert (got.call.spent.calls, got.call.spent.cost_micros, got.call.spent.currency) == (2, None, None)


def broken(circuit: CircuitBroken) -> bool:
    """Ask once; whether there was no answer."""
    try:
        asyncio.run(circuit.propose(REQUEST))
    except ReasonerUnavailable:
        return True
    return False


def test_who_is_down_is_not_asked_until_one_probe_finds_it_up() -> None:
    now = [0.0]
    asked = Scripted(*[BUSY] * MAX_FAILURES, BUSY, GOOD, GOOD)
    circuit = CircuitBroken(asked, clock=lambda: now[0])
    assert [broken(circuit) for _ in range(MAX_FAILURES + 3)] == [True] * (MAX_FAILURES + 3)
    assert asked.asked == MAX_FAILURES, "nothing is sent while it is open"
    now[0] += OPEN_S
    assert [broken(circuit), broken(circuit)] == [True, True]
    assert asked.asked == MAX_FAILURES + 1, "one probe, and open again"
    now[0] += OPEN_S
    assert [broken(circuit), broken(circuit)] == [False, False]


def test_an_answer_of_no_use_comes_from_a_server_that_is_up() -> None:
    script = [BUSY] * (MAX_FAILURES - 1)
    asked = Scripted(*script, USELESS, *script, GOOD)
    circuit = CircuitBroken(asked, clock=lambda: 0.0)
    for _ in script:
        assert broken(circuit)
    with pytest.raises(ProposalInvalid):
        asyncio.run(circuit.propose(REQUEST))
    for _ in script:
        assert broken(circuit)
    assert not broken(circuit)


def test_a_probe_that_a_limit_of_ours_stops_leaves_it_open_for_the_next() -> None:
    now = [0.0]
    asked = Scripted(*[BUSY] * MAX_FAILURES, LimitReached("enough"), GOOD)
    circuit = CircuitBroken(asked, clock=lambda: now[0])
    assert [broken(circuit) for _ in range(MAX_FAILURES)] == [True] * MAX_FAILURES
    now[0] += OPEN_S
    with pytest.raises(LimitReached):
        asyncio.run(circuit.propose(REQUEST))
    assert broken(circuit)
    assert asked.asked == MAX_FAILURES + 1, "open from now"
    now[0] += OPEN_S
    assert not broken(circuit)


def test_a_journal_that_is_not_written_says_nothing_of_who_is_asked() -> None:
    now = [0.0]
    ours = StreamError("not written")
    asked = Scripted(*[BUSY] * (MAX_FAILURES - 1), ours, BUSY, ours, GOOD)
    circuit = CircuitBroken(asked, clock=lambda: now[0])

    def not_written() -> bool:
        with pytest.raises(StreamError):
            asyncio.run(circuit.propose(REQUEST))
        return True

    assert [broken(circuit) for _ in range(MAX_FAILURES - 1)] == [True] * (MAX_FAILURES - 1)
    assert not_written()
    assert broken(circuit)
    assert broken(circuit), "open: the failures before and after it are in a row"
    assert asked.asked == MAX_FAILURES + 1
    now[0] += OPEN_S
    assert not_written()
    assert broken(circuit), "a probe that was not sent leaves it open"
    now[0] += OPEN_S
    assert not broken(circuit)


async def test_a_probe_that_is_cancelled_leaves_it_open_for_the_next() -> None:
    now = [0.0]

    class Hanging(Scripted):
        async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
            if self.asked == MAX_FAILURES:
                self.asked += 1
                await asyncio.sleep(600)
            return await super().propose(request)

    asked = Hanging(*[BUSY] * (MAX_FAILURES + 1), GOOD)
    circuit = CircuitBroken(asked, clock=lambda: now[0])
    for _ in range(MAX_FAILURES):
        with pytest.raises(ReasonerUnavailable):
            await circuit.propose(REQUEST)
    now[0] += OPEN_S
    probe = asyncio.create_task(circuit.propose(REQUEST))
    await asyncio.sleep(0)
    with pytest.raises(ReasonerUnavailable, match="not asked"):
        await circuit.propose(REQUEST)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    now[0] += OPEN_S
    assert await circuit.propose(REQUEST) == GOOD


@pytest.mark.parametrize("late", [GOOD, BUSY])
async def test_what_was_asked_before_it_opened_and_ends_later_says_nothing(
    late: Proposal | ReasonerUnavailable,
) -> None:
    now, go_on = [0.0], [asyncio.Event(), asyncio.Event()]
    script: list[tuple[int | None, Proposal | ReasonerUnavailable]] = [
        (0, late),  # asked first, answered last
        *[(None, BUSY)] * MAX_FAILURES,
        (1, GOOD),  # the probe
        (None, GOOD),
    ]

    class InTurn(Scripted):
        async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
            waits_for, answer = script[self.asked]
            self.asked += 1
            if waits_for is not None:
                await go_on[waits_for].wait()
            if isinstance(answer, ReasonerUnavailable):
                raise answer
            return answer

    circuit = CircuitBroken(InTurn(), clock=lambda: now[0])
    first = asyncio.create_task(circuit.propose(REQUEST))
    await asyncio.sleep(0)
    for _ in range(MAX_FAILURES):
        with pytest.raises(ReasonerUnavailable):
            await circuit.propose(REQUEST)
    now[0] += OPEN_S
    probe = asyncio.create_task(circuit.propose(REQUEST))
    await asyncio.sleep(0)
    go_on[0].set()
    assert (await asyncio.gather(first, return_exceptions=True)) == [late]
    with pytest.raises(ReasonerUnavailable, match="not asked"):
        await circuit.propose(REQUEST)
    go_on[1].set()
    assert await probe == GOOD
    assert await circuit.propose(REQUEST) == GOOD

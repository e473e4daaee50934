"""Driving the kernel: tools within their time, each question numbered, and what a record says of all that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from jurat.agents.agent import Agent, Situation
from jurat.agents.kernel import Use
from jurat.agents.reasoner import ModelCall, ProposalRequest, ToolResult
from jurat.audit import story
from jurat.audit.chain import ChainHead
from jurat.audit.kept import MAX_ALTERNATIVES
from jurat.audit.reasoning import ModelAsked, ToolAnswered, Usage
from jurat.audit.record import DecisionRecord, Outcome, parse
from jurat.schemas import canonical
from jurat.schemas.decision import Decision, Verdict
from jurat.schemas.errors import BrokerUnreachable, ReasonerUnavailable
from jurat.streams import asking
from jurat.streams.asking import used
from tests.deciding_stage import Asked as Calls
from tests.deciding_stage import Says, decider, fresh_state, record_of
from tests.golden.audit import sample_log
from tests.journal_stage import EVENT, NOW, Do
from tests.tool_stage import (
    Asked,
    Counted,
    Scripted,
    called,
    counter,
    counting,
    does,
    raw_wish,
    wish,
    with_tools,
)

USE = Use(counter(), Asked(thing="abc"), Situation(event=EVENT, now=NOW))


async def slow(_situation: object, _asked: Asked) -> Counted:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits for that")


async def wrong(_situation: object, _asked: Asked) -> Any:
    return {"count": 3}


async def broken(_situation: object, _asked: Asked) -> Counted:
    raise ZeroDivisionError("secret 4711")


async def unreachable(_situation: object, _asked: Asked) -> Counted:
    raise BrokerUnreachable("nobody at home")


async def cancelled(_situation: object, _asked: Asked) -> Counted:
    part: asyncio.Future[Counted] = asyncio.get_running_loop().create_future()
    part.cancel()
    return await part


async def test_a_tool_answers() -> None:
    assert await used(USE) == ToolResult("count", Asked(thing="abc"), Counted(count=3))


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        (slow, "it did not answer within 0 s"),
        (wrong, "it answered with a dict, expected Counted"),
        (broken, "it failed: ZeroDivisionError"),
        (unreachable, "BrokerUnreachable: nobody at home"),
        (cancelled, "it was cancelled from within"),
    ],
)
async def test_a_tool_that_fails_or_is_slow_gives_a_failed_result(
    monkeypatch: pytest.MonkeyPatch, tool: Any, said: str
) -> None:
    monkeypatch.setattr(asking, "TOOL_S", 0.01)
    result = await used(replace(USE, tool=counter(tool)))
    assert result == ToolResult("count", Asked(thing="abc"), failed=said)


async def test_a_cancelled_worker_is_not_held_up_by_a_tool() -> None:
    using = asyncio.create_task(used(replace(USE, tool=counter(slow))))
    await asyncio.sleep(0)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using


async def test_a_reasoner_whose_own_task_is_cancelled_is_unavailable_and_ends_no_worker() -> None:
    class Cancelled(Scripted):
        async def propose(self, request: ProposalRequest) -> Any:
            return await cancelled(request, Asked(thing="abc"))

    with pytest.raises(ReasonerUnavailable, match="own task was cancelled"):
        await decide(Cancelled())


async def test_a_worker_that_is_cancelled_is_not_held_up_by_a_reasoner() -> None:
    class Slow(Scripted):
        async def propose(self, request: ProposalRequest) -> Any:
            return await slow(request, Asked(thing="abc"))

    deciding = asyncio.create_task(decide(Slow()))
    await asyncio.sleep(0)
    deciding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deciding


def able(tool: Any = counting) -> Agent[Any]:
    return replace(with_tools(counter(tool)), listens={"commerce.payments": (type(EVENT),)})


async def decide(
    reasoner: Scripted, agent: Agent[Any] | None = None
) -> tuple[DecisionRecord, Decision, Calls, bytes]:
    one = decider(agent or able(), reasoner=reasoner, engine=Says(Verdict.ALLOW))
    calls = Calls()
    result = await one.decide(record_of(EVENT), fresh_state(None), calls=calls, attempt=3)
    payload = result.draft.finish(ChainHead())
    assert result.decision is not None
    return parse(payload).predicate, result.decision, calls, payload


async def test_each_question_has_a_number_and_the_record_says_what_was_asked_and_answered() -> None:
    first, second = called(1), called(2)
    script = Scripted(
        wish(call=first),
        raw_wish("weather"),
        does(1, confidence=70, alternatives=("left", "right", "left"), reasoner="small-model", call=second),
    )
    record, decision, calls, _ = await decide(script)
    assert [(attempt, ask) for _where, _id, attempt, ask in calls.calls] == [(3, 0), (3, 1), (3, 2), (3, 3)]
    assert script.asked[-1].tools[0].result == Counted(count=3)
    assert record.reasoner is not None
    assert (record.reasoner.name, record.reasoner.model) == ("scripted", "gpt-test")
    assert record.reasoner.parameters_sha256 == second.parameters_sha256
    assert record.reasoner.usage == Usage(
        calls=2, input_tokens=300, output_tokens=20, cost_micros=500, currency="EUR"
    )
    asked = Asked(thing="abc").model_dump(mode="json")
    assert record.reasoner.tools == (
        ToolAnswered(
            name="count",
            arguments_sha256=canonical.digest(asked),
            result_sha256=canonical.digest({"count": 3}),
            call=told(first),
        ),
        ToolAnswered(name="weather", arguments_sha256=canonical.digest({}), result_sha256=None),
    )
    (proposal,) = record.proposals
    assert (proposal.call, proposal.reasoner, proposal.alternatives) == (
        told(second),
        "small-model",
        ("left", "right"),
    )
    assert (decision.reasoner, decision.alternatives, decision.confidence) == (
        "small-model",
        ("left", "right"),
        70,
    )


def told(call: ModelCall) -> ModelAsked:
    return ModelAsked(
        model=call.model,
        parameters_sha256=call.parameters_sha256,
        prompt_sha256=call.prompt_sha256,
        response_sha256=call.response_sha256,
    )


async def test_a_record_without_model_and_tools_has_the_form_of_before() -> None:
    record, _decision, _calls, payload = await decide(Scripted(does(1)))
    assert record.reasoner is not None
    assert (record.reasoner.usage, record.reasoner.tools) == (None, ())
    before = b'{"deterministic":false,"model":null,"name":"scripted","parameters_sha256":null,"usage":null}'
    assert b'"reasoner":' + before in payload
    assert b"alternatives" not in payload
    assert b'"call"' not in payload


@pytest.mark.parametrize(
    "other",
    [
        replace(called().spent, currency="USD"),
        replace(called().spent, cost_micros=None, currency=None),
        replace(called().spent, currency=None),
    ],
)
async def test_money_is_added_up_in_one_known_currency_only(other: Any) -> None:
    script = Scripted(wish(call=called()), does(1, call=replace(called(), spent=other)))
    record, _decision, _calls, _ = await decide(script)
    assert record.reasoner is not None
    assert record.reasoner.usage == Usage(calls=2, input_tokens=200, output_tokens=20)


async def test_what_a_server_claims_to_have_counted_never_makes_a_record_invalid() -> None:
    most = replace(called().spent, input_tokens=canonical.MAX_INTEGER)
    call = replace(called(), spent=most)
    record, *_ = await decide(Scripted(wish(call=call), does(1, call=call)))
    assert record.reasoner is not None
    assert record.reasoner.usage is not None
    assert record.reasoner.usage.input_tokens == canonical.MAX_INTEGER


async def test_the_fallback_after_a_tool_names_the_model_that_answered_last() -> None:
    agent = replace(able(), fallback=lambda _situation: Do(number=9))
    record, decision, *_ = await decide(Scripted(wish(call=called()), ReasonerUnavailable("gone")), agent)
    assert record.reasoner is not None
    assert (record.reasoner.model, decision.action) == ("gpt-test", "do")
    assert record.proposals[0].call is None


async def test_a_tool_that_fails_ends_no_input() -> None:
    record, *_ = await decide(Scripted(wish(), does(1)), able(broken))
    assert record.outcome is Outcome.DECIDED
    assert record.reasoner is not None
    assert [tool.result_sha256 for tool in record.reasoner.tools] == [None]


async def test_alternatives_are_bounded() -> None:
    many = tuple(f"way-{number}" for number in range(1_000))
    record, decision, *_ = await decide(Scripted(does(1, alternatives=many)))
    assert record.proposals[0].alternatives == decision.alternatives == many[:MAX_ALTERNATIVES]


def test_the_story_tells_of_models_and_tools_in_plain_words() -> None:
    script = Scripted(
        wish(call=called(1)),
        raw_wish("weather"),
        does(1, alternatives=("left",), reasoner="small", call=called(2)),
    )
    *_, payload = asyncio.run(decide(script))
    lines = story.tell(sample_log.log(1)[0], parse(payload), standing="Verified.")
    for part in (
        "The reasoner was scripted, model gpt-test. 1 proposal was judged:",
        "    proposed by small, to whom the question was passed on\n    rather than left\n",
        f"    asked of the model gpt-test: prompt SHA-256 {called(2).prompt_sha256}",
        f"  Before that it used the tool count: it answered, SHA-256 {canonical.digest({'count': 3})}",
        "  Before that it used the tool weather: it failed",
        "  The answers took 2 calls, 300 tokens in and 20 out, for 0.000500 EUR.",
    ):
        assert part in lines

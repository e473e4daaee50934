"""Whatever is journalled is read back; wherever a worker ends, an answer is used again exactly if it was written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jurat.agents.agent import MAX_TOOL_NAME
from jurat.agents.kernel import Use
from jurat.agents.reasoner import ModelCall, Proposal, RawArguments, Spent, ToolCall, ToolResult
from jurat.agents.tools import MAX_FAILURE
from jurat.policies.normal import printable
from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.errors import JuratError, ProposalInvalid, ReasonerUnavailable
from jurat.streams.journal_entry import (
    MAX_ALTERNATIVES,
    MAX_MESSAGE,
    CallKey,
    Entry,
    Kind,
    answer_of,
    answered,
    entry_of_use,
    failed,
    parse_entry,
    parse_key,
    print_entry,
    result_of,
    use_intent,
)
from tests.journal_stage import (
    WHERE,
    Do,
    Log,
    MemoryWriter,
    Meters,
    Paid,
    Restoring,
    ask,
    doer,
    opened,
    request,
)
from tests.tool_stage import Asked, Counted, counter

ASKED = Asked(thing="abc")

INTENT = Entry(
    kind=Kind.INTENT,
    call_id="dec_1/1/0",
    request="a" * 64,
    event="b" * 64,
    asked_at="2026-11-22T16:40:00.123456Z",
)
AT = "2026-11-22T16:40:02.000000Z"

names = st.text(min_size=1, max_size=200)
counts = st.integers(0, MAX_INTEGER)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
model_calls = st.builds(
    ModelCall,
    model=names,
    parameters_sha256=digests,
    prompt_sha256=digests,
    response_sha256=digests,
    spent=st.builds(
        Spent,
        calls=counts,
        input_tokens=counts,
        output_tokens=counts,
        cost_micros=st.none() | counts,
        currency=st.none() | st.sampled_from(["EUR", "USD"]),
    ),
)
proposals = st.builds(
    Proposal,
    action=st.builds(
        Do,
        number=st.integers(-MAX_INTEGER, MAX_INTEGER),
        labels=st.lists(st.text(max_size=20), max_size=3).map(tuple),
    ),
    rationale=st.text(),
    confidence=st.none() | st.integers(0, 100),
    alternatives=st.lists(names, max_size=MAX_ALTERNATIVES).map(tuple),
    reasoner=st.just("") | names,
    call=st.none() | model_calls,
)
plain = st.dictionaries(
    st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.integers(-9, 9) | st.text(max_size=9), max_size=3
)
wishes = st.builds(
    ToolCall,
    tool=st.text(min_size=1, max_size=MAX_TOOL_NAME),
    arguments=st.builds(RawArguments, given=plain),
    call=st.none() | model_calls,
)


@given(proposals | wishes)
def test_an_answer_comes_back_as_it_was(proposal: Proposal | ToolCall) -> None:
    entry = answered(INTENT, proposal, AT)
    value = print_entry(entry)
    assert parse_entry(value) == entry
    assert print_entry(parse_entry(value)) == value
    assert answer_of(parse_entry(value), doer()) == proposal


results = st.builds(Counted, count=st.integers(-MAX_INTEGER, MAX_INTEGER)).map(
    lambda counted: ToolResult("count", ASKED, result=counted)
)
failures = st.text(max_size=MAX_FAILURE).map(lambda why: ToolResult("count", ASKED, failed=printable(why)))


@given(results | failures)
def test_what_a_tool_answered_comes_back_as_it_was(result: ToolResult) -> None:
    use = Use(counter(), ASKED, request().situation)
    intent = use_intent(use, call_id="dec_1/1/1", event="b" * 64, at=AT)
    assert parse_entry(print_entry(intent)) == intent
    entry = entry_of_use(intent, result, AT)
    value = print_entry(entry)
    assert parse_entry(value) == entry
    assert print_entry(parse_entry(value)) == value
    assert result_of(parse_entry(value), use) == result


any_text = st.text(max_size=MAX_MESSAGE + 10)


@example(Kind.INVALID, "what is no Unicode: \ud800")
@given(st.sampled_from([Kind.INVALID, Kind.REJECTED, Kind.UNAVAILABLE]), any_text)
def test_a_failure_is_always_written(kind: Kind, message: str) -> None:
    entry = failed(INTENT, kind, message, AT)
    assert parse_entry(print_entry(entry)) == entry
    assert len(entry.message or "") <= MAX_MESSAGE


@given(
    st.builds(
        CallKey,
        topic=st.from_regex(r"[A-Za-z0-9._-]{1,249}", fullmatch=True),
        offset=st.integers(0, MAX_INTEGER),
        attempt=st.integers(0, 9_999),
        ask=st.integers(0, 9_999),
        writer=st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    )
)
def test_a_key_comes_back_as_it_was(key: CallKey) -> None:
    assert parse_key(key.encode()) == key


ANSWERS = [Proposal(Do(number=1), "because"), None, ProposalInvalid("no"), ReasonerUnavailable("busy")]
Step = tuple[int, int, int]
"""Offset of the input, question, and which of the answers."""

steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=8)


async def journalled(script: Sequence[Step]) -> Log:
    """What several calls leave, all at once on the way, each question of an input asked once."""
    writer = MemoryWriter()

    async def give_way() -> None:
        await asyncio.sleep(0)

    writer.before = give_way
    journal = opened(writer)
    calls = {(offset, number): answer for offset, number, answer in script}
    await asyncio.gather(
        *(
            ask(journal, Paid(ANSWERS[answer]), where=_at(offset), number=number)
            for (offset, number), answer in calls.items()
        ),
        return_exceptions=True,
    )
    return writer.log


def _at(offset: int) -> Any:
    return WHERE.model_copy(update={"offset": offset})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(script=steps, ended=st.integers(0, 100), compacted=st.integers(0, 100))
def test_an_answer_is_used_again_exactly_if_it_was_written(
    monkeypatch: pytest.MonkeyPatch, script: Sequence[Step], ended: int, compacted: int
) -> None:
    async def play() -> None:
        whole = await journalled(script)
        log = whole[: ended * len(whole) // 100]
        begin = compacted * len(log) // 100
        log = [*dict(log[:begin]).items(), *log[begin:]]
        last = {parse_key(key)[1::2]: parse_entry(value).kind for key, value in log if value is not None}
        for offset, number, _answer in script:
            kind = last.get((offset, number))
            meters, reasoner = Meters(), Paid(Proposal(Do(number=2), "anew"))
            journal = await Restoring(monkeypatch)(log, meters=meters)
            try:
                await ask(journal, reasoner, where=_at(offset), number=number)
            except JuratError as error:
                assert (type(error), kind) == (ProposalInvalid, Kind.INVALID)  # noqa: PT017 - others must not come
            used_again = kind in (Kind.PROPOSAL, Kind.NOTHING, Kind.INVALID)
            assert (reasoner.calls, meters.both) == (int(not used_again), (used_again, kind is Kind.INTENT))

    asyncio.run(play())

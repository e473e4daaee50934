"""Tools in the kernel, and its table of transitions walked path by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from jurat.agents import kernel
from jurat.agents.agent import (
    MAX_PROPOSALS,
    MAX_TOOL_CALLS,
    MAX_TOOL_NAME,
    Agent,
    Judged,
    Situation,
)
from jurat.agents.kernel import TRANSITIONS, Came, Decided, Resolution, State, Use, decide, judge_approved
from jurat.agents.reasoner import RawArguments, ToolCall, ToolResult
from jurat.agents.tools import MAX_FAILURE, MAX_TOOL_BYTES, NoArguments
from jurat.policies.objectives import Objectives
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ConfigurationError, InputRejected, ProposalInvalid, ReasonerUnavailable
from tests.journal_stage import EVENT, NOW, Do, Number, Thing
from tests.tool_stage import Asked, Counted, called, counter, does, raw_wish, wish, with_tools

SITUATION: Situation[Any] = Situation(event=EVENT, now=NOW)
DENY, ALLOW, ESCALATE = Verdict.DENY, Verdict.ALLOW, Verdict.ESCALATE
OFFER = counter()
THREE = ToolResult("count", Asked(thing="abc"), Counted(count=3))


class Judging:
    """Odd numbers are allowed, numbers above 100 are for people, the rest is refused."""

    def judge(self, request: PolicyRequest) -> Judgement:
        assert isinstance(request.facts, Number)
        number = request.facts.number
        verdict = ESCALATE if number > 100 else ALLOW if number % 2 else DENY
        return Judgement(verdict, ("p",), ("because",))


def play(agent: Agent[Any], answers: Sequence[Any]) -> tuple[Decided, list[Any]]:
    """Send the answers in order; gives the result and what was yielded."""
    steps = decide(agent, Judging(), SITUATION)
    yielded: list[Any] = [next(steps)]
    for answer in answers:
        try:
            yielded.append(steps.send(answer))
        except StopIteration as stop:
            assert len(yielded) == len(answers), "the kernel ended before the script did"
            return stop.value, yielded
    raise AssertionError("the kernel asks for more than the script holds")


def falling_back(number: int | None) -> Agent[Any]:
    fallback = None if number is None else Do(number=number)
    return replace(with_tools(OFFER), fallback=lambda _situation: fallback)


PATHS: list[tuple[int | None, list[Any], list[State]]] = [
    (None, [does(1)], [State.JUDGE, State.DECIDED]),
    (None, [does(101)], [State.JUDGE, State.ESCALATED]),
    (None, [does(2), does(1)], [State.JUDGE, State.ASK, State.JUDGE, State.DECIDED]),
    (None, [wish(), THREE, does(1)], [State.USE, State.ASK, State.JUDGE, State.DECIDED]),
    (None, [raw_wish("other"), does(1)], [State.ASK, State.JUDGE, State.DECIDED]),
    (9, [None], [State.FALL_BACK, State.DECIDED]),
    (109, [ReasonerUnavailable("gone")], [State.FALL_BACK, State.ESCALATED]),
    (8, [None], [State.FALL_BACK, State.DENIED]),
    (None, [does(2), None], [State.JUDGE, State.ASK, State.FALL_BACK, State.DENIED]),
    (
        None,
        [does(2)] * MAX_PROPOSALS,
        [State.JUDGE, State.ASK] * (MAX_PROPOSALS - 1) + [State.JUDGE, State.FALL_BACK, State.DENIED],
    ),
    (None, [None], [State.FALL_BACK, State.FAILED]),
]
"""The fallback's number, the answers, and the states after `ask`."""


class Walked(Mapping[tuple[State, Came], State]):
    """The table, with the ways that were taken."""

    def __init__(self) -> None:
        self.taken: list[tuple[State, Came]] = []

    def __getitem__(self, way: tuple[State, Came]) -> State:
        self.taken.append(way)
        return TRANSITIONS[way]

    def __iter__(self) -> Any:
        return iter(TRANSITIONS)

    def __len__(self) -> int:
        return len(TRANSITIONS)


def walk(
    monkeypatch: pytest.MonkeyPatch, fallback: int | None, answers: list[Any]
) -> list[tuple[State, Came]]:
    walked = Walked()
    monkeypatch.setattr(kernel, "TRANSITIONS", walked)
    try:
        play(falling_back(fallback), answers)
    except InputRejected:
        assert TRANSITIONS[walked.taken[-1]] is State.FAILED
    return walked.taken


@pytest.mark.parametrize(("fallback", "answers", "states"), PATHS)
def test_each_path_goes_through_its_states(
    monkeypatch: pytest.MonkeyPatch, fallback: int | None, answers: list[Any], states: list[State]
) -> None:
    taken = walk(monkeypatch, fallback, answers)
    assert [TRANSITIONS[way] for way in taken] == states
    assert [state for state, _came in taken] == [State.ASK, *states[:-1]]


def test_every_transition_of_the_table_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {way for fallback, answers, _states in PATHS for way in walk(monkeypatch, fallback, answers)}
    assert taken == set(TRANSITIONS)


def test_the_table_ends_and_its_documentation_names_every_state() -> None:
    ends = set(State) - {state for state, _came in TRANSITIONS}
    assert ends == {State.DECIDED, State.ESCALATED, State.DENIED, State.FAILED}
    assert {came for _state, came in TRANSITIONS} == set(Came)
    assert all(f"`{state.value}`" in (kernel.__doc__ or "") for state in State)


def test_2_a_tool_is_used_and_the_reasoner_told_what_it_answered() -> None:
    decided, yielded = play(with_tools(OFFER), [wish(call=called()), THREE, does(1)])
    assert yielded[1] == Use(OFFER, Asked(thing="abc"), SITUATION)
    assert yielded[2].request.tools == (THREE,)
    assert [(used.result, used.call) for used in decided.tools] == [(THREE, called())]
    assert decided.resolution is Resolution.DECIDED


def test_2_arguments_may_be_given_as_a_model_words_them() -> None:
    _, yielded = play(with_tools(OFFER), [raw_wish(thing="abc", places=[1, 2]), THREE, does(1)])
    assert yielded[1].arguments == Asked(thing="abc", places=(1, 2))


class Sly(Asked):
    """The same, with something up its sleeve."""


def smuggling() -> Asked:
    made = Asked.model_construct(thing="abc")
    made.__dict__["admin"] = True
    return made


@pytest.mark.parametrize(
    ("given", "tool", "said"),
    [
        (raw_wish("rm -rf"), "rm -rf", "there is no such tool; there is: count"),
        (raw_wish("x" * 1_000), "x" * MAX_TOOL_NAME, "no such tool"),
        (ToolCall(7, Asked(thing="abc")), "nothing", "no such tool"),  # type: ignore[arg-type]
        (raw_wish(), "count", "refused: thing is refused: Field required"),
        (raw_wish(thing=7), "count", "thing is refused: Input should be a valid string"),
        (raw_wish(thing="a", admin=True), "count", "admin is refused: Extra inputs"),
        (raw_wish(thing="x" * MAX_TOOL_BYTES), "count", "expected at most"),
        (ToolCall("count", Sly(thing="abc")), "count", "got a Sly, expected Asked"),
        (ToolCall("count", smuggling()), "count", "admin is refused"),
        (ToolCall("count", None), "count", "got a NoneType, expected Asked"),  # type: ignore[arg-type]
    ],
)
def test_2_what_is_no_tool_or_no_arguments_is_a_failed_result(given: ToolCall, tool: str, said: str) -> None:
    decided, yielded = play(with_tools(OFFER), [given, does(1)])
    (result,) = yielded[1].request.tools
    assert (result.tool, result.arguments, result.result) == (tool, NoArguments(), None)
    assert said in result.failed
    assert decided.tools[0].result == result


def lying(**values: object) -> Counted:
    return Counted.model_construct(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ToolResult("count", Asked(thing="x"), failed="it did not answer"), "it did not answer"),
        (ToolResult("count", Asked(thing="x")), "it gave no answer"),
        (
            ToolResult("count", Asked(thing="x"), Asked(thing="x")),
            "it answered with a Asked, expected Counted",
        ),
        (ToolResult("count", Asked(thing="x"), lying(count="3")), "its answer is refused: count"),
        (ToolResult("count", Asked(thing="x"), failed="\ud800" * 1_000), "\\ud800"),
        (None, "got a NoneType, expected a ToolResult"),
        (does(1), "got a Proposal, expected a ToolResult"),
    ],
)
def test_2_what_is_no_answer_is_a_failed_result_and_the_arguments_are_those_that_were_asked(
    answer: Any, said: str
) -> None:
    decided, yielded = play(with_tools(OFFER), [wish(), answer, does(1)])
    (result,) = yielded[2].request.tools
    assert (result.arguments, result.result) == (Asked(thing="abc"), None)
    assert said in result.failed
    assert len(result.failed) <= MAX_FAILURE
    assert decided.resolution is Resolution.DECIDED


def test_1_the_number_of_tools_is_bounded_whether_they_exist_or_not() -> None:
    wishes = [wish(), THREE, raw_wish("other"), *[wish(), THREE] * (MAX_TOOL_CALLS - 2)]
    decided, yielded = play(falling_back(9), [*wishes, wish()])
    assert len(yielded[-1].request.tools) == MAX_TOOL_CALLS
    assert decided.resolution is Resolution.DECIDED
    why = f"fallback: got a wish for another tool, expected a proposal after {MAX_TOOL_CALLS} tools"
    assert decided.chosen.proposal.rationale == why
    assert len(decided.tools) == MAX_TOOL_CALLS
    with pytest.raises(ProposalInvalid, match="another tool"):
        play(falling_back(None), [*wishes, wish()])


def test_1_tools_may_be_used_between_proposals_and_are_all_told() -> None:
    decided, yielded = play(with_tools(OFFER), [wish(), THREE, does(2), wish(), THREE, does(1)])
    asked = [
        (len(step.request.tools), len(step.request.refused)) for step in yielded if not isinstance(step, Use)
    ]
    assert asked == [(0, 0), (1, 0), (1, 1), (2, 1)]
    assert len(decided.proposals) == 2


def test_1_a_malformed_model_call_is_no_answer() -> None:
    lying = replace(called(), prompt_sha256="short")
    for answer in (wish(call=lying), does(1, call=lying)):
        with pytest.raises(ProposalInvalid, match=r"a model call \(prompt_sha256 is refused"):
            play(falling_back(None), [answer])


def test_1_the_reasoner_is_told_the_objectives() -> None:
    aims = Objectives("be quick", {"speed": 100})
    steps = decide(with_tools(), Judging(), SITUATION, objectives=aims)
    assert next(steps).request.objectives is aims  # type: ignore[union-attr]


class Sure(Number):
    """Facts that tell how sure the reasoner is."""

    confidence: int = 100


@pytest.mark.parametrize(("said", "told"), [(None, 100), (0, 0), (54, 54), (100, 100)])
def test_3_facts_that_declare_it_are_told_the_confidence(said: int | None, told: int) -> None:
    seen: list[PolicyRequest] = []

    class Looking(Judging):
        def judge(self, request: PolicyRequest) -> Judgement:
            seen.append(request)
            return super().judge(request)

    agent = replace(
        with_tools(), judged=lambda _situation, action: Judged(Thing(id="o-1"), Sure(number=action.number))
    )
    proposal = does(1, confidence=said)
    steps = decide(agent, Looking(), SITUATION)
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(proposal)
    judge_approved(agent, Looking(), SITUATION, proposal, approvals=frozenset({"risk"}))
    assert [request.facts for request in seen] == [Sure(number=1, confidence=told)] * 2


def test_raw_arguments_are_of_any_object() -> None:
    assert RawArguments.model_validate_json(b'{"given":{"a":[1,{"b":null}]}}').given == {
        "a": [1, {"b": None}]
    }


@pytest.mark.parametrize(
    "names", [("count", "count"), ("",), ("x" * (MAX_TOOL_NAME + 1),), ("carrier\nquote",)]
)
def test_a_tool_that_could_not_be_named_is_refused(names: Sequence[str]) -> None:
    with pytest.raises(ConfigurationError, match="expected each once"):
        with_tools(*[replace(OFFER, name=name) for name in names])

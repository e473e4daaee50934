"""What the tests of tools share: an agent with tools, that does what its judge allows, and a reasoner with a script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from jurat.agents.agent import Agent, Judged, Tool
from jurat.agents.reasoner import ModelCall, Proposal, ProposalRequest, RawArguments, Spent, ToolCall
from jurat.schemas.model import Model
from tests.journal_stage import Do, Number, Thing, doer


class Asked(Model):
    """How many of a thing there are."""

    thing: str
    places: tuple[int, ...] = ()


class Counted(Model):
    """So many."""

    count: int


async def counting(_situation: object, asked: Asked) -> Counted:
    """Counts the letters."""
    return Counted(count=len(asked.thing))


def counter(use: Callable[[Any, Any], Awaitable[Any]] = counting) -> Tool:
    """The tool `count`."""
    return Tool("count", "How many there are", Asked, Counted, use)


def with_tools(*tools: Tool) -> Agent[Any]:
    """An agent with tools, judged by its action's number."""
    return replace(
        doer(Do),
        tools=tools,
        judged=lambda situation, action: Judged(
            Thing(id=situation.event.order_id), Number(number=action.number)
        ),
    )


def called(number: int = 1) -> ModelCall:
    """A model call, with a price."""
    return ModelCall(
        model="gpt-test",
        parameters_sha256=f"{number:064x}",
        prompt_sha256=f"{number + 16:064x}",
        response_sha256=f"{number + 32:064x}",
        spent=Spent(calls=1, input_tokens=100 * number, output_tokens=10, cost_micros=250, currency="EUR"),
    )


def wish(thing: str = "abc", *, call: ModelCall | None = None) -> ToolCall:
    """A wish to count."""
    return ToolCall("count", Asked(thing=thing), call)


def raw_wish(tool: str = "count", **given: Any) -> ToolCall:
    """A wish as a model words it."""
    return ToolCall(tool, RawArguments(given=given))


class Scripted:
    """A reasoner that gives the answers of a script, one a question, and keeps what it was asked."""

    name = "scripted"

    def __init__(self, *answers: object, deterministic: bool = False) -> None:
        self.deterministic = deterministic
        self.answers = list(answers)
        self.asked: list[ProposalRequest] = []

    async def propose(self, request: ProposalRequest) -> Any:
        """The next answer of the script."""
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def does(number: int = 1, **said: Any) -> Proposal:
    """A proposal."""
    return Proposal(action=Do(number=number), rationale=f"proposal {number}", **said)

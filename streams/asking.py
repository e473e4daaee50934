"""Driving the kernel: its questions go to the reasoner and to tools, through whoever remembers the answers.

Rules upheld here: a reasoner's failure is the kernel's business, everything else that fails is not swallowed; a tool
that fails or takes too long gives a failed result, and never ends an input; each question of a decision has a number.
Not here: what an answer leads to (`jurat.agents.kernel`), remembering (`journal.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from jurat.agents.action_space import LazySpace
from jurat.agents.agent import Agent, Situation
from jurat.agents.kernel import Answer, Ask, Decided, Step, Use, decide
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall, ToolResult
from jurat.agents.tools import checked_result, failed_result
from jurat.policies.engine import PolicyEngine
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import JuratError, ReasonerError, ReasonerUnavailable
from jurat.streams.usage import Counted

if TYPE_CHECKING:
    from jurat.streams.deciding import Deciding

log = logging.getLogger(__name__)

TOOL_S: Final = 10.0
"""How long a tool may take: a look-up is a matter of milliseconds, a service that says nothing for so long is down."""


class Calls(Protocol):
    """Who puts questions to reasoners and tools; the journal does, and remembers what was answered."""

    async def propose(
        self,
        reasoner: Reasoner,
        request: ProposalRequest,
        *,
        where: InputRef,
        decision_id: str,
        attempt: int,
        ask: int,
    ) -> Proposal | ToolCall | None:
        """Ask the reasoner, or return what it answered to this before.

        Raises:
            ReasonerError: as the reasoner does.
        """
        ...

    async def use(self, use: Use, *, where: InputRef, decision_id: str, attempt: int, ask: int) -> ToolResult:
        """Use a tool (`used`), or return what it answered to this before."""
        ...


async def reason(case: Deciding, situation: Situation[Any], name: str) -> Decided:
    """Decide a situation; `name` is the decision's id.

    Raises:
        Retryable: what failed may pass.
        JuratError: as `jurat.agents.kernel.decide`, or a fault that is not the input's.
    """
    by, where, calls = case.by, case.decoded.where, case.calls
    reasoner = case.trace.asking(by.reasoner)

    async def propose(request: ProposalRequest, ask: int) -> Proposal | ToolCall | None:
        if case.texts is not None:
            request = replace(request, keep=case.texts.keep)
        return await calls.propose(
            reasoner, request, where=where, decision_id=name, attempt=case.attempt, ask=ask
        )

    async def use(step: Use, ask: int) -> ToolResult:
        return await calls.use(step, where=where, decision_id=name, attempt=case.attempt, ask=ask)

    decided = await driven(by.agent, by.engine, case.judge(situation), situation, propose=propose, use=use)
    if case.texts is not None:
        for tool in decided.tools:
            case.texts.keep_model(tool.result.arguments)
            case.texts.keep_model(tool.result.result)
    return decided


async def driven(
    agent: Agent[Any],
    engine: PolicyEngine,
    judge: Counted,
    situation: Situation[Any],
    *,
    propose: Callable[[ProposalRequest, int], Awaitable[Proposal | ToolCall | None]],
    use: Callable[[Use, int], Awaitable[ToolResult]],
) -> Decided:
    """Drive the kernel from its first question to its end.

    Args:
        agent: who decides.
        engine: its policies, with the objectives and the action space that follow from them.
        judge: who judges, and knows what was used of budgets.
        situation: what is decided.
        propose: asks the reasoner, given the question's number in this decision.
        use: uses a tool, given the same.

    Raises:
        JuratError: as `jurat.agents.kernel.decide`, or what was raised that is no failure of the reasoner.
    """
    steps = decide(
        agent,
        judge,
        situation,
        objectives=engine.bundle.objectives.get(agent.name),
        space=LazySpace(agent, situation, engine, usage=judge),
    )
    number = 0
    try:
        step: Step = next(steps)
        while True:
            answer: Answer
            match step:
                case Ask(request):
                    try:
                        answer = await propose(request, number)
                    except ReasonerError as error:
                        answer = error
                    except asyncio.CancelledError:
                        if _is_asked():
                            raise
                        answer = ReasonerUnavailable("the reasoner's own task was cancelled")
                case Use():
                    answer = await use(step, number)
            number += 1
            step = steps.send(answer)
    except StopIteration as done:
        decided: Decided = done.value
        return decided


async def used(use: Use) -> ToolResult:
    """Use a tool within its time; whatever it raises makes a failed result."""
    tool = use.tool
    try:
        async with asyncio.timeout(TOOL_S):
            answer = await tool.use(use.situation, use.arguments)
    except TimeoutError:
        log.warning("tool=%s did not answer within %.0f s", tool.name, TOOL_S)
        return failed_result(tool.name, use.arguments, f"it did not answer within {TOOL_S:.0f} s")
    except JuratError as error:
        log.warning("tool=%s failed error=%s", tool.name, type(error).__name__)
        return failed_result(tool.name, use.arguments, f"{type(error).__name__}: {error}")
    except asyncio.CancelledError:
        if _is_asked():
            raise
        log.warning("tool=%s was cancelled from within", tool.name)
        return failed_result(tool.name, use.arguments, "it was cancelled from within")
    except Exception as error:  # noqa: BLE001 - a tool's own code may raise anything; its message may quote anything
        log.warning("tool=%s failed error=%s", tool.name, type(error).__name__)
        return failed_result(tool.name, use.arguments, f"it failed: {type(error).__name__}")
    return checked_result(tool, use.arguments, ToolResult(tool.name, use.arguments, result=answer))


def _is_asked() -> bool:
    """Whether somebody cancels this task; if not, a task or connection within it ended so, and took nobody with it."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0

"""A reasoner's wish to use a tool, and what the tool answered, made sure of before anything else looks at them.

Rules upheld here: both are objects that somebody handed over, whatever their types say; what comes out holds the values
of the models' own fields, of exactly their types, made anew, so that what is used is what is recorded; whatever is
amiss becomes a failed result that the reasoner is told of, never the end of an input. Messages name types and fields,
never what they hold.

Not here: how often tools may be used (`kernel.py`), using one within its time (`jurat.streams.asking`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import ValidationError

from jurat.agents.agent import MAX_TOOL_NAME, Agent, Tool
from jurat.agents.proposals import checked_model_call, checked_spent
from jurat.agents.reasoner import RawArguments, ToolCall, ToolResult
from jurat.policies.normal import printable
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, ProposalInvalid
from jurat.schemas.model import Model

MAX_FAULTS: Final = 5
"""Faults named in one message, as for proposals."""

MAX_FAILURE: Final = 500
"""Characters kept of why a tool failed: it goes into prompts, and may quote what a service said."""

MAX_TOOL_BYTES: Final = 16 * 1024
"""Arguments or answer of one tool as canonical JSON: what a prompt can carry, and four fit into a journal entry."""


class NoArguments(Model):
    """Stands for arguments that no tool takes."""


def checked_call(agent: Agent[Any], call: ToolCall) -> tuple[Tool, Model] | ToolResult:
    """Make sure of a wish to use a tool.

    Args:
        agent: who decides.
        call: what its reasoner asked for.

    Returns:
        The tool and its arguments, made anew; or the failed result that says what is wrong.
    """
    name = shown(call.tool)
    tool = next((tool for tool in agent.tools if tool.name == name), None)
    if tool is None:
        known = ", ".join(tool.name for tool in agent.tools) or "none"
        return failed_result(name, NoArguments(), f"there is no such tool; there is: {known}")
    given: object = call.arguments
    if type(given) is RawArguments:
        made = _read(tool.arguments, given.given)
    elif type(given) is tool.arguments:
        made = _made(tool.arguments, given)
    else:
        made = f"got a {type(given).__name__}, expected {tool.arguments.__name__}"
    if isinstance(made, str):
        return failed_result(tool.name, NoArguments(), f"the arguments are refused: {made}")
    return tool, made


def shown(name: object) -> str:
    """A tool's name as whoever wished for it may have made it up: printable and cut."""
    return printable(name)[:MAX_TOOL_NAME] if isinstance(name, str) and name else "nothing"


def raw(call: ToolCall) -> ToolCall:
    """A wish in the form in which it is journalled: its arguments as JSON, not looked at yet.

    Raises:
        ProposalInvalid: the arguments are nothing that could be written.
    """
    given: object = call.arguments
    if not isinstance(given, Model):
        raise ProposalInvalid(f"got a tool's arguments of type {type(given).__name__}, expected a Model")
    try:
        plain = (
            given.given if type(given) is RawArguments else given.model_dump(mode="json", warnings="error")
        )
        size = len(canonical.dumps(plain))
        arguments = RawArguments(given=plain)
    except (CanonicalError, ValueError, TypeError) as error:
        raise ProposalInvalid("got a tool's arguments that have no canonical form") from error
    if size > MAX_TOOL_BYTES:
        raise ProposalInvalid(f"got a tool's arguments of {size} bytes, expected at most {MAX_TOOL_BYTES}")
    return ToolCall(shown(call.tool), arguments, checked_model_call(call.call), checked_spent(call.wasted))


def checked_result(tool: Tool, arguments: Model, answer: object) -> ToolResult:
    """Make sure of what a tool answered.

    Args:
        tool: the tool.
        arguments: what it was asked.
        answer: the `ToolResult` that came back, if it is one; of it, only the result or the failure counts.
    """
    if type(answer) is not ToolResult:
        return failed_result(tool.name, arguments, f"got a {type(answer).__name__}, expected a ToolResult")
    if answer.failed is not None or answer.result is None:
        return failed_result(tool.name, arguments, answer.failed or "it gave no answer")
    if type(answer.result) is not tool.result:
        got = type(answer.result).__name__
        return failed_result(
            tool.name, arguments, f"it answered with a {got}, expected {tool.result.__name__}"
        )
    made = _made(tool.result, answer.result)
    if isinstance(made, str):
        return failed_result(tool.name, arguments, f"its answer is refused: {made}")
    return ToolResult(tool.name, arguments, result=made)


def read_result(tool: Tool, arguments: Model, given: canonical.JsonObject) -> ToolResult:
    """A tool's answer, read back from JSON."""
    made = _read(tool.result, given)
    if isinstance(made, str):
        return failed_result(tool.name, arguments, f"its answer is none of this release: {made}")
    return ToolResult(tool.name, arguments, result=made)


def failed_result(tool: str, arguments: Model, why: str) -> ToolResult:
    """The result of a tool that gave none."""
    return ToolResult(tool, arguments, failed=printable(why)[:MAX_FAILURE])


def _made(model: type[Model], given: object) -> Model | str:
    """The value made anew, or what is wrong with it."""
    return _valid(lambda: model.model_validate(dict(vars(given))))


def _read(model: type[Model], given: canonical.JsonObject) -> Model | str:
    # Through JSON text, as a list is a tuple there while every other type stays strict.
    return _valid(lambda: model.model_validate_json(canonical.dumps(given)))


def _valid(make: Callable[[], Model]) -> Model | str:
    try:
        made = make()
        size = len(canonical.dumps(made.model_dump(mode="json")))
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])[:80]} is refused: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        return "; ".join(faults[:MAX_FAULTS])
    except (CanonicalError, ValueError, TypeError) as error:
        return f"no canonical form ({type(error).__name__})"
    return made if size <= MAX_TOOL_BYTES else f"got {size} bytes, expected at most {MAX_TOOL_BYTES}"

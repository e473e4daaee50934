"""What a language model is asked: the messages and the schema of its answer, from a request.

Rules upheld here: words of ours and of the signed bundle stand in the system message, everything that an event, a
document or a tool says stands in one line of JSON in the user message, which no text can leave: line ends, quotes and
everything that chat templates mark their turns with are escaped. What the fence is worth is for the model; the
policies judge whatever it answers. The words stand in a numbered file: a change of words is a new file, so that a
record's digest of the prompt can be found again.

Not here: sending it (`openai_client.py`), reading the answer (`model_answer.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jurat.agents import action_words
from jurat.agents.action_schema import any_of, closed, decision_schema, model_schema
from jurat.agents.action_space import DecisionSpace
from jurat.agents.agent import MAX_TOOL_CALLS, Agent
from jurat.agents.reasoner import ProposalRequest
from jurat.schemas import canonical
from jurat.schemas.canonical import JsonObject, JsonValue
from jurat.schemas.errors import ProposalInvalid
from jurat.schemas.model import Model

WORDS: Final = Path(__file__).with_name("model_prompt_1.txt").read_text(encoding="utf-8")
"""The system message of this version, to be filled in."""

MAX_PROMPT_BYTES: Final = 256 * 1024
"""The messages of one question: some 64,000 tokens, half of what the models of the day take."""

MAX_RATIONALE: Final = 600
"""Characters of a rationale: a paragraph, so that an answer has an end."""

_TEXTS: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_MARKS: Final = re.compile(r"[<>\[\]{}|`\u007f-\u00a0\u2028\u2029]")
"""What turns, tags and code blocks of chat templates are made of, and line ends that JSON lets stand."""


def messages(request: ProposalRequest) -> list[JsonValue]:
    """The messages of a question.

    Raises:
        ProposalInvalid: there is more to say than a prompt can carry.
        CanonicalError: a document or the state has no canonical form.
    """
    agent, aims = request.agent, request.objectives
    system = WORDS.format(
        agent=agent.name,
        aim=aims.aim if aims else "what serves the customer and the shop best",
        goals=", ".join(f"{goal} {weight}" for goal, weight in aims.weights.items()) if aims else "not said",
        actions="\n".join(f"- {one.name}: {one.action.title}" for one in request.space().offered),
        tools=_tools(agent),
    )
    user = f"BEGIN CASE\n{fenced(_case(request))}\nEND CASE"
    size = len(system.encode()) + len(user.encode())
    if size > MAX_PROMPT_BYTES:
        raise ProposalInvalid(
            f"got a situation that makes a prompt of {size} bytes, expected at most {MAX_PROMPT_BYTES}"
        )
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def fenced(case: JsonObject) -> str:
    """A value as one line of JSON whose texts hold no mark of a turn, a tag or a code block.

    Raises:
        CanonicalError: it has no canonical form.
    """
    return _TEXTS.sub(lambda text: _MARKS.sub(_escaped, text[0]), canonical.dumps(case).decode())


def answer_schema(request: ProposalRequest) -> JsonObject | None:
    """The schema of an answer; None where nothing is left to propose and no tool to use."""
    space = request.space()
    names: list[JsonValue] = [one.name for one in space.offered]
    choices = [*_actions(space), *(_wishes(request) if len(request.tools) < MAX_TOOL_CALLS else ())]
    if not choices:
        return None
    fields: JsonObject = {"action": any_of(choices)}
    fields["rationale"] = {"type": "string", "maxLength": MAX_RATIONALE}
    fields["confidence"] = {"type": "integer", "minimum": 0, "maximum": 100}
    if names:
        named: JsonValue = {"type": "string", "enum": names}
        fields["alternatives"] = {"type": "array", "items": named, "maxItems": len(names)}
    return closed(fields)


def _actions(space: DecisionSpace) -> list[JsonValue]:
    if not space.offered:
        return []
    action: Any = decision_schema(space)["properties"]
    one = action["action"]
    return list(one["anyOf"]) if "anyOf" in one else [one]


def _wishes(request: ProposalRequest) -> list[JsonValue]:
    return [
        closed({"tool": {"type": "string", "enum": [tool.name]}, "arguments": model_schema(tool.arguments)})
        for tool in request.agent.tools
    ]


def _tools(agent: Agent[Any]) -> str:
    if not agent.tools:
        return "There are no tools."
    named = "\n".join(f"- {tool.name}: {tool.title}" for tool in agent.tools)
    return f"Instead of an action you may name a tool with its arguments, to know more first:\n{named}"


def _case(request: ProposalRequest) -> JsonObject:
    situation = request.situation
    return {
        "allowed": {one.name: [*action_words.lines(one)] for one in request.space().offered},
        "documents": [
            {"view": view, "key": key, "document": _dumped(situation.documents[view, key])}
            for view, key in sorted(situation.documents)
        ],
        "event": {"type": situation.event.event_type(), "data": _dumped(situation.event)},
        "memory": [_dumped(fact) for fact in situation.memory.facts],
        "now": situation.now.isoformat(),
        "occurred_at": situation.occurred_at.isoformat() if situation.occurred_at else None,
        "refused": [
            {
                "action": judged.proposal.action.action_name,
                "parameters": _dumped(judged.proposal.action),
                "reasons": [str(reason) for reason in judged.judgement.reasons],
                "verdict": judged.judgement.verdict.value,
            }
            for judged in request.refused
        ],
        "state": _dumped(situation.state),
        "tools": [
            {
                "tool": used.tool,
                "arguments": _dumped(used.arguments),
                "result": _dumped(used.result),
                "failed": used.failed,
            }
            for used in request.tools
        ],
    }


def _dumped(model: Model | None) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json")


def _escaped(mark: re.Match[str]) -> str:
    return f"\\u{ord(mark[0]):04x}"


def sent(request: ProposalRequest, schema: JsonObject, settings: Mapping[str, JsonValue]) -> JsonObject:
    """Everything that is sent beside the messages: the schema that the answer is held to, and the model's settings."""
    name = request.agent.name.replace("-", "_")
    form: JsonObject = {"name": name, "strict": True, "schema": schema}
    return {**settings, "response_format": {"type": "json_schema", "json_schema": form}}

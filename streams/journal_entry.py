"""One entry of the journal of model calls and uses of tools: its key, its bytes, and what it says of a call.

Rules upheld here: an entry has one spelling (parse then print is identity), and every other one is refused; two
workers never write one key; a proposal is read back strictly, as an action of the agent or not at all, and so is what a
tool answered. Members that came later are left out where they hold nothing, so that older entries keep their form.

Specified in `docs/spec/journal.md`. Not here: when entries are written and used (`journal.py`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, ValidationError

from jurat.agents.agent import MAX_TOOL_NAME, Agent
from jurat.agents.kernel import Use
from jurat.agents.proposals import ModelCallForm, SpentForm
from jurat.agents.reasoner import ModelCall, Proposal, RawArguments, Spent, ToolCall, ToolResult
from jurat.agents.tools import failed_result, read_result
from jurat.audit.reasoning import Sha256Hex
from jurat.audit.record import Time
from jurat.schemas import canonical
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import CanonicalError, ProposalInvalid, StreamError
from jurat.schemas.model import FreeJson, Identifier, Model, Percent

MAX_ENTRY_BYTES: Final = 128 * 1024
"""Twice what an audit record takes: a proposal beyond that could not be recorded, and thousands are held at once."""

MAX_MESSAGE: Final = 2_000
"""Characters kept of why there is no proposal: what a rejection in an audit record takes."""

MAX_ALTERNATIVES: Final = 64
MAX_KEY_BYTES: Final = 400
"""More than the longest key: what lies beyond cannot make it one."""

_KEY = re.compile(
    r"call/(?P<topic>[A-Za-z0-9._-]{1,249})"
    r"/(?P<offset>0|[1-9][0-9]{0,15})"
    r"/(?P<attempt>0|[1-9][0-9]{0,3})/(?P<ask>0|[1-9][0-9]{0,3})/(?P<writer>[0-9a-f]{8})"
)


class CallKey(NamedTuple):
    """The key of a call; `writer` is drawn anew each time a partition is opened."""

    topic: str
    offset: int
    attempt: int
    ask: int
    writer: str

    def encode(self) -> bytes:
        """Print the record key."""
        return f"call/{self.topic}/{self.offset}/{self.attempt}/{self.ask}/{self.writer}".encode()


def parse_key(key: bytes) -> CallKey:
    """Read a record key.

    Raises:
        StreamError: not a key of this journal.
    """
    found = _KEY.fullmatch(key[:MAX_KEY_BYTES].decode("ascii", errors="replace"))
    if found is None or int(found["offset"]) > canonical.MAX_INTEGER:
        raise StreamError("got a key that is not call/<topic>/<offset>/<attempt>/<ask>/<writer>")
    return CallKey(
        found["topic"], int(found["offset"]), int(found["attempt"]), int(found["ask"]), found["writer"]
    )


class Kind(StrEnum):
    """What is known of a call."""

    INTENT = "intent"
    PROPOSAL = "proposal"
    NOTHING = "nothing"
    INVALID = "invalid"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    TOOL = "tool"
    USE = "use"
    RESULT = "result"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        """Whether the call was answered, and so is not made again."""
        return self not in (Kind.INTENT, Kind.USE, Kind.UNAVAILABLE)

    @property
    def of_tool(self) -> bool:
        """Whether a tool was asked, not a reasoner."""
        return self in (Kind.USE, Kind.RESULT, Kind.FAILED)

    @property
    def has_tool(self) -> bool:
        """Whether the entry names a tool."""
        return self is Kind.TOOL or self.of_tool

    @property
    def has_message(self) -> bool:
        """Whether the entry says why there is no answer."""
        return self in (Kind.INVALID, Kind.REJECTED, Kind.UNAVAILABLE, Kind.FAILED)


def _nothing(value: object) -> bool:
    return value is None or value == ""


class ProposalEntry(Model):
    """A proposal as it is journalled; the action by its name."""

    action: Identifier
    parameters: FreeJson
    rationale: str
    confidence: Percent | None
    alternatives: Annotated[tuple[Identifier, ...], Field(max_length=MAX_ALTERNATIVES)]
    reasoner: Annotated[str, Field(max_length=200, exclude_if=_nothing)] = ""
    call: Annotated[ModelCallForm | None, Field(exclude_if=_nothing)] = None
    wasted: Annotated[SpentForm | None, Field(exclude_if=_nothing)] = None


class ToolEntry(Model):
    """A tool that a reasoner wishes for, or that is used, with its arguments as JSON."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_TOOL_NAME)]
    arguments: FreeJson
    call: Annotated[ModelCallForm | None, Field(exclude_if=_nothing)] = None
    wasted: Annotated[SpentForm | None, Field(exclude_if=_nothing)] = None


class Entry(Model):
    """What is known of one call.

    Attributes:
        kind: how far it got.
        call_id: the idempotency key that the reasoner was given.
        request: digest of what it was asked.
        event: digest of the input event.
        asked_at: when it was asked.
        answered_at: when it answered, or failed; None in an intent.
        proposal: what it proposed.
        message: why it proposed nothing, or why the tool gave no answer.
        tool: which tool it wishes for, or which is used.
        result: what the tool answered.
        spent: what calls took that gave no usable answer; None where nothing is known to be taken.
    """

    kind: Kind
    call_id: Identifier
    request: Sha256Hex
    event: Sha256Hex
    asked_at: Time
    answered_at: Time | None = None
    proposal: ProposalEntry | None = None
    message: Annotated[str, Field(max_length=MAX_MESSAGE)] | None = None
    tool: Annotated[ToolEntry | None, Field(exclude_if=_nothing)] = None
    result: Annotated[FreeJson | None, Field(exclude_if=_nothing)] = None
    spent: Annotated[SpentForm | None, Field(exclude_if=_nothing)] = None


def answered(intent: Entry, answer: Proposal | ToolCall | None, at: str) -> Entry:
    """What an intent becomes when the reasoner has answered; a wish for a tool is given raw.

    Raises:
        ProposalInvalid: the answer has no canonical form, or breaks a bound.
    """
    if answer is None:
        return intent.model_copy(update={"kind": Kind.NOTHING, "answered_at": at})
    try:
        if isinstance(answer, ToolCall):
            arguments = answer.arguments.model_dump(mode="json")["given"]
            tool = _tool(answer.tool, arguments, answer.call, answer.wasted)
            return intent.model_copy(update={"kind": Kind.TOOL, "answered_at": at, "tool": tool})
        proposal = answer
        said = ProposalEntry(
            action=proposal.action.action_name,
            parameters=proposal.action.model_dump(mode="json"),
            rationale=proposal.rationale,
            confidence=proposal.confidence,
            alternatives=tuple(proposal.alternatives),
            reasoner=proposal.reasoner,
            call=ModelCallForm.of(proposal.call),
            wasted=_spent(proposal.wasted),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ProposalInvalid(f"got a proposal whose {where} is refused: {fault['msg']}") from error
    except CanonicalError as error:
        raise ProposalInvalid(f"got a proposal that cannot be written: {error}") from error
    return intent.model_copy(update={"kind": Kind.PROPOSAL, "answered_at": at, "proposal": said})


def _tool(
    name: str, arguments: canonical.JsonObject, call: ModelCall | None = None, wasted: Spent | None = None
) -> ToolEntry:
    return ToolEntry(name=name, arguments=arguments, call=ModelCallForm.of(call), wasted=_spent(wasted))


def _spent(spent: Spent | None) -> SpentForm | None:
    return SpentForm.of(spent) if spent is not None and spent.calls else None


def use_intent(use: Use, *, call_id: str, event: str, at: str) -> Entry:
    """What is written before a tool is used.

    Raises:
        CanonicalError: the arguments have no canonical form.
    """
    arguments = use.arguments.model_dump(mode="json")
    asked = canonical.digest({"arguments": arguments, "tool": use.tool.name})
    tool = _tool(use.tool.name, arguments)
    return Entry(kind=Kind.USE, call_id=call_id, request=asked, event=event, asked_at=at, tool=tool)


def entry_of_use(intent: Entry, result: ToolResult, at: str) -> Entry:
    """What it becomes when the tool has answered, or failed.

    Raises:
        CanonicalError: the result has no canonical form.
    """
    if result.result is None:
        return failed(intent, Kind.FAILED, result.failed or "", at)
    said = result.result.model_dump(mode="json")
    return intent.model_copy(update={"kind": Kind.RESULT, "answered_at": at, "result": said})


def failed(intent: Entry, kind: Kind, message: str, at: str, *, spent: Spent | None = None) -> Entry:
    """What an intent becomes when there is no answer, or one that is no use."""
    kept = message[:MAX_MESSAGE].encode(errors="replace").decode()  # it may quote what is no Unicode
    return intent.model_copy(
        update={"kind": kind, "answered_at": at, "message": kept, "spent": _spent(spent)}
    )


def print_entry(entry: Entry) -> bytes:
    """Print an entry's one form.

    Raises:
        CanonicalError: it has none.
        StreamError: it is larger than an entry may be.
    """
    value = canonical.dumps(entry.model_dump(mode="json"))
    if len(value) > MAX_ENTRY_BYTES:
        raise StreamError(f"got an entry of {len(value)} bytes, expected at most {MAX_ENTRY_BYTES}")
    return value


def parse_entry(value: bytes) -> Entry:
    """Read an entry, refusing everything that is not printed here.

    Raises:
        StreamError: larger than an entry, another form or field, or it contradicts itself.
    """
    if len(value) > MAX_ENTRY_BYTES:
        raise StreamError(f"got an entry of {len(value)} bytes, expected at most {MAX_ENTRY_BYTES}")
    try:
        entry = Entry.model_validate_json(value)
        printed = canonical.dumps(entry.model_dump(mode="json"))
    except (ValidationError, CanonicalError) as error:
        raise StreamError("got an entry that breaks its schema") from error
    if printed != value:
        raise StreamError("got an entry in another form than the one of docs/spec/journal.md")
    if (
        (entry.kind in (Kind.INTENT, Kind.USE)) != (entry.answered_at is None)
        or (entry.kind is Kind.PROPOSAL) != (entry.proposal is not None)
        or entry.kind.has_tool != (entry.tool is not None)
        or (entry.kind is Kind.RESULT) != (entry.result is not None)
        or entry.kind.has_message != (entry.message is not None)
        or (entry.spent is not None and entry.kind not in (Kind.INVALID, Kind.UNAVAILABLE))
    ):
        raise StreamError(f"got an entry of the kind {entry.kind.value} that has the parts of another")
    return entry


def answer_of(entry: Entry, agent: Agent[Any]) -> Proposal | ToolCall | None:
    """What an answered call gave; None for one that gave nothing.

    Raises:
        ProposalInvalid: action or parameters are none of the agent's.
    """
    if entry.tool is not None:
        asked = entry.tool
        return ToolCall(
            asked.name,
            RawArguments(given=asked.arguments),
            None if asked.call is None else asked.call.call,
            None if asked.wasted is None else asked.wasted.spent,
        )
    said = entry.proposal
    if said is None:
        return None
    model = next((model for model in agent.actions if model.action_name == said.action), None)
    if model is None:
        raise ProposalInvalid(
            f"got a proposal of the action {said.action!r}, expected an action of {agent.name}:"
            f" {', '.join(sorted(model.action_name for model in agent.actions))}"
        )
    try:
        # Through JSON text, as a list is a tuple there while every other type stays strict.
        action = model.model_validate_json(canonical.dumps(said.parameters))
    except ValidationError as error:
        raise ProposalInvalid(
            f"got a proposal whose parameters {said.action} does not have; expected exactly the fields"
            f" {', '.join(model.model_fields)}"
        ) from error
    return Proposal(
        action,
        said.rationale,
        said.confidence,
        said.alternatives,
        said.reasoner,
        None if said.call is None else said.call.call,
        wasted=None if said.wasted is None else said.wasted.spent,
    )


def result_of(entry: Entry, use: Use) -> ToolResult:
    """What a tool answered; a failed result where that is none of the tool's by now."""
    if entry.result is None:
        return failed_result(use.tool.name, use.arguments, entry.message or "")
    return read_result(use.tool, use.arguments, entry.result)


def where_of(key: CallKey, partition: int) -> InputRef:
    """The input that a call was made for."""
    return InputRef(topic=key.topic, partition=partition, offset=key.offset)

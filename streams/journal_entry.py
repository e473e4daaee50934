"""One entry of the journal of model calls: its key, its bytes, and what it says of a call.

Rules upheld here: an entry has one spelling (parse then print is identity), and every other one is refused; two
workers never write one key; a proposal is read back strictly, as an action of the agent or not at all.

Specified in `docs/spec/journal.md`. Not here: when entries are written and used (`journal.py`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, ValidationError

from jurat.agents.agent import Agent
from jurat.agents.reasoner import Proposal
from jurat.audit.record import Sha256Hex, Time
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

    @property
    def finished(self) -> bool:
        """Whether the call was answered, and so is not made again."""
        return self not in (Kind.INTENT, Kind.UNAVAILABLE)

    @property
    def has_message(self) -> bool:
        """Whether the entry says why there is no proposal."""
        return self in (Kind.INVALID, Kind.REJECTED, Kind.UNAVAILABLE)


class ProposalEntry(Model):
    """A proposal as it is journalled; the action by its name."""

    action: Identifier
    parameters: FreeJson
    rationale: str
    confidence: Percent | None
    alternatives: Annotated[tuple[Identifier, ...], Field(max_length=MAX_ALTERNATIVES)]


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
        message: why it proposed nothing.
    """

    kind: Kind
    call_id: Identifier
    request: Sha256Hex
    event: Sha256Hex
    asked_at: Time
    answered_at: Time | None = None
    proposal: ProposalEntry | None = None
    message: Annotated[str, Field(max_length=MAX_MESSAGE)] | None = None


def answered(intent: Entry, proposal: Proposal | None, at: str) -> Entry:
    """What an intent becomes when the reasoner has answered.

    Raises:
        ProposalInvalid: the proposal has no canonical form, or breaks a bound.
    """
    if proposal is None:
        return intent.model_copy(update={"kind": Kind.NOTHING, "answered_at": at})
    try:
        said = ProposalEntry(
            action=proposal.action.action_name,
            parameters=proposal.action.model_dump(mode="json"),
            rationale=proposal.rationale,
            confidence=proposal.confidence,
            alternatives=tuple(proposal.alternatives),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ProposalInvalid(f"got a proposal whose {where} is refused: {fault['msg']}") from error
    except CanonicalError as error:
        raise ProposalInvalid(f"got a proposal that cannot be written: {error}") from error
    return intent.model_copy(update={"kind": Kind.PROPOSAL, "answered_at": at, "proposal": said})


def failed(intent: Entry, kind: Kind, message: str, at: str) -> Entry:
    """What an intent becomes when there is no answer, or one that is no use."""
    kept = message[:MAX_MESSAGE].encode(errors="replace").decode()  # it may quote what is no Unicode
    return intent.model_copy(update={"kind": kind, "answered_at": at, "message": kept})


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
        (entry.kind is Kind.INTENT) != (entry.answered_at is None)
        or (entry.kind is Kind.PROPOSAL) != (entry.proposal is not None)
        or entry.kind.has_message != (entry.message is not None)
    ):
        raise StreamError(f"got an entry of the kind {entry.kind.value} that has the parts of another")
    return entry


def proposal_of(entry: Entry, agent: Agent[Any]) -> Proposal | None:
    """The proposal that an answered call gave; None for one that proposed nothing.

    Raises:
        ProposalInvalid: action or parameters are none of the agent's.
    """
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
    return Proposal(action, said.rationale, said.confidence, said.alternatives)


def where_of(key: CallKey, partition: int) -> InputRef:
    """The input that a call was made for."""
    return InputRef(topic=key.topic, partition=partition, offset=key.offset)

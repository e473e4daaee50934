"""Decisions of one partition that wait for people: state, never futures.

Rules upheld here: everything that deciding again needs is in the changelog, the escalated input included, so that
waiting survives restarts and Kafka's retention; a decision leaves in the transaction that ends it; its time-out is
written once. What waits is bounded, and leaves room for the record that ends it. Not here: what an answer does
(`approving.py`).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from jurat.audit.answered import Approval
from jurat.audit.draft import Draft
from jurat.audit.record import MAX_PAYLOAD_BYTES
from jurat.schemas import canonical
from jurat.schemas.approvals import ApprovalRequested
from jurat.schemas.decision import Decision, InputRef, Verdict
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Count, FreeJson, Identifier, Model, Text, Timestamp
from jurat.streams.kafka import KafkaRecord
from jurat.streams.parking import MAX_ENTRY_BYTES, MAX_HEADERS, MAX_RECORD_BYTES, as_bytes, as_text
from jurat.streams.timers import MAX_DUE, OURS, Due

APPROVAL: Final = "approval/"
"""The prefix of these entries in the changelog."""

TIME_OUT: Final = f"{OURS}approval"
"""The name of the timer that ends a decision which nobody answered."""

MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""What may wait in one partition: held in memory and read at every restart. People answer some hundred a day."""

MAX_GRANTS: Final = 32
"""Grants of one decision; as many as a person has roles."""


ROOM_TO_END: Final = 16 * 1024
"""Bytes that the record of a decision that waits leaves free. The record that ends it says the same and names a second
input, some 5 KiB at most, and where somebody refuses, that answer: 500 characters of reason and two names, signed, take
some 8 KiB at most."""


class KeptInput(Model):
    """The escalated input as it came; bytes in base64."""

    topic: Identifier
    offset: Count
    timestamp_ms: Count
    key: str | None
    value: str | None
    headers: Annotated[tuple[tuple[str, str], ...], Field(max_length=MAX_HEADERS)]

    @classmethod
    def of(cls, record: KafkaRecord) -> KeptInput:
        """Keep a record."""
        return cls(
            topic=record.topic,
            offset=record.offset,
            timestamp_ms=min(max(record.timestamp_ms, 0), canonical.MAX_INTEGER),
            key=as_text(record.key),
            value=as_text(record.value),
            headers=tuple([(name, as_text(value) or "") for name, value in record.headers]),
        )

    def record(self, partition: int) -> KafkaRecord:
        """The record."""
        headers = tuple([(name, as_bytes(value) or b"") for name, value in self.headers])
        return KafkaRecord(
            self.topic,
            partition,
            self.offset,
            self.timestamp_ms,
            as_bytes(self.key),
            as_bytes(self.value),
            headers,
        )


class Waiting(Model):
    """A decision that waits.

    Attributes:
        decision: the escalated decision; its policies, reasons and approvers are those of the latest judgement.
        title: its action in plain words.
        resource_type: what policies judged it on; `resource_id` says which.
        action_sha256: digest of the exact action.
        policy_input: the normalised input of the latest judgement.
        engine: what evaluated it.
        granted: the grants that count, as the record will hold them.
        input: the escalated input.
        due_at: until when an answer counts.
        timed_out: whether its time-out stands on the agent's topic already.
    """

    decision: Decision
    title: Text
    resource_type: Identifier
    resource_id: Identifier
    action_sha256: str
    policy_input: FreeJson
    engine: Identifier
    granted: Annotated[tuple[Approval, ...], Field(max_length=MAX_GRANTS)]
    input: KeptInput
    due_at: Timestamp
    timed_out: bool

    @property
    def event_key(self) -> str:
        """The escalated input's record key."""
        return (as_bytes(self.input.key) or b"").decode(errors="replace")

    def request(self) -> ApprovalRequested:
        """What people are asked."""
        decision = self.decision
        return ApprovalRequested(
            decision_id=decision.id,
            agent=decision.agent,
            subject=decision.subject,
            action=decision.action,
            title=self.title,
            parameters=decision.parameters,
            resource_type=self.resource_type,
            resource_id=self.resource_id,
            policies=decision.policies,
            reasons=decision.reasons,
            roles=decision.approvers,
            granted=tuple([f"{one.role} by {one.approver}" for one in self.granted]),
            rationale=decision.rationale,
            action_sha256=self.action_sha256,
            policy_digest=decision.policy_digest,
            input=decision.input,
            event_key=self.event_key,
            requested_at=decision.decided_at,
            due_at=self.due_at,
        )


@dataclass(frozen=True, slots=True)
class _Held:
    waiting: Waiting
    size: int


class WaitingDecisions:
    """What waits in one partition, by decision id, with the earliest time-out at hand."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, decision_id: str) -> Waiting | None:
        """The decision with this id, if it waits."""
        held = self._held.get(decision_id)
        return held.waiting if held else None

    def check_room(self, record: KafkaRecord) -> None:
        """Refuse an input that cannot wait.

        Raises:
            InputRejected: too much waits already, or the input is too large to be kept.
        """
        if len(self._held) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES:
            raise InputRejected(
                f"policies hand this decision to people, but {len(self._held)} wait for them in this partition, of at"
                f" most {MAX_WAITING} and {MAX_WAITING_BYTES} bytes; answer some, then replay the dead letter"
            )
        if record.size > MAX_RECORD_BYTES or len(record.headers) > MAX_HEADERS:
            raise InputRejected(
                f"policies hand this decision to people, but its input of {record.size} bytes and {len(record.headers)}"
                f" headers is too large to wait, expected at most {MAX_RECORD_BYTES} and {MAX_HEADERS}"
            )

    def put(self, waiting: Waiting) -> bytes:
        """Let a decision wait, or change what waits; returns the changelog's value.

        Raises:
            InputRejected: it is too large to be written.
        """
        if len(waiting.granted) > MAX_GRANTS:
            raise InputRejected(
                f"policies ask more people about this decision, but {len(waiting.granted)} approved it, expected at"
                f" most {MAX_GRANTS} approvals that wait for others; ask fewer roles"
            )
        value = canonical.dumps(waiting.model_dump(mode="json"))
        if len(value) > MAX_ENTRY_BYTES:
            raise InputRejected(
                f"policies hand this decision to people, but it takes {len(value)} bytes to keep, expected at most"
                f" {MAX_ENTRY_BYTES}"
            )
        self._put(waiting, len(value))
        return value

    def end(self, decision_id: str) -> None:
        """A decision waits no more."""
        held = self._held.pop(decision_id, None)
        if held is not None:
            self._bytes -= held.size

    def take_due(self, now: datetime) -> list[Due]:
        """The time-outs that are due, the earliest first, at most `MAX_DUE`; each is given out once."""
        due: list[Due] = []
        while len(due) < MAX_DUE and (at := self.next_due) is not None and at <= now:
            _at, decision_id = heapq.heappop(self._heap)
            waiting = self._held[decision_id].waiting.model_copy(update={"timed_out": True})
            set_by: InputRef = waiting.decision.input
            value = self.put(waiting)
            due.append(Due(waiting.event_key, TIME_OUT, at, set_by, decision_id, value, APPROVAL))
        return due

    @property
    def next_due(self) -> datetime | None:
        """When the earliest time-out is due."""
        while self._heap:
            at, decision_id = self._heap[0]
            held = self._held.get(decision_id)
            if held is not None and not held.waiting.timed_out:
                return at
            heapq.heappop(self._heap)  # it ended, or was given out
        return None

    def restore(self, decision_id: str, value: bytes | None) -> None:
        """Take over an entry of the changelog.

        Raises:
            ValidationError: it is not one of ours.
        """
        self.end(decision_id)
        if value is not None:
            self._put(Waiting.model_validate_json(value), len(value))

    def _put(self, waiting: Waiting, size: int) -> None:
        name = waiting.decision.id
        before = self._held.get(name)
        self.end(name)
        self._held[name] = _Held(waiting, size)
        self._bytes += size
        if not waiting.timed_out and before is None:
            heapq.heappush(self._heap, (waiting.due_at, name))  # `due_at` never changes


def check_end_fits(decision: Decision, made: Draft) -> None:
    """Refuse to let a decision wait whose end would find no room in a record: it would wait for ever.

    Raises:
        InputRejected: its record is too large.
    """
    if decision.verdict is Verdict.ESCALATE and decision.effective and made.room < ROOM_TO_END:
        raise InputRejected(
            f"policies hand this decision to people, but its record leaves {made.room} bytes of {MAX_PAYLOAD_BYTES} for"
            f" their answers, expected at least {ROOM_TO_END}: give the action and its facts fewer or shorter values"
        )

"""What deciding an input comes to: the value that is passed on to be signed, written and committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from jurat.audit.draft import Draft
from jurat.audit.record import Outcome, Rejection
from jurat.schemas.approvals import ApprovalRequested
from jurat.schemas.decision import Decision
from jurat.streams.decoding import Decoded
from jurat.streams.state import Entry


@dataclass(frozen=True, slots=True)
class Asked:
    """What people are asked about a decision from now on; nothing any more where `request` is None."""

    decision_id: str
    request: ApprovalRequested | None


@dataclass(frozen=True, slots=True)
class Verdicted:
    """What is to be committed about one input.

    Attributes:
        decoded: the input.
        at: when it was decided.
        outcome: how it ended.
        draft: the audit record, complete but for its place in the chain.
        decision: the decision event, None where none was made.
        decision_value: the decision event's bytes.
        traceparent: the trace that goes on from here.
        rejection: why it was rejected.
        changelog: what of the state changed.
        asked: what of the requests for approval changed, if anything.
        texts: what is at hand of the texts that a veiled record names, by their digests.
    """

    decoded: Decoded
    at: datetime
    outcome: Outcome
    draft: Draft
    traceparent: str | None
    decision: Decision | None = None
    decision_value: bytes | None = None
    rejection: Rejection | None = None
    changelog: tuple[Entry, ...] = ()
    asked: Asked | None = None
    texts: Mapping[str, bytes] = field(default_factory=dict, repr=False)

"""The approver's side on Kafka: what waits for people, and sending an answer to the agent that asked.

Rules upheld here: the latest record of a request is what is asked now; an answer goes to the partition of the input
that was escalated, so that it reaches the worker that holds the decision. Not here: signing
(`jurat.audit.approval`), what an answer does (`approving.py`).
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.codec import SchemaIds
from jurat.schemas.errors import ConfigurationError
from jurat.streams import topics
from jurat.streams.decoding import decode_record
from jurat.streams.kafka import Connection
from jurat.streams.reading import replay
from jurat.streams.signed_input import send_signed


@dataclass(frozen=True, slots=True)
class Desk:
    """What waits for people, oldest first.

    Attributes:
        requests: by decision id.
        foreign: records of the topic that are no requests.
    """

    requests: dict[str, ApprovalRequested]
    foreign: int

    def request(self, name: str) -> ApprovalRequested:
        """The request about this decision.

        Raises:
            ConfigurationError: nothing is asked about it.
        """
        try:
            return self.requests[name]
        except KeyError:
            raise ConfigurationError(
                f"no approval of {name[:200]} waits: it ended, was never asked for, stands in another namespace,"
                " or that is no id (dec_ and 32 hex digits); see `jurat approvals list`, and `jurat audit show` for"
                " what became of it",
                decision_id=name[:200],
            ) from None


async def waiting(connection: Connection, *, ids: SchemaIds | None = None) -> Desk:
    """Read what waits for people now.

    Raises:
        StreamError: Kafka refused, or there is no such topic yet.
    """
    found: dict[str, ApprovalRequested] = {}
    foreign = 0
    async with aclosing(replay(connection, [connection.topic(topics.APPROVAL_REQUESTS.name)])) as records:
        async for record in records:
            name = (record.key or b"").decode(errors="replace")
            event = None if record.value is None else decode_record(record, ids=ids).event
            if record.value is None:
                found.pop(name, None)
            elif isinstance(event, ApprovalRequested):
                found[name] = event
            else:
                foreign += 1
    ordered = sorted(found.items(), key=lambda one: (one[1].requested_at, one[0]))
    return Desk(dict(ordered), foreign)


async def send(
    connection: Connection,
    request: ApprovalRequested,
    answer: ApprovalAnswered,
    *,
    at: datetime,
    ids: SchemaIds | None = None,
) -> str:
    """Send an answer to the agent that asked.

    Args:
        connection: the cluster and namespace.
        request: what is answered.
        answer: the signed answer.
        at: the present moment.
        ids: a Schema Registry's ids, if one is configured.

    Returns:
        The decision id under which its audit record will stand.

    Raises:
        StreamError: Kafka refused.
    """
    return await send_signed(
        connection,
        answer,
        partition=request.input.partition,
        about=answer.decision_id,
        subject=request.subject,
        at=at,
        ids=ids,
    )

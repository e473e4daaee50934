"""What a partition writes about its inputs: decisions, signed records, dead letters, changelog, timers, requests.

Rules upheld here: a record is signed here and only here, as `seq` and `prev` are known only when it is known what
commits together; the order of the outputs is the order in which the inputs ended. Not here: writing them
(`committing.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from jurat.audit import dsse
from jurat.audit.chain import ChainHead
from jurat.audit.coordinates import chain_name
from jurat.audit.keys import Signing
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import SchemaIds, encode
from jurat.schemas.decision import decision_id
from jurat.streams import topics
from jurat.streams.committing import Output
from jurat.streams.dead_letters import dead_letter
from jurat.streams.evidence import Vault, subject_of
from jurat.streams.kafka import Connection
from jurat.streams.state import Entry
from jurat.streams.timers import Due
from jurat.streams.verdicted import Verdicted


@dataclass(frozen=True, slots=True)
class _Topics:
    """Full names of what an agent writes to; made once, as each record needs one."""

    decisions: str
    audit: str
    dead_letters: str
    state: str
    timers: str
    journal: str
    approvals: str
    evidence: str
    subject_keys: str

    @classmethod
    def of(cls, connection: Connection, agent: str) -> _Topics:
        declared = (
            topics.decisions(agent),
            topics.AUDIT,
            topics.dead_letters(agent),
            topics.state(agent),
            topics.timers(agent),
            topics.journal(agent),
            topics.APPROVAL_REQUESTS,
            topics.EVIDENCE,
            topics.SUBJECT_KEYS,
        )
        return cls(*(connection.topic(topic.name) for topic in declared))


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Writes for one partition number of an agent.

    Attributes:
        connection: the cluster and namespace.
        agent: the agent's name.
        partition: the number.
        signing: who signs the next record.
        cluster_id: the Kafka cluster's id.
        ids: a Schema Registry's ids, if one is configured.
        vault: seals what is personal, of veiled records.
    """

    connection: Connection
    agent: str
    partition: int
    signing: Callable[[], Signing]
    cluster_id: str
    ids: SchemaIds | None
    vault: Vault | None = None
    _topics: _Topics = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_topics", _Topics.of(self.connection, self.agent))

    async def about(self, one: Verdicted, head: ChainHead) -> tuple[list[Output], ChainHead]:
        """Everything that leaves about an input.

        Args:
            one: how it ended.
            head: where its record goes.

        Returns:
            The outputs, and where the next record goes.
        """
        chain = chain_name(self.agent, one.decoded.record.topic, self.partition)
        by = self.signing()
        payload = one.draft.finish(head, by.identity)
        signed = await dsse.sign(payload, by.signer, chain=chain)
        headers = headers_for(
            signed,
            event_id=one.draft.decision_id,
            source=f"/agents/{self.agent}",
            time=one.at,
            subject=chain,
            traceparent=one.traceparent,
        )
        audit = Output(
            self._topics.audit,
            topics.audit_partition(self.partition),
            chain.encode(),
            encode(signed, ids=self.ids),
            headers,
        )
        changed = [self.entry(entry) for entry in one.changelog]
        outputs = [*self._announced(one), audit, *self._sealed(one), *changed, *self._asked(one)]
        return outputs, head.extend(payload)

    def entry(self, entry: Entry) -> Output:
        """A record of the changelog."""
        key, value = entry
        return Output(self._topics.state, self.partition, key.encode(), value)

    def tombstone(self, key: bytes) -> Output:
        """The end of an entry of the journal."""
        return Output(self._topics.journal, self.partition, key, None)

    def fired(self, due: Due, *, input_topic: str, at: datetime) -> list[Output]:
        """A timer that is due: its event, and the state without it."""
        event = due.event(self.agent)
        setter = decision_id(self.agent, due.set_by, cluster_id=self.cluster_id)
        headers = headers_for(
            event, event_id=f"{setter}/{due.name}", source=f"/agents/{self.agent}", time=at, subject=due.key
        )
        return [
            Output(
                self._topics.timers, self.partition, due.key.encode(), encode(event, ids=self.ids), headers
            ),
            self.entry((f"{due.prefix}{input_topic}/{due.entry}", due.value)),
        ]

    def _announced(self, one: Verdicted) -> list[Output]:
        record = one.decoded.record
        if one.decision is not None and one.decision_value is not None:
            headers = headers_for(
                one.decision,
                event_id=one.decision.id,
                source=f"/agents/{self.agent}",
                time=one.at,
                subject=one.decision.subject,
                traceparent=one.traceparent,
            )
            return [
                Output(self._topics.decisions, None, one.decision.key().encode(), one.decision_value, headers)
            ]
        if one.rejection is not None:
            letter = dead_letter(record, error=one.rejection.error, reason=one.rejection.message)
            return [
                Output(self._topics.dead_letters, self.partition, letter.key, letter.value, letter.headers)
            ]
        return []

    def _sealed(self, one: Verdicted) -> list[Output]:
        """The evidence of a veiled record, and the key that opens it."""
        if self.vault is None or not one.draft.disclosures:
            return []
        name = one.draft.decision_id
        subject = subject_of(one.decoded.record.key, name)
        key, evidence = self.vault.seal(name, subject, one.draft.disclosures, one.texts)
        return [
            Output(self._topics.subject_keys, None, key.key, key.value),
            *[Output(self._topics.evidence, None, each.key, each.value) for each in evidence],
        ]

    def _asked(self, one: Verdicted) -> list[Output]:
        asked = one.asked
        if asked is None:
            return []
        key, request = asked.decision_id, asked.request
        if request is None:
            return [Output(self._topics.approvals, None, key.encode(), None)]
        headers = headers_for(
            request,
            event_id=f"{one.draft.decision_id}/request",
            source=f"/agents/{self.agent}",
            time=one.at,
            subject=request.subject,
            traceparent=one.traceparent,
        )
        return [Output(self._topics.approvals, None, key.encode(), encode(request, ids=self.ids), headers)]

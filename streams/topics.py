"""Every topic of jurat, declared: name, partitions, retention, compaction, how many replicas must agree.

Rules upheld here: a topic name is written once, here; names are without namespace (`Connection.topic` adds it); what
proves or decides is never deleted by Kafka. Not here: creating topics (`topic_admin.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from jurat.schemas import commerce, commerce_promises, marketplace, notices, simulation, subscriptions
from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.decision import Decision
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import ConfigurationError, UnknownSchema
from jurat.schemas.forgetting import ForgetRequested
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired

DEFAULT_PARTITIONS: Final = 6
"""Divides evenly among 1, 2, 3 and 6 workers; each costs a worker one transactional producer."""

EVENT_RETENTION: Final = timedelta(days=7)
"""Kafka's own default; the services that publish keep their own truth."""

FOREVER: Final = None
"""No time limit: the log is the evidence."""

DEAD_LETTER_MAX_BYTES: Final = 2 * 1024 * 1024
"""Twice Kafka's default record limit: the original plus the headers that say what was wrong with it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic's declaration.

    Attributes:
        name: without namespace.
        partitions: how many; never changed later, as keys would move.
        retention: how long records stay; None keeps them for ever.
        compacted: keep the latest record of each key only.
        max_record_bytes: the largest record batch; None leaves the broker's limit.
        own: further Kafka settings of this topic.
    """

    name: str
    partitions: int = DEFAULT_PARTITIONS
    retention: timedelta | None = EVENT_RETENTION
    compacted: bool = False
    max_record_bytes: int | None = None
    own: Mapping[str, str] = field(default_factory=dict, hash=False)

    def configs(self, *, replication: int) -> dict[str, str]:
        """The topic's Kafka settings.

        Args:
            replication: replicas of each partition; with three or more, two must have a record before it counts.
        """
        settings = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "min.insync.replicas": "2" if replication > 2 else "1",
        }
        if not self.compacted:
            settings["retention.ms"] = (
                "-1" if self.retention is None else str(self.retention // timedelta(milliseconds=1))
            )
            settings["retention.bytes"] = "-1"
        if self.max_record_bytes is not None:
            settings["max.message.bytes"] = str(self.max_record_bytes)
        return settings | dict(self.own)


ORDERS: Final = Topic("commerce.orders")
PAYMENTS: Final = Topic("commerce.payments")
DELIVERIES: Final = Topic("commerce.deliveries")
AFTER_SALES_REQUESTS: Final = Topic("commerce.after-sales-requests")
CUSTOMERS: Final = Topic("commerce.customers", compacted=True)
PRODUCTS: Final = Topic("commerce.products", compacted=True)
PROMISES: Final = Topic("commerce.promises")
WAREHOUSES: Final = Topic("commerce.warehouses", partitions=1, compacted=True)
NOTICES: Final = Topic("commerce.notices")
DISPUTES: Final = Topic("marketplace.disputes")
SEARCHES: Final = Topic("marketplace.searches")
SELLERS: Final = Topic("marketplace.sellers")
ACCOUNTS: Final = Topic("subscriptions.accounts")
BILLING: Final = Topic("subscriptions.billing")
USAGE: Final = Topic("subscriptions.usage")
CONTEXT_CUSTOMERS: Final = Topic("context.customers", compacted=True)
AUDIT: Final = Topic("audit.decisions", retention=FOREVER)
APPROVAL_REQUESTS: Final = Topic("approvals.requests", compacted=True)
CHECKPOINT_SETTINGS: Final = {
    "segment.bytes": str(16 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "600000",
}
"""Bounds what a notary reads at a restart: of each log only the latest checkpoint lives, beside the open segment."""

CHECKPOINTS: Final = Topic("audit.checkpoints", compacted=True, own=CHECKPOINT_SETTINGS)
CHECKPOINT_HISTORY: Final = Topic("audit.checkpoint-history", retention=FOREVER)
"""The checkpoints of the logs, docs/spec/log.md: those of partition n of the audit topic in partition n of both."""

OF_THE_NOTARY: Final = (CHECKPOINTS, CHECKPOINT_HISTORY)

TRUST: Final = Topic("audit.trust", partitions=1, retention=FOREVER)
"""Roots, credentials, revocations, docs/spec/identity.md. One partition: each statement commits to those before it."""

OF_ALL_AGENTS: Final = (AUDIT, APPROVAL_REQUESTS)
"""Written by every agent, whatever the partitions of its input."""

ERASED_WITHIN_MS: Final = 24 * 60 * 60 * 1000
"""How long Kafka may keep what was erased: after a tombstone, compaction begins within this time."""

EVIDENCE: Final = Topic(
    "audit.evidence",
    compacted=True,
    own={
        "segment.bytes": str(64 * 1024 * 1024),
        "min.cleanable.dirty.ratio": "0.1",
        "max.compaction.lag.ms": str(ERASED_WITHIN_MS),
        "delete.retention.ms": str(ERASED_WITHIN_MS),
    },
)
SUBJECT_KEYS: Final = Topic(
    "audit.subject-keys",
    compacted=True,
    own={
        "segment.bytes": str(16 * 1024 * 1024),
        "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": str(60 * 60 * 1000),
        "delete.retention.ms": str(ERASED_WITHIN_MS),
    },
)
OF_VEILED_RECORDS: Final = (EVIDENCE, SUBJECT_KEYS)
"""Written by agents that veil their records. What is erased is gone once its segment was compacted: keys, which are
small, within some hours, evidence within a day. Why each setting has its value: docs/erasure.md."""

SIMULATED_OUTCOMES: Final = Topic("simulation.outcomes")
CONTEXT_DEAD_LETTERS: Final = Topic(
    "dead-letters.context", retention=FOREVER, max_record_bytes=DEAD_LETTER_MAX_BYTES
)

POLICIES: Final = Topic("policies", partitions=1, compacted=True, max_record_bytes=2 * 1024 * 1024)
"""Bundles and activations, docs/spec/policy-topic.md. One partition: activations have an order. A record holds a whole
bundle, at most `MAX_BUNDLE_BYTES` of `jurat.policies.publication`, in base64."""

PARKED_MAX_BYTES: Final = 2 * 1024 * 1024
"""A parked input stands in the changelog in base64: a third larger than it came."""

JOURNAL_SETTINGS: Final = {
    "segment.bytes": str(4 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "60000",
    "delete.retention.ms": "60000",
}
"""Bounds what is read at a restart: the open segment is never compacted, and nearly all entries end soon. Why each has
its value stands in docs/spec/journal.md."""

STATE_SETTINGS: Final = {
    "segment.bytes": str(16 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "600000",
    "delete.retention.ms": "3600000",
}
"""Bounds what is read at a restart beyond what lives: with Kafka's own settings, 1 GiB a partition or a week of it. Why
each has its value stands in docs/spec/changelog.md."""

_TOPIC_OF_EVENT: Final[dict[type[Event], Topic]] = {
    commerce.AfterSalesRequested: AFTER_SALES_REQUESTS,
    commerce.CustomerProfile: CONTEXT_CUSTOMERS,
    commerce.CustomerRegistered: CUSTOMERS,
    commerce.OrderCancelled: ORDERS,
    commerce.OrderDelivered: DELIVERIES,
    commerce.OrderDispatched: DELIVERIES,
    commerce.OrderPlaced: ORDERS,
    commerce.PaymentCaptured: PAYMENTS,
    commerce.PaymentFailed: PAYMENTS,
    commerce.PaymentRefunded: PAYMENTS,
    commerce.ProductListed: PRODUCTS,
    commerce.WarehouseReported: WAREHOUSES,
    commerce_promises.CapacityReported: PROMISES,
    commerce_promises.DeliveryPromiseRequested: PROMISES,
    commerce_promises.PromiseAnswered: PROMISES,
    marketplace.DisputeOpened: DISPUTES,
    marketplace.SearchPerformed: SEARCHES,
    marketplace.SellerActivityReported: SELLERS,
    marketplace.SettlementAnswered: DISPUTES,
    notices.NoticeAnswered: NOTICES,
    notices.NoticeDue: NOTICES,
    simulation.DisputeOutcome: SIMULATED_OUTCOMES,
    simulation.FulfilmentOutcome: SIMULATED_OUTCOMES,
    simulation.RetryOutcome: SIMULATED_OUTCOMES,
    subscriptions.CancellationRequested: ACCOUNTS,
    subscriptions.CardUpdated: BILLING,
    subscriptions.CareNeedDeclared: BILLING,
    subscriptions.ContactChanged: ACCOUNTS,
    subscriptions.IndustryDeclared: ACCOUNTS,
    subscriptions.OnboardingTicketRaised: ACCOUNTS,
    subscriptions.RenewalApproaching: ACCOUNTS,
    subscriptions.RenewalFailed: BILLING,
    subscriptions.RenewalRecovered: BILLING,
    subscriptions.SuggestionAnswered: USAGE,
    subscriptions.UsageDropped: ACCOUNTS,
    subscriptions.UsageReported: USAGE,
    SignedRecord: AUDIT,
}
TOPIC_OF_EVENT: Final[Mapping[type[Event], Topic]] = MappingProxyType(_TOPIC_OF_EVENT)
"""Where an event of this type is published. A `Decision` goes to its agent's own topic (`decisions`)."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_OWN: Final = ("approvals.", "audit.", "dead-letters.", "decisions.", "journal.", "state.", "timers.")
"""Topics that jurat writes begin so."""


def declare(topic: Topic, events: Iterable[type[Event]]) -> None:
    """Publish events of these types to this topic, from now on in this process.

    Raises:
        ConfigurationError: the name is no topic's or one of jurat's own, the topic is declared otherwise, or a type is
            published elsewhere.
    """
    if not _NAME.fullmatch(topic.name) or topic.name.startswith(_OWN) or topic.name == POLICIES.name:
        raise ConfigurationError(
            f"got the topic {topic.name!r} for events, expected at most 100 letters, digits, `.`, `_` and `-`, and none"
            f" that jurat writes ({POLICIES.name}, {', '.join(f'{start}*' for start in _OWN)})"
        )
    for known in _TOPIC_OF_EVENT.values():
        if known.name == topic.name and known != topic:
            raise ConfigurationError(f"got {topic}, expected it as it is declared already: {known}")
    for event in events:
        held = _TOPIC_OF_EVENT.setdefault(event, topic)
        if held != topic:
            raise ConfigurationError(
                f"got {event.event_type()} on the topic {topic.name}, expected it on {held.name} alone"
            )


def decisions(agent: str) -> Topic:
    """The topic on which an agent's decisions appear."""
    return Topic(f"decisions.{agent}", retention=FOREVER)


def dead_letters(agent: str) -> Topic:
    """The topic that keeps the inputs which an agent could not decide, with their original bytes."""
    return Topic(f"dead-letters.{agent}", retention=FOREVER, max_record_bytes=DEAD_LETTER_MAX_BYTES)


def state(agent: str) -> Topic:
    """The changelog of an agent's keyed state and of its audit chains."""
    return Topic(f"state.{agent}", compacted=True, max_record_bytes=PARKED_MAX_BYTES, own=STATE_SETTINGS)


def timers(agent: str) -> Topic:
    """What an agent reads like its inputs: its timers that fired, answers of approvers, requests to forget."""
    return Topic(f"timers.{agent}", retention=FOREVER)


def journal(agent: str) -> Topic:
    """The journal of an agent's model calls."""
    return Topic(f"journal.{agent}", compacted=True, own=JOURNAL_SETTINGS)


def audit_partition(partition: int) -> int:
    """The partition of the audit log that the records about inputs of a partition with this number go to."""
    return partition % AUDIT.partitions


def of_event(event: type[Event]) -> Topic:
    """The topic for an event type.

    Raises:
        UnknownSchema: events of this type have no topic of their own.
    """
    try:
        return TOPIC_OF_EVENT[event]
    except KeyError:
        written = (ApprovalAnswered, ApprovalRequested, Decision, ForgetRequested, TimerFired)
        hint = "agents write it" if event in written else "it is not published by itself"
        raise UnknownSchema(
            f"got an event of type {event.event_type()}, which has no topic: {hint}"
        ) from None


def of_agent(agent: str) -> tuple[Topic, ...]:
    """Every topic that an agent writes; the first ones are written by all agents."""
    return (
        *OF_ALL_AGENTS,
        decisions(agent),
        dead_letters(agent),
        state(agent),
        timers(agent),
        journal(agent),
    )


def shared() -> tuple[Topic, ...]:
    """Every topic that belongs to no single agent."""
    others = (*OF_ALL_AGENTS, *OF_THE_NOTARY, *OF_VEILED_RECORDS, CONTEXT_DEAD_LETTERS, POLICIES, TRUST)
    return tuple(dict.fromkeys((*TOPIC_OF_EVENT.values(), *others)))

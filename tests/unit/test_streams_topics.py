"""The declared topics: every event has one, names and settings are what services rely on."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from jurat.agents.catalogue import AGENTS
from jurat.cli.topics import declared
from jurat.schemas import catalogue
from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.decision import Decision
from jurat.schemas.errors import UnknownSchema
from jurat.schemas.forgetting import ForgetRequested
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired
from jurat.streams import context, notary_partition, topics
from jurat.streams.connection import RESERVED
from jurat.streams.kafka import Connection, KafkaRecord
from jurat.streams.topics import Topic
from tests.tree import ROOT

BY_NAME = {topic.name: topic for topic in declared()}


@pytest.mark.parametrize("event", catalogue.EVENTS, ids=lambda event: event.__name__)
def test_every_event_has_a_topic_or_is_written_by_agents(event: type[Event]) -> None:
    if event in (ApprovalAnswered, ApprovalRequested, Decision, ForgetRequested, TimerFired):
        with pytest.raises(UnknownSchema, match="agents write it"):
            topics.of_event(event)
    else:
        assert topics.of_event(event) in declared()


def test_an_event_of_somebody_else_has_no_topic() -> None:
    class Foreign(Event):
        namespace = "foreign"
        key_field = "name"

    with pytest.raises(UnknownSchema, match=r"jurat\.foreign\.Foreign"):
        topics.of_event(Foreign)


def test_names_are_unique_and_valid_with_room_for_a_namespace() -> None:
    assert len(BY_NAME) == len(declared())
    for name in BY_NAME:
        # Policies are of no room and no agent: the one topic whose name has one part.
        assert re.fullmatch(r"[a-z-]+\.[a-z-]+|policies", name), name
        assert len(name) <= 64, "a namespace and the dot must fit beside it into the 249 that Kafka takes"


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_an_agents_topics(name: str) -> None:
    agent = AGENTS[name]
    own = {topic.name for topic in topics.of_agent(name)}
    kinds = ("decisions", "dead-letters", "journal", "state", "timers")
    assert own == {"approvals.requests", "audit.decisions", *(f"{kind}.{name}" for kind in kinds)}
    assert own <= set(BY_NAME)
    assert {agent.topic, *(topic for view in agent.views for topic in view.topics)} <= set(BY_NAME)
    # The changelog and the audit chain of an input partition stand in the partition of the same number.
    for written in (
        f"state.{name}",
        f"timers.{name}",
        f"journal.{name}",
        f"dead-letters.{name}",
        "audit.decisions",
    ):
        assert BY_NAME[written].partitions >= BY_NAME[agent.topic].partitions
    for event in agent.listens[agent.topic]:
        assert topics.of_event(event).name == agent.topic


def test_policies_have_an_order_and_room_for_a_whole_bundle() -> None:
    settings = topics.POLICIES.configs(replication=3)
    assert topics.POLICIES in declared()
    assert topics.POLICIES.partitions == 1
    assert (settings["cleanup.policy"], settings["max.message.bytes"]) == ("compact", "2097152")


def test_evidence_is_kept_for_ever_and_state_is_compacted() -> None:
    for name, topic in BY_NAME.items():
        settings = topic.configs(replication=3)
        if name.startswith(("decisions.", "dead-letters.")) or name == "audit.decisions":
            assert settings["cleanup.policy"] == "delete", name
            assert (settings["retention.ms"], settings["retention.bytes"]) == ("-1", "-1"), name
        if name.startswith(("state.", "journal.")) or name in ("approvals.requests", "context.customers"):
            assert settings["cleanup.policy"] == "compact", name
            assert "retention.ms" not in settings, name


def test_settings_follow_the_declaration() -> None:
    plain = Topic("x", retention=timedelta(hours=1))
    assert plain.configs(replication=1) == {
        "cleanup.policy": "delete",
        "min.insync.replicas": "1",
        "retention.ms": "3600000",
        "retention.bytes": "-1",
    }
    assert plain.configs(replication=2)["min.insync.replicas"] == "1", "with two, one may be lost"
    assert plain.configs(replication=3)["min.insync.replicas"] == "2"
    assert topics.dead_letters("x").configs(replication=1)["max.message.bytes"] == str(2 * 1024 * 1024)


def test_a_namespace_prefixes_and_is_taken_off() -> None:
    tenant = Connection("h:1", "a.b")
    assert (tenant.topic("x.y"), tenant.group("g")) == ("a.b.x.y", "a.b.g")
    assert tenant.plain("a.b.x.y") == "x.y"
    assert tenant.plain("other.x.y") == "other.x.y"
    assert Connection("h:1").topic("x.y") == Connection("h:1").plain("x.y") == "x.y"


def test_a_records_size_counts_key_value_and_headers() -> None:
    assert KafkaRecord("t", 0, 0, 0, b"ab", b"cde").size == 5
    assert KafkaRecord("t", 0, 0, 0, b"ab", b"cde", (("\u00e9", b"x"), ("n", b""))).size == 9
    assert KafkaRecord("t", 0, 0, 0, None, None).size == 0


@pytest.mark.parametrize(("kind", "page"), [("state", "changelog.md"), ("journal", "journal.md")])
def test_what_is_read_at_a_restart_is_bounded_by_compaction_that_soon_comes(kind: str, page: str) -> None:
    declared = BY_NAME[f"{kind}.payment-retrier"].configs(replication=3)
    settings = {
        name: declared[name]
        for name in (
            "cleanup.policy",
            "segment.bytes",
            "min.cleanable.dirty.ratio",
            "max.compaction.lag.ms",
            "delete.retention.ms",
        )
    }
    assert int(settings["segment.bytes"]) <= 16 * 2**20
    assert int(settings["max.compaction.lag.ms"]) <= 600_000
    specified = (ROOT / "docs" / "spec" / page).read_text(encoding="utf-8")
    for name, value in settings.items():
        assert re.search(rf"^\| `{re.escape(name)}` \| `?{re.escape(value)}`? \|", specified, re.MULTILINE), (
            name
        )


def test_an_entry_of_the_changelog_fits_a_segment() -> None:
    declared = BY_NAME["state.payment-retrier"].configs(replication=3)
    assert int(declared["max.message.bytes"]) <= int(declared["segment.bytes"])


def test_the_groups_of_jurat_itself_are_no_agents_names() -> None:
    assert {context.GROUP, notary_partition.GROUP} == RESERVED
    assert not set(AGENTS) & RESERVED

"""Comparing and correcting topics against answers laid out as aiokafka's: what an operator made stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.admin import (
    AlterConfigsResponse_v1,
    DescribeConfigsResponse_v0,
    DescribeConfigsResponse_v2,
)
from aiokafka.protocol.metadata import MetadataResponse_v1
from click.testing import CliRunner

from jurat.agents.agent import ContextTable
from jurat.agents.catalogue import AGENTS
from jurat.cli import topics as topics_command
from jurat.cli.main import entry
from jurat.schemas.errors import StreamError, TopicMismatch
from jurat.streams import topic_admin, topics
from jurat.streams.kafka import ConfigResource, Connection, _Admin, describe_topic_partitions
from jurat.streams.topic_admin import Change, ChangeKind, apply_topics, diff_topics, ensure_agent_topics

NOWHERE = Connection("nowhere:1")
ON_TOPIC, ON_BROKER, BY_DEFAULT = 1, 4, 5
AUDIT = topics.AUDIT
NAME = AUDIT.name
ENTRIES = {
    "cleanup.policy": ("delete", BY_DEFAULT),
    "min.insync.replicas": ("1", ON_TOPIC),
    "retention.ms": ("-1", ON_TOPIC),
    "retention.bytes": ("-1", BY_DEFAULT),
    "compression.type": ("zstd", ON_TOPIC),
    "segment.bytes": ("1048576", ON_BROKER),
}


class Cluster:
    """The admin client's seam: one topic on some brokers; it keeps what it is told to alter."""

    def __init__(self) -> None:
        self.brokers = 3
        self.replicas: Sequence[Sequence[int]] = [[1]] * AUDIT.partitions
        self.entries: dict[str, tuple[str | None, int]] = dict(ENTRIES)
        self.old_protocol = False
        self.altered: list[dict[str, str]] = []

    async def list_topics(self) -> list[str]:
        return [NAME]

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [
            {"topic": name, "error_code": 0, "partitions": [{"replicas": held} for held in self.replicas]}
            for name in names
        ]

    async def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [{}] * self.brokers}

    async def describe_configs(self, resources: list[ConfigResource]) -> list[Any]:
        (name,) = (resource.name for resource in resources)
        if self.old_protocol:
            old = [(key, value, False, False, False) for key, (value, _source) in self.entries.items()]
            return [DescribeConfigsResponse_v0(0, [(0, None, 2, name, old)])]
        entries = [
            (key, value, False, source, value is None, []) for key, (value, source) in self.entries.items()
        ]
        return [DescribeConfigsResponse_v2(0, [(0, None, 2, name, entries)])]

    async def alter_configs(self, resources: list[ConfigResource]) -> list[Any]:
        (resource,) = resources
        self.altered.append(dict(resource.configs))
        return [AlterConfigsResponse_v1(0, [(0, None, 2, resource.name)])]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    one = Cluster()

    @asynccontextmanager
    async def client(_connection: Connection) -> AsyncIterator[Cluster]:
        yield one

    monkeypatch.setattr(topic_admin, "admin_client", client)
    return one


async def test_what_an_operator_set_stays_when_a_setting_is_corrected(cluster: Cluster) -> None:
    cluster.brokers = 1
    cluster.entries["retention.ms"] = ("1000", ON_TOPIC)
    found = await apply_topics(NOWHERE, [AUDIT])
    assert found == (Change(ChangeKind.SETTING, NAME, "retention.ms", "1000", "-1"),)
    assert cluster.altered == [
        {"min.insync.replicas": "1", "retention.ms": "-1", "compression.type": "zstd"}
    ], "inherited settings stay inherited"


async def test_replicas_that_must_agree_follow_the_topic_and_not_the_brokers(cluster: Cluster) -> None:
    assert await diff_topics(NOWHERE, [AUDIT]) == (
        Change(ChangeKind.REPLICATION, NAME, "replicas", "1", "3"),
    )
    cluster.replicas = [[1, 2, 3]] * AUDIT.partitions
    cluster.brokers = 1  # two are down: no reason to ask for less
    assert await diff_topics(NOWHERE, [AUDIT]) == (
        Change(ChangeKind.SETTING, NAME, "min.insync.replicas", "1", "2"),
    )
    cluster.replicas = [[1, 2], *[[1, 2, 3]] * (AUDIT.partitions - 1)]
    cluster.brokers = 3
    assert await diff_topics(NOWHERE, [AUDIT]) == (
        Change(ChangeKind.REPLICATION, NAME, "replicas", "2", "3"),
    )


async def test_more_than_three_replicas_are_never_asked_for(cluster: Cluster) -> None:
    cluster.brokers = 5
    cluster.replicas = [[1, 2, 3]] * AUDIT.partitions
    cluster.entries["min.insync.replicas"] = ("2", ON_TOPIC)
    assert await diff_topics(NOWHERE, [AUDIT]) == ()


async def test_few_replicas_are_told_and_left(cluster: Cluster) -> None:
    found = await apply_topics(NOWHERE, [AUDIT])
    assert [change.kind for change in found] == [ChangeKind.REPLICATION]
    assert cluster.altered == []


def test_the_command_says_that_replicas_are_left(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_command, "declared", lambda: (AUDIT,))
    where = ["--bootstrap-servers", "nowhere:1", "--namespace", ""]
    applied = CliRunner().invoke(entry, ["topics", "apply", *where])
    assert applied.exit_code == 0, applied.output
    assert f"left {NAME} with 1 of 3 possible replicas: apply does not change replicas" in applied.output
    compared = CliRunner().invoke(entry, ["topics", "diff", *where])
    assert compared.exit_code == 0, "apply would do nothing about it"
    assert "replication" in compared.output
    cluster.entries["retention.ms"] = ("1000", ON_TOPIC)
    assert CliRunner().invoke(entry, ["topics", "diff", *where]).exit_code == 1


async def test_a_hidden_setting_is_never_lost(cluster: Cluster) -> None:
    cluster.entries["retention.ms"] = ("1000", ON_TOPIC)
    cluster.entries["their.secret"] = (None, ON_TOPIC)
    with pytest.raises(StreamError, match=r"hides the value of their\.secret"):
        await apply_topics(NOWHERE, [AUDIT])
    assert cluster.altered == []


async def test_a_broker_that_does_not_tell_sources_is_refused(cluster: Cluster) -> None:
    cluster.old_protocol = True
    with pytest.raises(StreamError, match="version 0, expected 1"):
        await diff_topics(NOWHERE, [AUDIT])


class Brokers(_Admin):
    """An admin client of three brokers, told which topics each knows; one of them does not answer."""

    def __init__(self, knows: dict[int, set[str]]) -> None:
        super().__init__(NOWHERE)
        self._knows = knows
        self.asked: list[tuple[int | None, list[str]]] = []
        brokers = [(number, "127.0.0.1", number, None) for number in (1, 2, 3)]
        self._client.cluster.update_metadata(MetadataResponse_v1(brokers, 1, []))

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        names = request._topics
        self.asked.append((node_id, names))
        if node_id not in (None, *self._knows):
            raise NodeNotReadyError
        known = self._knows[node_id or 1]
        return MetadataResponse_v1(
            [], 1, [(0 if name in known else 3, name, False, [(0, 0, 1, [1], [1])]) for name in names]
        )


async def test_a_topic_that_one_broker_has_not_heard_of_yet_is_asked_of_the_others() -> None:
    client = Brokers({1: {"old"}, 3: {"old", "new"}})
    assert set(await describe_topic_partitions(client, ["old", "new", "none"])) == {"old", "new"}
    assert client.asked[0] == (None, ["old", "new", "none"])
    assert {node for node, _names in client.asked[1:]} == {1, 2, 3}
    assert ["new", "none"] in (names for _node, names in client.asked[1:])


async def test_what_the_first_broker_knows_costs_one_request() -> None:
    client = Brokers({1: {"old"}})
    assert set(await describe_topic_partitions(client, ["old"])) == {"old"}
    assert len(client.asked) == 1


@pytest.mark.parametrize("partitions", [3, 6])
async def test_nothing_is_created_where_what_is_joined_is_laid_out_otherwise(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    (agent,) = [one for one in AGENTS.values() if any(isinstance(v, ContextTable) for v in one.views)][:1]
    there = {agent.topic: partitions}  # the table's topic is missing yet, and would have six
    created: list[str] = []

    async def found(_client: object, names: Sequence[str]) -> dict[str, int]:
        return {name: there[name] for name in names if name in there}

    async def create(_client: object, _connection: object, missing: Sequence[topics.Topic]) -> None:
        created.extend(topic.name for topic in missing)

    monkeypatch.setattr(topic_admin, "describe_topic_partitions", found)
    monkeypatch.setattr(topic_admin, "_create", create)
    if partitions == topics.DEFAULT_PARTITIONS:
        await ensure_agent_topics(NOWHERE, agent)
        assert f"state.{agent.name}" in created
    else:
        with pytest.raises(TopicMismatch, match="are joined by key with"):
            await ensure_agent_topics(NOWHERE, agent)
        assert created == []

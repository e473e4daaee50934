"""The local broker as people use it: up, status, down, data that stay, crashes, three nodes. A real Kafka."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from jurat.cli.broker import command
from jurat.schemas.errors import BrokerError
from jurat.streams import broker_process, broker_state, local_broker
from tests.broker_fixture import Kafka, Kafka3, skip_without_kafka

pytestmark = pytest.mark.integration

_CLIENT_S = 60
"""A broker that serves answers in milliseconds, one that has lost a leader in seconds."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of its own for a test that uses `up`, and an end to whatever it left running."""
    skip_without_kafka()
    monkeypatch.setenv("JURAT_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("JURAT_BOOTSTRAP_SERVERS", raising=False)
    yield tmp_path
    broker = local_broker.known_broker()
    if broker is not None:
        local_broker.stop(broker, within_s=1.0)


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result.output


def make_topic(bootstrap_servers: str, topic: str, *, replicas: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=replicas)])[topic].result(
        _CLIENT_S
    )


def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all", "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(_CLIENT_S) == 0


def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "reader", "enable.auto.commit": False}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        messages = consumer.consume(count, timeout=_CLIENT_S)
        assert all(message.error() is None for message in messages)
        return [value for message in messages if (value := message.value()) is not None]
    finally:
        consumer.close()


def leader_of(bootstrap_servers: str, topic: str) -> int:
    metadata = AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(topic, timeout=_CLIENT_S)
    leader: int = metadata.topics[topic].partitions[0].leader
    return leader


def test_up_serves_down_stops_and_data_stay(home: Path) -> None:
    run("status", exit_code=1)
    assert "is up at 127.0.0.1:" in run("up", "--port", "0")
    running = local_broker.find_running()
    assert running is not None
    assert running.bootstrap_servers in run("status")
    assert f"is up already at {running.bootstrap_servers}" in run("up")
    with pytest.raises(BrokerError, match="is up already"):
        run("up", "--nodes", "3")

    make_topic(running.bootstrap_servers, "orders")
    produce(running.bootstrap_servers, "orders", [b"one", b"two"])
    assert "its data stay" in run("down")
    assert local_broker.find_running() is None
    with pytest.raises(BrokerError, match="nothing to stop"):
        run("down")

    run("up", "--port", "0")
    again = local_broker.find_running()
    assert again is not None
    assert again.cluster_id == running.cluster_id
    assert consume(again.bootstrap_servers, "orders", 2) == [b"one", b"two"]
    run("down")


def test_a_crash_is_seen_and_mended_by_the_next_up(home: Path) -> None:
    run("up", "--port", "0", "--engine", "java")
    broker = local_broker.find_running()
    assert broker is not None
    make_topic(broker.bootstrap_servers, "orders")
    produce(broker.bootstrap_servers, "orders", [b"kept"])

    os.kill(broker_process.pid_of(broker.nodes[0].handle), signal.SIGKILL)
    run("up", "--port", str(broker.nodes[0].port))  # at once: its threads may still hold its ports
    again = local_broker.find_running()
    assert again is not None
    assert consume(again.bootstrap_servers, "orders", 1) == [b"kept"]

    os.kill(broker_process.pid_of(again.nodes[0].handle), signal.SIGKILL)
    deadline = time.monotonic() + 60
    while local_broker.living_nodes(again):
        assert time.monotonic() < deadline, "it outlives SIGKILL"
        time.sleep(0.05)  # it answers no more a little before its last thread has gone
    assert "is not running" in run("status", exit_code=1)
    assert "Kafka Server started" in run("logs", "-n", "400")


def test_one_folder_is_never_given_to_two_brokers(home: Path) -> None:
    first = local_broker.start(data_dir=home / "data", engine="java")
    try:
        with pytest.raises(BrokerError, match="in use by a broker that runs at"):
            local_broker.start(data_dir=home / "data", engine="java")
        with pytest.raises(BrokerError, match=rf"port {first.nodes[0].port} of 127.0.0.1 is in use"):
            local_broker.start(data_dir=home / "other", port=first.nodes[0].port, engine="java")
        assert local_broker.find_running() is None, "a broker of a test's own is not the user's"
    finally:
        local_broker.stop(first, within_s=1.0)


def test_a_start_that_fails_says_why_and_leaves_nothing(home: Path) -> None:
    with pytest.raises(BrokerError, match=r"could not format node 1(.|\n)*num\.io\.threads"):
        local_broker.start(data_dir=home / "one", engine="java", config={"num.io.threads": "none"})
    unknown = {"authorizer.class.name": "no.such.Authorizer"}
    with pytest.raises(BrokerError, match=r"died at its start(.|\n)*no\.such\.Authorizer(.|\n)*server\.log"):
        local_broker.start(data_dir=home / "two", engine="java", config=unknown)
    tried = broker_state.read(home / "two")
    assert tried is not None
    assert local_broker.living_nodes(tried) == ()


def test_settings_that_the_house_relies_on(kafka: Kafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "message.timeout.ms": 3000})
    failures: list[object] = []
    producer.produce("never-declared", b"x", on_delivery=lambda error, _message: failures.append(error))
    producer.flush(_CLIENT_S)
    assert failures[0] is not None, "a topic that nobody declared must not come into being"
    assert "never-declared" not in admin.list_topics(timeout=_CLIENT_S).topics

    make_topic(kafka.bootstrap_servers, "settings-once")
    with pytest.raises(KafkaException, match="TOPIC_ALREADY_EXISTS"):
        make_topic(kafka.bootstrap_servers, "settings-once")


def test_three_nodes_serve_on_without_the_leader(kafka3: Kafka3) -> None:
    servers = kafka3.bootstrap_servers
    assert len(servers.split(",")) == 3
    make_topic(servers, "replicated", replicas=3)
    produce(servers, "replicated", [b"before"])
    leader = leader_of(servers, "replicated")

    kafka3.kill_node(leader)
    produce(servers, "replicated", [b"during"])
    assert leader_of(servers, "replicated") != leader

    kafka3.start_node(leader)
    assert len(local_broker.living_nodes(kafka3.broker)) == 3
    assert consume(servers, "replicated", 2) == [b"before", b"during"]

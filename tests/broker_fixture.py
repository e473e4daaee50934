"""Real Kafka brokers for integration tests, started when the first test asks and shared by the whole session.

Rules upheld here: never a stand-in; ports are free ones on the loopback interface; the data are thrown away;
a machine without any way to run Kafka skips loudly, a Kafka that does not start fails. The first way that
exists is
taken: the address in JURAT_TEST_BOOTSTRAP_SERVERS (for `kafka` only), a Docker engine (testcontainers for one
node), Java. Tests share the broker: each names its topics and groups in a namespace of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_docker, broker_java, broker_probe, local_broker
from jurat.streams.broker_config import ClusterPlan
from jurat.streams.broker_data import plan_nodes
from jurat.streams.broker_state import HOST
from jurat.streams.local_broker import READY_WITHIN_S, RunningBroker

_THROWN_AWAY_WITHIN_S = 1.0  # the data are deleted, so a clean stop is worth no more
_CLUSTER_ID = "jurat-under-test-kafkA"  # 16 bytes in base64, as Kafka wants it


@dataclass(frozen=True)
class Kafka:
    """One broker, shared by the session."""

    bootstrap_servers: str


class Kafka3:
    """Three brokers, whose nodes a test may stop and start; it leaves them all running."""

    def __init__(self, broker: RunningBroker) -> None:
        self.broker = broker

    @property
    def bootstrap_servers(self) -> str:
        return self.broker.bootstrap_servers

    def stop_node(self, node_id: int) -> None:
        """Stop a node cleanly."""
        local_broker.stop_node(self.broker, node_id)

    def kill_node(self, node_id: int) -> None:
        """End a node as a crash would."""
        local_broker.kill_node(self.broker, node_id)

    def start_node(self, node_id: int) -> None:
        """Start a node again and wait until every node serves."""
        self.broker = local_broker.start_node(self.broker, node_id)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker with one node."""
    given = os.environ.get("JURAT_TEST_BOOTSTRAP_SERVERS")
    if given:
        local_broker.use_given(given)
        yield Kafka(given)
    elif broker_docker.engine_answers(os.environ):
        with _container() as address:
            yield Kafka(address)
    else:
        with _started(tmp_path_factory.mktemp("kafka"), nodes=1) as broker:
            yield Kafka(broker.bootstrap_servers)


@pytest.fixture(scope="session")
def kafka3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka3]:
    """A broker with three nodes, replication factor 3 and min.insync.replicas 2."""
    with _started(tmp_path_factory.mktemp("kafka3"), nodes=3) as broker:
        three = Kafka3(broker)
        yield three
        local_broker.stop(
            three.broker, within_s=_THROWN_AWAY_WITHIN_S
        )  # nodes started again have new handles


def skip_without_kafka() -> None:
    """Skip, and say why, where neither Docker nor Java can run a broker."""
    if broker_docker.engine_answers(os.environ):
        return
    try:
        broker_java.find_java(os.environ)
    except BrokerError as error:
        pytest.skip(f"no real Kafka to be had: {error}")


@contextlib.contextmanager
def _started(folder: Path, *, nodes: int) -> Iterator[RunningBroker]:
    """A broker for the length of a `with`, its data deleted after it."""
    skip_without_kafka()
    broker = local_broker.start(data_dir=folder / "data", nodes=nodes)
    try:
        yield broker
    finally:
        local_broker.stop(broker, within_s=_THROWN_AWAY_WITHIN_S)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _container() -> Iterator[str]:
    """The image and settings of `jurat broker up --engine docker`, in a container that testcontainers reaps."""
    from testcontainers.core.container import DockerContainer

    nodes = plan_nodes(nodes=1, port=0)
    plan = ClusterPlan(cluster_id=_CLUSTER_ID, data_dir=Path("unused"), nodes=nodes)
    port = nodes[0].port
    host_name = broker_docker.container_name(plan.cluster_id, 1)
    container = DockerContainer(broker_docker.image(), hostname=host_name)
    for name, value in broker_docker.container_environment(plan, nodes[0]).items():
        container.with_env(name, value)
    # Its own `with_bind_ports` would publish on every interface; docker takes a pair for one.
    container.ports[str(port)] = cast("int", (HOST, port))
    with container:
        deadline = time.monotonic() + READY_WITHIN_S
        while not broker_probe.live_brokers(HOST, port, within_s=1.0):
            if time.monotonic() > deadline:
                pytest.fail(f"the Kafka container did not serve within {READY_WITHIN_S:.0f} s")
            time.sleep(0.2)
        yield f"{HOST}:{port}"

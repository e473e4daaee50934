"""The settings of a local broker's nodes, as values and as text; no files, no processes.

Rules upheld here: Kafka's own defaults stand unless a comment says why not; every address is on the loopback
interface or inside a container network; the same settings serve Java and Docker. Not here: where they are
written (broker_data, broker_java) or given to a container (broker_docker).

Source: Apache Kafka 4.3 documentation, Broker Configs; Log4j 2 Configuration, RollingFile appender.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jurat.streams.broker_state import HOST, Node, RunningBroker

ALLOWED_NODES = (1, 3)  # one for work, three so that a majority survives the loss of one
MIN_INSYNC = {1: 1, 3: 2}

# Partitions of Kafka's own topics. The defaults (50 each) are made for fleets: on a laptop they cost two
# hundred files and a second or two when the first group and the first transaction begin. The number only has
# to spread coordinators over the nodes.
_INTERNAL_PARTITIONS = 6

# The log cleaner keeps its offset map on the heap; the default of 128 MiB would take a quarter of ours.
_CLEANER_BUFFER_BYTES = 16 * 1024 * 1024

HEAP_MIB = {1: 512, 3: 320}  # a node; three together stay under a gigabyte

_LOG_BYTES = "10MB"
_LOG_FILES = 3


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What is to be started.

    Args:
        nodes: with empty handles: nothing runs yet.
        extra: server settings that win over ours.
    """

    cluster_id: str
    data_dir: Path
    nodes: tuple[Node, ...]
    extra: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, broker: RunningBroker) -> ClusterPlan:
        """The plan by which a broker that is up was started, but for `extra`."""
        return cls(cluster_id=broker.cluster_id, data_dir=broker.data_dir, nodes=broker.nodes)


def new_cluster_id(unique: uuid.UUID) -> str:
    """A cluster id as Kafka's `random-uuid` makes it: 16 bytes, URL-safe base64 without padding.

    A leading dash becomes a letter: it would read as an option on the storage tool's command line.
    """
    text = base64.urlsafe_b64encode(unique.bytes).rstrip(b"=").decode("ascii")
    return "A" + text[1:] if text.startswith("-") else text


def common_settings(node: Node, *, nodes: int) -> dict[str, str]:
    """What a node is told by any engine: all but its addresses and folders."""
    replicas, min_insync = str(nodes), str(MIN_INSYNC[nodes])
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.listener.names": "CONTROLLER",
        # Replication that fits the number of nodes, for new topics and for Kafka's own.
        "default.replication.factor": replicas,
        "min.insync.replicas": min_insync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": str(_INTERNAL_PARTITIONS),
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": min_insync,
        "transaction.state.log.num.partitions": str(_INTERNAL_PARTITIONS),
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": min_insync,
        "share.coordinator.state.topic.num.partitions": "1",
        # A misspelt topic is an error, not a new topic with one partition.
        "auto.create.topics.enable": "false",
        # Whoever reaches the loopback interface may do everything until somebody adds an ACL.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
        "super.users": "User:ANONYMOUS",
        # People and tests wait for these; a fleet would not.
        "group.initial.rebalance.delay.ms": "0",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        # A broker that was killed is let in again when its old session is over: 9 s by default.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        "log.cleaner.backoff.ms": "500",
        "log.retention.check.interval.ms": "1000",
        "log.initial.task.delay.ms": "1000",
        "log.cleaner.dedupe.buffer.size": str(_CLEANER_BUFFER_BYTES),
    }


def host_settings(plan: ClusterPlan, node: Node, *, log_dir: Path) -> dict[str, str]:
    """All settings of a node that runs as a process of this machine."""
    voters = ",".join(f"{other.node_id}@{HOST}:{other.controller_port}" for other in plan.nodes)
    return {
        **common_settings(node, nodes=len(plan.nodes)),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(log_dir),
        **plan.extra,
    }


def properties(settings: Mapping[str, str]) -> str:
    """The settings in Java's properties format."""
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def log4j2(log_file: Path) -> str:
    """A Log4j 2 configuration that writes to one file of bounded size."""
    target = _xml(str(log_file))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR" shutdownHook="disable">
  <Appenders>
    <RollingFile name="file" fileName="{target}" filePattern="{target}.%i">
      <PatternLayout pattern="[%d] %p %m (%c)%n"/>
      <Policies><SizeBasedTriggeringPolicy size="{_LOG_BYTES}"/></Policies>
      <DefaultRolloverStrategy max="{_LOG_FILES}"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="file"/></Root>
    <!-- prints some hundred lines of settings at every start; they stand in server.properties -->
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
  </Loggers>
</Configuration>
"""


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("$", "$$")

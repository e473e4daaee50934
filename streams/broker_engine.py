"""The seam between the local broker and what runs it: a JVM of this machine or a Docker engine.

Rules upheld here: an engine starts, recognises and ends nodes, and nothing else; when to do so, which ports
and which folder are decided by local_broker. Not here: the engines (broker_java, broker_docker).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from jurat.streams.broker_config import ClusterPlan
from jurat.streams.broker_state import EngineName, Node, Progress, RunningBroker


class Engine(Protocol):
    """Runs the nodes of a local broker."""

    @property
    def name(self) -> EngineName:
        """How the user calls it."""

    @property
    def kafka_version(self) -> str:
        """The release of Apache Kafka that it runs."""

    def prepare(self, plan: ClusterPlan, *, progress: Progress) -> None:
        """Get everything that `launch` needs; may take minutes the first time, and is safe to repeat.

        Raises:
            BrokerError: it cannot be had.
        """

    def launch(self, plan: ClusterPlan, node: Node) -> Node:
        """Start one node and return at once, with its handle.

        Raises:
            BrokerError: it cannot be started.
        """

    def relaunch(self, broker: RunningBroker, node: Node) -> Node:
        """Start a node again that was stopped or died, with the settings that it had.

        Raises:
            BrokerError: it cannot be started.
        """

    def is_alive(self, node: Node) -> bool:
        """Tell whether the node's process or container still runs; says nothing of its service."""

    def stop(self, nodes: Sequence[Node], *, within_s: float) -> tuple[Node, ...]:
        """End the nodes, cleanly within that time and by force after it; returns those that needed force."""

    def kill(self, node: Node) -> None:
        """End the node at once, as a crash would."""

    def clean_up(self, broker: RunningBroker) -> None:
        """Remove what the stopped nodes leave behind, but for their data and logs."""

    def last_words(self, plan: ClusterPlan, node: Node, *, lines: int) -> list[str]:
        """The end of the node's log, and of what it printed outside its log."""

    def follow(self, broker: RunningBroker, node: Node, *, lines: int) -> Iterator[str]:
        """The last lines of the node's log, then every new one, until the caller stops."""

"""What is known of a local broker: the value that describes it, and the state file that lets others find it.

Rules upheld here: the state file is written whole or not at all; a file that does not parse is an error that
names it, never a guess; `up` and `down` of one user take turns (a lock file). Not here: whether the broker is
alive (broker_process, broker_probe), how it is started (broker_java, broker_docker).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import platformdirs

from jurat.schemas.errors import BrokerError

EngineName = Literal["docker", "java"]

HOST = "127.0.0.1"
STATE_FORMAT = 1
STATE_FILE = "broker.json"
LOCK_FILE = "broker.lock"


@dataclass(frozen=True, slots=True)
class Node:
    """One broker process (or container), which is also a KRaft controller.

    Args:
        node_id: 1 upwards.
        port: where clients reach it, on the loopback address.
        controller_port: where the other nodes reach its controller.
        handle: how its engine knows it again: `pid:created` for Java, the container's name for Docker.
    """

    node_id: int
    port: int
    controller_port: int
    handle: str


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A local broker that was started: one node or three, with one cluster id."""

    engine: EngineName
    kafka_version: str
    cluster_id: str
    data_dir: Path
    nodes: tuple[Node, ...]

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of every node, joined by commas: what a Kafka client wants."""
        return ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def node(self, node_id: int) -> Node:
        """The node of that id.

        Raises:
            BrokerError: there is no such node.
        """
        for node in self.nodes:
            if node.node_id == node_id:
                return node
        known = ", ".join(str(node.node_id) for node in self.nodes)
        raise BrokerError(f"no node {node_id} in the local broker; its nodes: {known}", node_id=node_id)

    def with_node(self, changed: Node) -> RunningBroker:
        """The same broker, with one node's handle renewed."""
        nodes = tuple(changed if node.node_id == changed.node_id else node for node in self.nodes)
        return RunningBroker(self.engine, self.kafka_version, self.cluster_id, self.data_dir, nodes)


class Progress(Protocol):
    """Where a start that takes a while tells what it does."""

    def say(self, message: str) -> None:
        """One step begins."""

    def downloading(self, name: str, size_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
        """A download begins; the callable takes the number of bytes that came since the last call."""


class SilentProgress:
    """Tells nothing."""

    def say(self, message: str) -> None:
        """Ignore it."""

    @contextlib.contextmanager
    def downloading(self, name: str, size_bytes: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG002
        """Ignore every byte."""
        yield lambda _count: None


def state_dir(environ: Mapping[str, str]) -> Path:
    """The folder of the state file: `JURAT_STATE_DIR`, else the user's state folder."""
    given = environ.get("JURAT_STATE_DIR")
    return Path(given).expanduser() if given else Path(platformdirs.user_state_dir("jurat", appauthor=False))


def cache_dir(environ: Mapping[str, str]) -> Path:
    """The folder of the downloaded jars: `JURAT_CACHE_DIR`, else the user's cache folder."""
    given = environ.get("JURAT_CACHE_DIR")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("jurat", appauthor=False))


def default_data_dir(environ: Mapping[str, str], *, nodes: int) -> Path:
    """Where a broker keeps its data when the user names no folder; one per number of nodes."""
    return state_dir(environ) / f"kafka-{nodes}"


def write(broker: RunningBroker, folder: Path) -> None:
    """Put the broker into the state file of `folder`, whole or not at all.

    Raises:
        BrokerError: the folder cannot be written.
    """
    document = {"format": STATE_FORMAT, **asdict(broker), "data_dir": str(broker.data_dir)}
    path = folder / STATE_FILE
    temporary = folder / f".{STATE_FILE}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise BrokerError(
            f"cannot write the broker's state file {path} ({error.strerror}); name a folder of your own in"
            " JURAT_STATE_DIR",
            path=str(path),
        ) from error


def read(folder: Path) -> RunningBroker | None:
    """The broker of the state file in `folder`, alive or not; None without a file.

    Raises:
        BrokerError: there is a file that this version does not understand.
    """
    path = folder / STATE_FILE
    try:
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokerError(
            f"the broker's state file {path} cannot be read ({error}); if no local broker is up, delete it",
            path=str(path),
        ) from error


def _parsed(document: Mapping[str, Any]) -> RunningBroker:
    if document["format"] != STATE_FORMAT:
        raise ValueError(f"format {document['format']!r} instead of {STATE_FORMAT}")
    if document["engine"] not in ("docker", "java"):
        raise ValueError(f"engine {document['engine']!r}")
    nodes = tuple(
        Node(
            node_id=int(node["node_id"]),
            port=int(node["port"]),
            controller_port=int(node["controller_port"]),
            handle=str(node["handle"]),
        )
        for node in document["nodes"]
    )
    return RunningBroker(
        engine=document["engine"],
        kafka_version=str(document["kafka_version"]),
        cluster_id=str(document["cluster_id"]),
        data_dir=Path(document["data_dir"]),
        nodes=nodes,
    )


def clear(folder: Path) -> None:
    """Forget the broker; nothing happens when none is known."""
    (folder / STATE_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that an `up` and a `down` at the same moment take turns.

    Raises:
        BrokerError: the folder cannot be written.
    """
    import fcntl  # noqa: PLC0415 - POSIX only; the rest of jurat is to load elsewhere too

    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise BrokerError(
            f"cannot write in {folder} ({error.strerror}); name a folder of your own in JURAT_STATE_DIR",
            path=str(folder),
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

"""The data folder of a local broker and the ports it will take: checked before anything is started.

Rules upheld here: a folder is used only when it is empty or was made by `jurat broker`; a folder made for one
number of nodes is not opened with another; too little space and a port that is taken are told before a JVM is
started. Not here: what the nodes are told (broker_config).

Layout: `cluster.json` (cluster id, number of nodes), `broker.json` while a broker runs, and a folder `node-N`
for each node with `data/` (Kafka's own), `server.log` and `output.log`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import socket
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from jurat.schemas.errors import BrokerError
from jurat.streams.broker_config import new_cluster_id
from jurat.streams.broker_state import HOST, Node

CLUSTER_FILE = "cluster.json"

# A broker that just started holds some megabytes; the first topics, two segments' indexes each, some tens
# more. Below this the demo would die in the middle of its run.
MIN_FREE_BYTES = 256 * 1024 * 1024

# Free ports are looked for below the range from which systems give ports to outgoing connections: between the
# look and the start of the broker nobody is handed one of these by chance.
_FREE_PORTS = range(20_000, 30_000)
_PORT_TRIES = 200

_FOLLOW_PAUSE_S = 0.25  # how late a new line of a followed log may show


def node_dir(data_dir: Path, node_id: int) -> Path:
    """The folder of one node."""
    return data_dir / f"node-{node_id}"


def kafka_dir(data_dir: Path, node_id: int) -> Path:
    """The folder that Kafka formats and fills."""
    return node_dir(data_dir, node_id) / "data"


def server_log(data_dir: Path, node_id: int) -> Path:
    """What Kafka logs."""
    return node_dir(data_dir, node_id) / "server.log"


def output_log(data_dir: Path, node_id: int) -> Path:
    """What the process itself prints: the words of a JVM that dies before it can log."""
    return node_dir(data_dir, node_id) / "output.log"


def open_data_dir(data_dir: Path, *, nodes: int) -> str:
    """Make the folder ready for a cluster of that many nodes.

    Returns:
        The cluster id: the folder's own, or a new one for a new folder.

    Raises: BrokerError: not writable, not ours, made for another number of nodes, holds another cluster's
        data, or
            on a disk that is nearly full.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        cluster_id = _cluster_of(data_dir, nodes=nodes)
        for node_id in range(1, nodes + 1):
            kafka_dir(data_dir, node_id).mkdir(parents=True, exist_ok=True)
            _check_formatted_for(data_dir, node_id, cluster_id=cluster_id)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise full_disk(data_dir) from error
        raise BrokerError(
            f"cannot write in the broker's data folder {data_dir} ({error.strerror}); name another with"
            " --data",
            path=str(data_dir),
        ) from error
    check_space(data_dir, needed_bytes=MIN_FREE_BYTES)
    return cluster_id


def _cluster_of(data_dir: Path, *, nodes: int) -> str:
    path = data_dir / CLUSTER_FILE
    if not path.exists():
        strangers = sorted(entry.name for entry in data_dir.iterdir())
        if strangers:
            raise BrokerError(
                f"the folder {data_dir} holds something else (for one, {strangers[0]}); a broker's data"
                " need a"
                " folder that is empty or was made by `jurat broker up`: name another with --data",
                path=str(data_dir),
            )
        cluster_id = new_cluster_id(uuid.uuid4())
        path.write_text(json.dumps({"cluster_id": cluster_id, "nodes": nodes}) + "\n", encoding="utf-8")
        return cluster_id
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        cluster_id, known_nodes = str(document["cluster_id"]), int(document["nodes"])
    except (ValueError, KeyError, TypeError) as error:
        raise BrokerError(
            f"{path} does not name a cluster ({error}); name another folder with --data", path=str(path)
        ) from error
    if known_nodes != nodes:
        raise BrokerError(
            f"the data in {data_dir} are those of a broker with {known_nodes} node(s), not {nodes}: start"
            " it with"
            f" --nodes {known_nodes}, or name another folder with --data",
            path=str(data_dir),
        )
    return cluster_id


def _check_formatted_for(data_dir: Path, node_id: int, *, cluster_id: str) -> None:
    """Kafka would refuse as well, but only in its log and after a JVM's start."""
    found = formatted_cluster(kafka_dir(data_dir, node_id))
    if found is not None and found != cluster_id:
        raise BrokerError(
            f"the data of node {node_id} in {data_dir} belong to another cluster: got {found}, expected"
            f" {cluster_id} (by {CLUSTER_FILE}); name another folder with --data, or put the right one back",
            path=str(data_dir),
        )


def formatted_cluster(folder: Path) -> str | None:
    """The cluster id that Kafka's storage tool wrote into this folder; None when it is not formatted."""
    try:
        lines = (folder / "meta.properties").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip() == "cluster.id":
            return value.strip()
    return None


def check_space(folder: Path, *, needed_bytes: int) -> None:
    """Raise when the disk of `folder` has less free space than is needed."""
    if shutil.disk_usage(folder).free < needed_bytes:
        raise full_disk(folder, needed_bytes=needed_bytes)


def full_disk(folder: Path, *, needed_bytes: int = MIN_FREE_BYTES) -> BrokerError:
    """The error for a disk without room, with the figures of the moment."""
    free_mib = shutil.disk_usage(folder).free // (1024 * 1024) if folder.exists() else 0
    return BrokerError(
        f"the disk of {folder} is full: {free_mib} MiB free, {needed_bytes // (1024 * 1024)} MiB needed;"
        " make room,"
        " or name another folder (--data for the broker's data, JURAT_CACHE_DIR for the jars)",
        path=str(folder),
    )


def plan_nodes(*, nodes: int, port: int) -> tuple[Node, ...]:
    """Choose the ports of a new cluster.

    Args:
        nodes: how many.
        port: the first node's; the others follow it. 0 chooses free ones.

    Raises:
        BrokerError: one of the ports is in use.
    """
    taken: set[int] = set()
    planned = []
    for index in range(nodes):
        client_port = _named_port(port + index) if port else _free_port(taken)
        taken.add(client_port)
        controller_port = _free_port(taken)
        taken.add(controller_port)
        planned.append(Node(index + 1, client_port, controller_port, handle=""))
    return tuple(planned)


def _named_port(port: int) -> int:
    if not _is_free(port):
        raise port_taken(port)
    return port


def port_taken(port: int) -> BrokerError:
    """The error for a port that somebody else holds."""
    return BrokerError(
        f"port {port} of {HOST} is in use: choose another with --port N (--port 0 takes any that is free);"
        " if that"
        f" is a Kafka which you want to use, set JURAT_BOOTSTRAP_SERVERS={HOST}:{port}",
        port=port,
    )


def _free_port(taken: set[int]) -> int:
    for _ in range(_PORT_TRIES):
        port = _FREE_PORTS[secrets.randbelow(len(_FREE_PORTS))]
        if port not in taken and _is_free(port):
            return port
    raise BrokerError(
        f"no free port found between {_FREE_PORTS.start} and {_FREE_PORTS.stop - 1} in {_PORT_TRIES} tries"
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        # Connections of an earlier broker that are still winding down do not make its port taken.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def tail(path: Path, *, lines: int) -> list[str]:
    """The last lines of a text file; none when there is no file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []


def follow(path: Path, *, lines: int) -> Iterator[str]:
    """The last lines of a growing text file, then each new line, for ever; a rolled file is opened anew."""
    position, rest, only_last = 0, b"", True
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            position, rest = 0, b""
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                *whole, rest = (rest + file.read()).split(b"\n")
                position = file.tell()
            for line in whole[-lines:] if only_last else whole:
                yield line.decode("utf-8", errors="replace")
        only_last = False
        time.sleep(_FOLLOW_PAUSE_S)


def keep_only_new_output(path: Path) -> None:
    """Empty the file that the next process will append to, so that its last words are its own."""
    with contextlib.suppress(FileNotFoundError):
        os.truncate(path, 0)

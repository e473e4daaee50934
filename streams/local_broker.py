"""The local broker: a real Apache Kafka for work and tests on one machine.

Rules upheld here: the first way that exists is taken (an address given by the user, a Docker engine, Java);
every wait has a bound; a start that fails leaves nothing running; `up` is safe to repeat; data outlive the
broker; what runs is told by the state file *and* by the processes themselves. Not here: how an engine does it
(broker_java, broker_docker), folders and ports (broker_data), settings (broker_config), and Kafka clients
(kafka).

A start, in numbered steps:

1. choose the engine;
2. open the data folder: its cluster id, room on the disk;
3. choose the ports;
4. prepare: Java and jars, or the image; settings; format what is not formatted;
5. launch the nodes;
6. wait until every node names every node as being in service.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_data, broker_docker, broker_probe, broker_state
from jurat.streams.broker_config import ALLOWED_NODES, ClusterPlan
from jurat.streams.broker_docker import DockerEngine
from jurat.streams.broker_engine import Engine
from jurat.streams.broker_java import JavaEngine
from jurat.streams.broker_service import (
    ENDING_S,
    PROBE_S,
    await_answers_or_ends,
    await_service,
    undone_on_failure,
)
from jurat.streams.broker_state import HOST, EngineName, Node, Progress, RunningBroker, SilentProgress

__all__ = [
    "DEFAULT_PORT",
    "Down",
    "EngineChoice",
    "RunningBroker",
    "Up",
    "down",
    "find_running",
    "follow_log",
    "kill_node",
    "known_broker",
    "living_nodes",
    "start",
    "start_node",
    "stop",
    "stop_node",
    "up",
    "use_given",
]

EngineChoice = Literal["auto", "docker", "java"]

DEFAULT_PORT = 9092
READY_WITHIN_S = 90.0  # one node takes 3 s on two idle cores; a laptop under load, or three nodes, far longer
STOP_WITHIN_S = 15.0  # a clean stop takes half a second; after this SIGKILL, and a recovery at the next start
_GIVEN_ADDRESS_S = 5.0


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` found or made."""

    broker: RunningBroker
    started: bool


@dataclass(frozen=True, slots=True)
class Down:
    """What `down` ended: the broker, whether any of it still ran, and the nodes that needed force."""

    broker: RunningBroker
    was_alive: bool
    forced: tuple[Node, ...]


def find_running(environ: Mapping[str, str] | None = None) -> RunningBroker | None:
    """The local broker of this user, when a node of it lives and answers.

    Raises:
        BrokerError: the state file cannot be read.
    """
    settings = os.environ if environ is None else environ
    broker = broker_state.read(broker_state.state_dir(settings))
    if broker is None:
        return None
    for node in living_nodes(broker, settings):
        if broker_probe.answers(HOST, node.port, within_s=PROBE_S):
            return broker
    return None


def known_broker(environ: Mapping[str, str] | None = None) -> RunningBroker | None:
    """The broker of the state file, alive or not."""
    return broker_state.read(broker_state.state_dir(os.environ if environ is None else environ))


def living_nodes(broker: RunningBroker, environ: Mapping[str, str] | None = None) -> tuple[Node, ...]:
    """The nodes whose process or container runs."""
    engine = _engine(broker.engine, os.environ if environ is None else environ)
    return tuple(node for node in broker.nodes if engine.is_alive(node))


def use_given(bootstrap_servers: str) -> str:
    """Check that something listens at an address given by the user; nothing is started.

    Returns:
        The first `host:port` that accepted a connection.

    Raises:
        BrokerError: the address is malformed, or nothing listens at any of them.
    """
    tried = []
    for address in bootstrap_servers.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not colon or not host or not port.isdigit():
            raise BrokerError(
                f"the bootstrap address {address.strip()!r} is not host:port; expected for example"
                " 127.0.0.1:9092"
            )
        if broker_probe.connects(host.strip("[]"), int(port), within_s=_GIVEN_ADDRESS_S):
            return address.strip()
        tried.append(address.strip())
    raise BrokerError(
        f"no Kafka listens at {', '.join(tried)}, the address given by --bootstrap-servers or"
        " JURAT_BOOTSTRAP_SERVERS: start it, mend the address, or take it away and let `jurat broker up`"
        " start one"
    )


def up(
    *,
    nodes: int | None = None,
    data_dir: Path | None = None,
    port: int | None = None,
    engine: EngineChoice = "auto",
    environ: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Up:
    """Have this user's local broker up, and remember it in the state file.

    Args:
        nodes: 1 or 3; one when nothing is said and none runs yet.
        data_dir: where the data live; by default in the user's state folder.
        port: of the first node; `DEFAULT_PORT` when nothing is said and none runs yet, 0 for any free one.
        engine: what is to run it; `auto` prefers a Docker engine that answers.
        environ: the settings; the process's environment by default.
        progress: where to tell what is being done.

    Raises:
        BrokerError: it cannot be started, or one runs already that is not what was asked for.
    """
    settings = os.environ if environ is None else environ
    teller = progress or SilentProgress()
    folder = broker_state.state_dir(settings)
    with broker_state.locked(folder):
        known = broker_state.read(folder)
        if known is not None:
            await_answers_or_ends(_engine(known.engine, settings), known.nodes, within_s=ENDING_S)
        if known is not None and living_nodes(known, settings):
            _check_wishes(known, nodes=nodes, data_dir=data_dir, port=port)
            mended = _mend(known, settings, teller)
            broker_state.write(mended, folder)
            return Up(mended, started=mended != known)
        if known is not None and data_dir is None and nodes is None and port is None:
            # It died: who says `up` again means this one, with its data.
            data_dir, nodes, port = known.data_dir, len(known.nodes), known.nodes[0].port
        wanted_nodes = 1 if nodes is None else nodes
        broker = start(
            data_dir=data_dir or broker_state.default_data_dir(settings, nodes=wanted_nodes),
            nodes=wanted_nodes,
            port=DEFAULT_PORT if port is None else port,
            engine=engine,
            environ=settings,
            progress=teller,
        )
        with undone_on_failure(_engine(broker.engine, settings), broker.nodes):
            broker_state.write(broker, folder)
        return Up(broker, started=True)


def down(environ: Mapping[str, str] | None = None) -> Down:
    """Stop this user's local broker; its data stay.

    Raises:
        BrokerError: none is known.
    """
    settings = os.environ if environ is None else environ
    folder = broker_state.state_dir(settings)
    with broker_state.locked(folder):
        broker = broker_state.read(folder)
        if broker is None:
            raise BrokerError("no local broker is up: nothing to stop (`jurat broker up` starts one)")
        alive = living_nodes(broker, settings)
        forced = stop(broker, environ=settings)
        broker_state.clear(folder)
        return Down(broker, was_alive=bool(alive), forced=forced)


def start(
    *,
    data_dir: Path,
    nodes: int = 1,
    port: int = 0,
    engine: EngineChoice = "auto",
    config: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    ready_within_s: float = READY_WITHIN_S,
) -> RunningBroker:
    """Start a broker of the caller's own, unknown to `find_running`, and wait until it serves.

    Args:
        data_dir: where the data live; a folder with the data of an earlier start goes on with them.
        nodes: 1 or 3.
        port: of the first node, the others follow; 0 takes free ones.
        engine: what is to run it; `auto` prefers a Docker engine that answers.
        config: server settings that win over ours.
        environ: the settings; the process's environment by default.
        progress: where to tell what is being done.
        ready_within_s: the longest wait for the brokers to serve.

    Raises:
        BrokerError: it cannot be started; nothing of it is left running.
    """
    if nodes not in ALLOWED_NODES:
        raise BrokerError(f"a local broker has 1 or 3 nodes, not {nodes}")
    settings = os.environ if environ is None else environ
    teller = progress or SilentProgress()
    runner = _choose(engine, settings)  # 1
    folder = data_dir.expanduser().absolute()
    _check_unused(folder, settings)  # 2
    cluster_id = broker_data.open_data_dir(folder, nodes=nodes)
    planned = broker_data.plan_nodes(nodes=nodes, port=port)  # 3
    plan = ClusterPlan(cluster_id=cluster_id, data_dir=folder, nodes=planned, extra=config or {})
    runner.prepare(plan, progress=teller)  # 4
    teller.say(f"starting Apache Kafka {runner.kafka_version} ({runner.name}, {nodes} node(s))")
    launched: list[Node] = []
    with undone_on_failure(runner, launched):
        for node in planned:
            launched.append(runner.launch(plan, node))  # 5  # noqa: PERF401 - a failure ends those so far
        broker = RunningBroker(runner.name, runner.kafka_version, cluster_id, folder, tuple(launched))
        broker_state.write(broker, folder)
        await_service(runner, plan, launched, within_s=ready_within_s)  # 6
    return broker


def stop(
    broker: RunningBroker, *, within_s: float = STOP_WITHIN_S, environ: Mapping[str, str] | None = None
) -> tuple[Node, ...]:
    """Stop a broker: cleanly within that time, by force after it.

    Returns:
        The nodes that needed force; Kafka recovers their logs at the next start.
    """
    settings = os.environ if environ is None else environ
    runner = _engine(broker.engine, settings)
    alive = [node for node in broker.nodes if runner.is_alive(node)]
    forced = runner.stop(alive, within_s=within_s) if alive else ()
    runner.clean_up(broker)
    broker_state.clear(broker.data_dir)
    return forced


def stop_node(broker: RunningBroker, node_id: int, *, within_s: float = STOP_WITHIN_S) -> None:
    """Stop one node cleanly: it hands its partitions over first."""
    _engine(broker.engine, os.environ).stop([broker.node(node_id)], within_s=within_s)


def kill_node(broker: RunningBroker, node_id: int) -> None:
    """End one node as a crash would (SIGKILL)."""
    _engine(broker.engine, os.environ).kill(broker.node(node_id))


def start_node(
    broker: RunningBroker,
    node_id: int,
    *,
    within_s: float = READY_WITHIN_S,
    environ: Mapping[str, str] | None = None,
) -> RunningBroker:
    """Start a node again that was stopped or killed, on its port and data, and wait until all nodes serve.

    Returns:
        The broker with the node's new handle.
    """
    runner = _engine(broker.engine, os.environ if environ is None else environ)
    again = runner.relaunch(broker, broker.node(node_id))
    with undone_on_failure(runner, [again]):
        renewed = broker.with_node(again)
        others = [node for node in renewed.nodes if node.node_id == node_id or runner.is_alive(node)]
        broker_state.write(renewed, renewed.data_dir)
        await_service(runner, ClusterPlan.of(renewed), others, within_s=within_s)
    return renewed


def follow_log(
    broker: RunningBroker, *, node_id: int, lines: int, environ: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The last lines of a node's log, then each new one for as long as the caller asks."""
    runner = _engine(broker.engine, os.environ if environ is None else environ)
    return runner.follow(broker, broker.node(node_id), lines=lines)


def last_log(
    broker: RunningBroker, *, node_id: int, lines: int, environ: Mapping[str, str] | None = None
) -> list[str]:
    """The last lines of a node's log, whether it runs or not."""
    runner = _engine(broker.engine, os.environ if environ is None else environ)
    return runner.last_words(ClusterPlan.of(broker), broker.node(node_id), lines=lines)[-lines:]


def _engine(name: EngineName, environ: Mapping[str, str]) -> Engine:
    return DockerEngine(environ) if name == "docker" else JavaEngine(environ)


def _choose(choice: EngineChoice, environ: Mapping[str, str]) -> Engine:
    if choice == "java":
        return JavaEngine(environ)
    if broker_docker.engine_answers(environ):
        return DockerEngine(environ)
    if choice == "docker":
        raise BrokerError(
            "no Docker engine answers (`docker version` shows no server): start it, or use --engine java"
        )
    return JavaEngine(environ)


def _check_unused(data_dir: Path, environ: Mapping[str, str]) -> None:
    """Refuse a folder in use: two brokers destroy it, and Kafka looks at its own lock too late."""
    other = broker_state.read(data_dir)
    if other is not None and living_nodes(other, environ):
        raise BrokerError(
            f"the data folder {data_dir} is in use by a broker that runs at {other.bootstrap_servers}: use"
            " that"
            " one, stop it first, or name another folder with --data",
            path=str(data_dir),
            bootstrap_servers=other.bootstrap_servers,
        )


def _check_wishes(
    known: RunningBroker, *, nodes: int | None, data_dir: Path | None, port: int | None
) -> None:
    """A broker that is up satisfies the call, unless the caller asked for another one."""
    differs = []
    if nodes is not None and nodes != len(known.nodes):
        differs.append(f"{len(known.nodes)} node(s), not {nodes}")
    if data_dir is not None and data_dir.expanduser().absolute() != known.data_dir:
        differs.append(f"its data in {known.data_dir}, not {data_dir}")
    if port and port != known.nodes[0].port:
        differs.append(f"port {known.nodes[0].port}, not {port}")
    if differs:
        raise BrokerError(
            f"a local broker is up already at {known.bootstrap_servers}, with {' and '.join(differs)}:"
            " stop it"
            " first with `jurat broker down`",
            bootstrap_servers=known.bootstrap_servers,
        )


def _mend(known: RunningBroker, environ: Mapping[str, str], teller: Progress) -> RunningBroker:
    """Start the nodes that died while others lived on."""
    runner = _engine(known.engine, environ)
    mended, restarted = known, []
    for node in known.nodes:
        if not runner.is_alive(node):
            teller.say(f"starting node {node.node_id} again, which had died")
            again = runner.relaunch(known, node)
            restarted.append(again)
            mended = mended.with_node(again)
    with undone_on_failure(runner, restarted):
        broker_state.write(mended, mended.data_dir)
        await_service(runner, ClusterPlan.of(mended), mended.nodes, within_s=READY_WITHIN_S)
    return mended

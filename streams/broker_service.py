"""Wait until a broker serves; tell why when it does not; leave nothing behind then.

Rules upheld here: the wait ends with the service, with a death or with its time; an error carries the
broker's last words and, where they are known, their meaning. Not here: launching and ending (the engines).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_data, broker_probe
from jurat.streams.broker_config import ClusterPlan
from jurat.streams.broker_engine import Engine
from jurat.streams.broker_state import HOST, Node

PROBE_S = 1.0  # a broker on this machine answers in milliseconds
ENDING_S = 30.0  # a process that ends is gone in a second; a machine under load gives it little of its time
_POLL_S = 0.1
_READ_LINES = 400  # of the log, to find what a start said: one that fails says less
_SHOWN_LINES = 12  # of them in an error
_FIRST_WORDS = "Log4jController MBean"  # of every start

# What Kafka says when it dies, and what that means to the user.
_CAUSES = (
    ("No space left on device", "the disk is full: make room, or name another folder with --data"),
    ("Address already in use", "a port was taken in the meantime: try again, or choose another with --port"),
    ("Failed to acquire lock on file", "another broker is using this data folder: name another with --data"),
    ("OutOfMemoryError", "the JVM found too little memory: close something, or use --nodes 1"),
    ("Could not reserve enough space", "the JVM found too little memory: close something, or use --nodes 1"),
    ("InconsistentClusterIdException", "the data belong to another cluster: name another folder with --data"),
)


def await_answers_or_ends(engine: Engine, nodes: Sequence[Node], *, within_s: float) -> None:
    """Wait until each of the nodes answers or has ended: one that is ending runs still, and holds its ports.

    One that does neither in that time is left to `await_service`, which says so.
    """
    deadline = time.monotonic() + within_s
    while any(
        engine.is_alive(node) and not broker_probe.answers(HOST, node.port, within_s=PROBE_S)
        for node in nodes
    ):
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_S)


def await_service(engine: Engine, plan: ClusterPlan, nodes: Sequence[Node], *, within_s: float) -> None:
    """Wait until each of the nodes knows all of them to be in service.

    Raises:
        BrokerError: one of them died, or the time is over.
    """
    expected = frozenset(node.node_id for node in nodes)
    deadline = time.monotonic() + within_s
    while True:
        for node in nodes:
            if not engine.is_alive(node):
                raise _died(engine, plan, node)
        waiting = [
            node
            for node in nodes
            if not expected <= broker_probe.live_brokers(HOST, node.port, within_s=PROBE_S)
        ]
        if not waiting:
            return
        if time.monotonic() > deadline:
            words = _shown(_of_last_start(engine.last_words(plan, waiting[0], lines=_READ_LINES)))
            raise BrokerError(
                f"node {waiting[0].node_id} of the local broker runs but did not serve within"
                f" {within_s:.0f} s; its"
                f" last words:\n{words}",
                node_id=waiting[0].node_id,
            )
        time.sleep(_POLL_S)


def _died(engine: Engine, plan: ClusterPlan, node: Node) -> BrokerError:
    lines = _of_last_start(engine.last_words(plan, node, lines=_READ_LINES))
    text = "\n".join(lines)
    cause = next((meaning for sign, meaning in _CAUSES if sign in text), "see its words")
    return BrokerError(
        f"node {node.node_id} of the local broker died at its start: {cause}\n{_shown(lines)}\n"
        f"the whole log: {broker_data.server_log(plan.data_dir, node.node_id)}",
        node_id=node.node_id,
    )


def _of_last_start(lines: list[str]) -> list[str]:
    """The lines since the last start; all of them when its beginning is not among them."""
    begins = [number for number, line in enumerate(lines) if _FIRST_WORDS in line]
    return lines[begins[-1] :] if begins else lines


def _shown(lines: list[str]) -> str:
    """What an error shows: from the first complaint on, else the end."""
    first = next(
        (number for number, line in enumerate(lines) if " ERROR " in line or " FATAL " in line), None
    )
    shown = lines[-_SHOWN_LINES:] if first is None else lines[first : first + _SHOWN_LINES]
    return "\n".join(f"  {line[:300]}" for line in shown)


@contextlib.contextmanager
def undone_on_failure(engine: Engine, launched: Sequence[Node]) -> Iterator[None]:
    """End what was launched when what follows fails, an interrupt included."""
    try:
        yield
    except BaseException:
        for node in launched:
            engine.kill(node)
        raise

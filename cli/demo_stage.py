"""What the demo stands on: Kafka, a folder of its own, keys, child processes; and the end of all of them.

Rules upheld here: what the user has is used but not changed (keys, settings, a broker that is up); whatever was
started is ended, on success, on failure and on Ctrl-C, each within a bound; a child that ends by itself is a
failure that shows the child's own words. Not here: what is played on the stage (`demo_live`).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import click
from rich.console import Console

from jurat import settings
from jurat.agents.catalogue import SHIPPED
from jurat.audit.key_store import init_keys
from jurat.cli.broker import Teller
from jurat.schemas.errors import JuratError, StreamError
from jurat.streams import local_broker, topics
from jurat.streams.kafka import Connection, admin_client
from jurat.streams.local_broker import RunningBroker
from jurat.streams.simulator import EVENT_TYPES
from jurat.streams.topics import Topic

AGENT_NAMES: Final = ("fulfilment-router", "payment-retrier", "dispute-mediator")
JURAT: Final = (sys.executable, "-P", "-c", "from jurat.cli.main import main; main()")
"""The command line of this very installation, whatever stands on PATH or in the working directory."""

CHILD_STOPS_WITHIN_S: Final = 15.0
"""A worker closes six partitions in a second or two; after this it is killed."""

BROKER_STOPS_WITHIN_S: Final = 2.0
"""Its data are deleted next, so that a clean stop is worth no more."""

_SHOWN_LINES: Final = 15
_ENDING: Final = tuple(
    number for number in (signal.SIGTERM, getattr(signal, "SIGHUP", None)) if number is not None
)


class Children:
    """Child processes that run until they are stopped; what they print goes to files in a folder."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._logs = folder / "logs"
        self._logs.mkdir()
        # Keys of the demo have no passphrase, its people are made up, and what Faust keeps in the state folder goes
        # with the demo.
        left_out = (settings.KEYS_PASSPHRASE, settings.SUBJECT_KEYS)
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        self._environ = {**kept, "JURAT_STATE_DIR": str(folder / "state"), "PYTHONUNBUFFERED": "1"}
        self._where = (
            "--bootstrap-servers",
            connection.bootstrap_servers,
            "--namespace",
            connection.namespace,
        )
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *words: str) -> None:
        """Start `jurat WORDS...` on the stage's Kafka."""
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [*JURAT, *words, *self._where],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
            )

    def check(self) -> None:
        """Look whether all of them run.

        Raises:
            StreamError: one has ended, which none does by itself.
        """
        for name, child in self._running.items():
            if child.poll() is not None:
                raise self._failed(name, f"ended by itself with exit code {child.returncode}")

    def stop(self) -> None:
        """Stop all of them cleanly.

        Raises:
            StreamError: one did not end in time, or not well.
        """
        self.check()
        late = self._end()
        for name, child in self._running.items():
            if name in late:
                raise self._failed(name, f"did not stop within {CHILD_STOPS_WITHIN_S:.0f} s and was killed")
            if child.returncode != 0:
                raise self._failed(name, f"did not stop cleanly: exit code {child.returncode}")
        self._running.clear()

    def end(self) -> None:
        """End what still runs, whatever becomes of it."""
        self._end()

    def _end(self) -> set[str]:
        for child in self._running.values():
            child.terminate()
        deadline = time.monotonic() + CHILD_STOPS_WITHIN_S
        late = set()
        for name, child in self._running.items():
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                late.add(name)
                child.kill()
                child.wait()
        return late

    def _failed(self, name: str, how: str) -> StreamError:
        lines = self._log(name).read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        words = "\n".join(f"  {line[:300]}" for line in lines) or "  (it said nothing)"
        return StreamError(f"{name} {how}; its last words:\n{words}", child=name)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


@dataclass(frozen=True, slots=True)
class Stage:
    """What was set up.

    Attributes:
        connection: the cluster, and a namespace that nobody used before.
        folder: a temporary folder; keys, exports and the children's words are in it.
        broker: the broker that was started for the demo, None where one was there.
        children: the processes on this stage.
    """

    connection: Connection
    folder: Path
    broker: RunningBroker | None
    children: Children

    @property
    def keys(self) -> Path:
        """The folder of the demo's own keys."""
        return self.folder / "keys"


@contextmanager
def stage_of_our_own(say: Callable[[str], None], *, keep: bool) -> Iterator[Stage]:
    """Set the stage, and clear it away at the end.

    Args:
        say: tells a line.
        keep: leave the folder, the broker that was started, and the topics.

    Raises:
        BrokerError: no Kafka to be had.
        ConfigurationError: a setting that says where Kafka is does not make sense.
    """
    with _ended_alike(), ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="jurat-demo-"))
        if not keep:
            stack.callback(_remove, folder)
        connection, broker = _reach_kafka(stack, folder, say, keep=keep)
        init_keys(folder / "keys", AGENT_NAMES)
        children = Children(connection, folder)
        stack.callback(children.end)
        # Entered last, so left first: a second Ctrl-C must not stop the clearing away, which is bounded.
        stack.callback(_ignore_interrupts)
        yield Stage(connection, folder, broker, children)


def needed_topics() -> tuple[Topic, ...]:
    """The topics that the demo uses, but for those that the context stream makes for itself."""
    events = [topics.of_event(event) for event in EVENT_TYPES]
    written = [topic for name in AGENT_NAMES for topic in topics.of_agent(SHIPPED[name].name)]
    read = (topics.CONTEXT_CUSTOMERS, topics.CONTEXT_DEAD_LETTERS)
    return tuple(dict.fromkeys((*events, *written, *read)))


def _reach_kafka(
    stack: ExitStack, folder: Path, say: Callable[[str], None], *, keep: bool
) -> tuple[Connection, RunningBroker | None]:
    given = os.environ.get(settings.BOOTSTRAP_SERVERS)
    outer = os.environ.get(settings.NAMESPACE)
    own = f"demo-{secrets.token_hex(3)}"
    namespace = f"{outer}.{own}" if outer else own
    if given:
        local_broker.use_given(given)
        connection = settings.connection(namespace=namespace)
        say(f"using the Kafka at {given}, as {settings.BOOTSTRAP_SERVERS} says")
    elif (running := local_broker.find_running()) is not None:
        connection = settings.connection(bootstrap_servers=running.bootstrap_servers, namespace=namespace)
        say(f"using the local Kafka that is up at {running.bootstrap_servers}")
    else:
        connection, broker = _start_kafka(stack, folder, namespace, keep=keep)
        say(f"Apache Kafka {broker.kafka_version} is up at {broker.bootstrap_servers} ({broker.engine})")
        return connection, broker
    if not keep:
        stack.callback(_delete_topics, connection)
    return connection, None


def _start_kafka(
    stack: ExitStack, folder: Path, namespace: str, *, keep: bool
) -> tuple[Connection, RunningBroker]:
    broker = local_broker.start(data_dir=folder / "kafka", port=0, progress=Teller(Console(stderr=True)))
    if not keep:
        stack.callback(local_broker.stop, broker, within_s=BROKER_STOPS_WITHIN_S)
    return settings.connection(bootstrap_servers=broker.bootstrap_servers, namespace=namespace), broker


@contextmanager
def _ended_alike() -> Iterator[None]:
    """SIGTERM and a terminal that is closed end the demo as Ctrl-C does, so that it can clear away."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    # A shell that starts a command in the background may have SIGINT ignored.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    before |= {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_interrupts() -> None:
    for number in (signal.SIGINT, *_ENDING):
        signal.signal(number, signal.SIG_IGN)


def _remove(folder: Path) -> None:
    left: list[str] = []

    def note(_function: Callable[..., object], path: str, _error: object) -> None:
        left.append(path)

    shutil.rmtree(folder, onerror=note)
    if folder.exists():
        click.echo(f"jurat: {folder} could not be removed ({left[0] if left else ''}): remove it", err=True)


def _delete_topics(connection: Connection) -> None:
    """Take the demo's topics away from a Kafka that is not ours; their namespace was never used before."""
    try:
        asyncio.run(_delete_all(connection))
    except JuratError as error:
        click.echo(f"jurat: the topics {connection.namespace}.* stay in Kafka: {error}", err=True)


async def _delete_all(connection: Connection) -> None:
    async with admin_client(connection) as client:
        mine = [name for name in await client.list_topics() if name.startswith(f"{connection.namespace}.")]
        if mine:
            await client.delete_topics(mine)

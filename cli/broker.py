"""`jurat broker`: a local Apache Kafka for work and tests.

Rules upheld here: this module only asks and tells; what is done stands in jurat.streams.local_broker. The
errors are jurat's own and are shown by the entry point.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_data, local_broker
from jurat.streams.broker_process import uptime_s
from jurat.streams.local_broker import EngineChoice, RunningBroker

_DEFAULT_LINES = 40


class Teller:
    """Tells the steps of a start on standard error, and draws a bar for a download."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, message: str) -> None:
        """Tell a step."""
        self._console.print(f"{message} ...", markup=False, emoji=False, highlight=False)

    @contextlib.contextmanager
    def downloading(self, name: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
        """Draw a bar for the length of a download."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(name, total=size_bytes)
            yield lambda count: bar.advance(task, count)


@click.group("broker")
def command() -> None:
    """A local Apache Kafka: start, stop, look."""


@command.command(short_help="Start the broker and wait until it serves.")
@click.option("--nodes", type=click.Choice(["1", "3"]), help="How many brokers; one unless told.")
@click.option(
    "--data", "data_dir", type=click.Path(path_type=Path, file_okay=False), help="The folder of the data."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"The (first) broker's port; {local_broker.DEFAULT_PORT} unless told, 0 for any that is free.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "java"]),
    default="auto",
    help="What runs it; auto takes a Docker engine that answers, else Java.",
)
@click.option(
    "--bootstrap-servers",
    envvar="JURAT_BOOTSTRAP_SERVERS",
    metavar="HOST:PORT,...",
    help="A Kafka of your own: it is used, and nothing is started.",
)
def up(
    nodes: str | None,
    data_dir: Path | None,
    port: int | None,
    engine: EngineChoice,
    bootstrap_servers: str | None,
) -> None:
    """Start the broker and wait until it serves; does nothing when it is up.

    The first of these is used: the address given by --bootstrap-servers or JURAT_BOOTSTRAP_SERVERS, a Docker
    engine, Java.
    """
    if bootstrap_servers:
        reached = local_broker.use_given(bootstrap_servers)
        click.echo(
            f"using the Kafka at {bootstrap_servers}, as told ({reached} answers); nothing was started"
        )
        return
    begun_s = time.monotonic()
    result = local_broker.up(
        nodes=int(nodes) if nodes else None,
        data_dir=data_dir,
        port=port,
        engine=engine,
        progress=Teller(Console(stderr=True)),
    )
    broker = result.broker
    if not result.started:
        click.echo(f"Apache Kafka {broker.kafka_version} is up already at {broker.bootstrap_servers}")
        return
    click.echo(
        f"Apache Kafka {broker.kafka_version} is up at {broker.bootstrap_servers}"
        f" ({broker.engine}, {time.monotonic() - begun_s:.1f} s); its data are in {broker.data_dir}"
    )


@command.command()
def down() -> None:
    """Stop the broker; its data stay."""
    result = local_broker.down()
    broker = result.broker
    if not result.was_alive:
        click.echo(f"the broker at {broker.bootstrap_servers} had died; its data are in {broker.data_dir}")
        return
    click.echo(f"stopped the broker at {broker.bootstrap_servers}; its data stay in {broker.data_dir}")
    if result.forced:
        names = ", ".join(str(node.node_id) for node in result.forced)
        click.echo(
            f"node(s) {names} did not stop within {local_broker.STOP_WITHIN_S:.0f} s and were killed; the"
            " next"
            " start recovers their logs",
            err=True,
        )


@command.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Tell what runs; the exit code is 1 when nothing does."""
    broker = local_broker.known_broker()
    if broker is None:
        click.echo("no local broker is up (`jurat broker up` starts one)")
        context.exit(1)
    serves = local_broker.find_running() is not None
    Console().print(_status_table(broker, serves=serves), highlight=False)
    context.exit(0 if serves else 1)


@command.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until interrupted.")
@click.option("-n", "--lines", type=click.IntRange(1), default=_DEFAULT_LINES, show_default=True)
@click.option("--node", "node_id", type=click.IntRange(1), default=1, show_default=True)
def logs(*, follow: bool, lines: int, node_id: int) -> None:
    """Show the end of a broker's log."""
    broker = local_broker.known_broker()
    if broker is None:
        raise BrokerError("no local broker is up, so there is no log to show; `jurat broker up` starts one")
    if not follow:
        for line in local_broker.last_log(broker, node_id=node_id, lines=lines):
            click.echo(line)
        return
    with contextlib.suppress(KeyboardInterrupt):
        for line in local_broker.follow_log(broker, node_id=node_id, lines=lines):
            click.echo(line)


def _status_table(broker: RunningBroker, *, serves: bool) -> Table:
    table = Table(show_header=False, box=None)
    alive = {node.node_id for node in local_broker.living_nodes(broker)}
    rows = [
        ("Apache Kafka", f"{broker.kafka_version}, run by {broker.engine}"),
        (
            "serves",
            "yes"
            if serves
            else "no: no node answers (`jurat broker logs` shows why, `jurat broker up` starts it again)",
        ),
        ("bootstrap servers", broker.bootstrap_servers),
        ("cluster id", broker.cluster_id),
        ("data", str(broker.data_dir)),
    ]
    for node in broker.nodes:
        state = "runs" if node.node_id in alive else "is not running"
        if broker.engine == "java" and node.node_id in alive:
            age = timedelta(seconds=int(uptime_s(node.handle, now_s=time.time())))
            state += f", pid {node.handle.partition(':')[0]}, up {age}"
        rows.append((f"node {node.node_id}", f"port {node.port}, {state}"))
        if broker.engine == "java":
            rows.append(("", f"log {broker_data.server_log(broker.data_dir, node.node_id)}"))
    for name, value in rows:
        table.add_row(name, Text(value))
    return table

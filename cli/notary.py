"""`jurat notary`: sign the audit logs, and hand out what was signed.

Rules upheld here: a key is made by `init` alone, so that a notary that lost its own begins no other log unnoticed; half
a file never stands under its name. Not here: what is signed (`jurat.audit.notary`), how (`jurat.streams.notary`).
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from jurat import settings
from jurat.audit import checkpoint, history, note, tiles, tlog_policy
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.log_key_store import init_log_key, load_log_key, log_key_path
from jurat.audit.note import MAX_NOTE_BYTES
from jurat.audit.tlog_policy import MAX_POLICY_BYTES, NONE, TlogPolicy
from jurat.cli.files import writing
from jurat.cli.main import LOG_FORMAT
from jurat.cli.options import DURATION, connection_options, keys_option, metrics_options
from jurat.schemas.errors import ConfigurationError, LogForked, NoteInvalid, PolicyFileInvalid
from jurat.streams import logs, notary_reading, topics
from jurat.streams.kafka import Connection
from jurat.streams.metrics import Meters
from jurat.streams.notary import NotaryConfig, NotaryWorker, origins_of
from jurat.streams.notary_reading import Published
from jurat.streams.witness_http import witnesses_of

NAME: Final = "notary"
"""Of its key file, and of its metrics' label `agent`."""

org_option = click.option(
    "--org", required=True, metavar="DOMAIN", help="Whose logs these are: a part of their names, for ever."
)


@click.group(name="notary")
def command() -> None:
    """Sign the audit logs: checkpoints, their history, tiles."""


@command.command("init", short_help="Make the notary's key, print the logs.")
@org_option
@keys_option
@connection_options
def init(connection: Connection, org: str, keys: Path | None) -> None:
    """Make the notary's key if it is missing, and print the logs as lines of a policy file.

    With JURAT_KEYS_PASSPHRASE set, a new key is encrypted under it.
    """
    folder, secret = settings.keys_dir(keys), settings.keys_passphrase()
    named = asyncio.run(origins_of(connection, org))
    key, made = init_log_key(folder, NAME, secret)
    click.echo(f"{'made' if made else 'kept'}  {log_key_path(folder, NAME)}", err=True)
    if made and secret is None:
        click.echo(
            f"NOT encrypted, mode 0600; set {settings.KEYS_PASSPHRASE} before making it to encrypt", err=True
        )
    for one in named:
        for vkey in key.log_vkeys(str(one)):
            click.echo(f"log {vkey}")


@command.command("run", short_help="Sign the logs of the audit topic.")
@org_option
@click.option(
    "--witness-policy",
    "policy",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Whom to ask for cosignatures: a c2sp.org/tlog-policy file. Default: nobody.",
)
@click.option(
    "--until-idle", "until_idle_s", type=DURATION, help="End when nothing came for this long, e.g. 10s."
)
@keys_option
@metrics_options
@connection_options
def run(
    connection: Connection,
    org: str,
    *,
    policy: Path | None,
    until_idle_s: float | None,
    keys: Path | None,
    metrics_at: tuple[str, int] | None,
) -> None:
    """Sign the logs of the audit topic: each second or 1,000 records a checkpoint, each 30 s when nothing comes.

    SIGTERM and Ctrl-C stop it at once: the next start goes on where this one ended. It ends with an error where a log
    is not what it was when it was signed.
    """
    logs.configure(settings.log_format(), level=settings.log_level(), text=LOG_FORMAT)
    parsed = TlogPolicy((), {}, {}, NONE) if policy is None else _policy(policy)
    meters = Meters(NAME)
    config = NotaryConfig(
        org=org,
        key=load_log_key(settings.keys_dir(keys), NAME, settings.keys_passphrase()),
        policy=parsed,
        clock=lambda: int(time.time()),
        ids=settings.schema_registry(),
        until_idle_s=until_idle_s,
        meters=meters,
    )
    with ExitStack() as stack:
        if metrics_at is not None:
            from jurat.streams.health import HealthServer  # noqa: PLC0415 - a tenth of a second, for those who ask

            stack.enter_context(HealthServer(meters, host=metrics_at[0], port=metrics_at[1]))
        published = asyncio.run(_run(connection, config))
    click.echo(f"{published} checkpoints published", err=True)


async def _run(connection: Connection, config: NotaryConfig) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.report)
    async with witnesses_of(config.policy) as witnesses:
        worker = NotaryWorker(connection, replace(config, witnesses=witnesses))
        if settings.log_format() is logs.LogFormat.TEXT:  # who reads JSON reads nothing else
            asked = (
                f"witnesses asked: {len(witnesses)}"
                if witnesses
                else "no witness is asked: its word stands alone"
            )
            topic = connection.topic(topics.AUDIT.name)
            click.echo(
                f"signs the logs of {topic} at {connection.bootstrap_servers} for {config.org}; {asked}",
                err=True,
            )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()
    return worker.published


@command.command("history", short_help="Write every checkpoint to a file.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@connection_options
def history_(connection: Connection, output: Path | None) -> None:
    """Write every checkpoint that was published, one a line, for verification without Kafka.

    What stands on the topic and is none is left out, and is an error once all others are written.
    """
    others = asyncio.run(_write_history(connection, output))
    if others:
        raise NoteInvalid(f"got {others} records that are no checkpoints on the topic: they were left out")


async def _write_history(connection: Connection, output: Path | None) -> int:
    others = 0
    with writing(output) as file:
        async with aclosing(notary_reading.history(connection)) as signed:
            async for one in signed:
                try:
                    line = history.print_line(one)
                except NoteInvalid:
                    others += 1
                else:
                    file.write(line + b"\n")
    return others


@command.command("tiles", short_help="Write the logs as tiles.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder; each log gets its own in it.",
)
@connection_options
def tiles_(connection: Connection, output: Path) -> None:
    """Write the logs as tiles (c2sp.org/tlog-tiles), for mirrors and for proofs, up to their latest checkpoints.

    What stands there of the same tiles is compared: a log that was rewritten since is an error.
    """
    for line in asyncio.run(_tiles(connection, output)):
        click.echo(line)


async def _tiles(connection: Connection, output: Path) -> list[str]:
    told: list[str] = []
    for one in await notary_reading.latest_checkpoints(connection):
        folder = output / str(one.origin)
        written = await _write_tiles(connection, one, folder)
        told.append(f"{one.origin}: {one.head.size} entries, {written} files written")
    return told


async def _write_tiles(connection: Connection, one: Published, folder: Path) -> int:
    written = 0
    files = notary_reading.tile_files(connection, one, ids=settings.schema_registry(), before=_kept(folder))
    async with aclosing(files):
        async for path, data in files:
            place = folder / path
            if path != tiles.CHECKPOINT and place.exists():
                if _read(place, tiles.MAX_BUNDLE_BYTES) != data:
                    raise LogForked(
                        f"{place} holds something else than the log does now: it was rewritten since"
                    )
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            with writing(place) as file:
                file.write(data)
            written += 1
    return written


def _kept(folder: Path) -> Checkpoint | None:
    place = folder / tiles.CHECKPOINT
    if not place.exists():
        return None
    try:
        return checkpoint.parse(note.parse(_read(place, MAX_NOTE_BYTES)).text)
    except NoteInvalid as error:
        raise NoteInvalid(f"{place}: {error}") from error


def _policy(place: Path) -> TlogPolicy:
    try:
        return tlog_policy.parse(_read(place, MAX_POLICY_BYTES))
    except PolicyFileInvalid as error:
        raise ConfigurationError(f"the witness policy {place} cannot be used: {error}") from error


def _read(place: Path, at_most: int) -> bytes:
    try:
        with place.open("rb") as file:
            return file.read(at_most + 1)
    except OSError as error:
        raise ConfigurationError(f"the file {place} cannot be read: {error}") from error

"""`jurat witness`: cosign the checkpoints of logs that go on from what was seen of them before."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from pathlib import Path
from typing import Final

import click

from jurat import settings
from jurat.audit import note, tlog_policy
from jurat.audit.log_key import LogKey
from jurat.audit.log_key_store import init_log_key, load_log_key, log_key_path
from jurat.audit.note import Verifier
from jurat.audit.witness import Witness
from jurat.audit.witness_store import WitnessStore
from jurat.schemas.errors import AuditError, ConfigurationError, NoteInvalid
from jurat.streams.witness_http import WitnessServer

log = logging.getLogger(__name__)

DEFAULT_PORT: Final = 8472

name_option = click.option(
    "--name", required=True, metavar="NAME", help="The witness's name, as it stands in its signatures."
)
key_option = click.option(
    "--key",
    "key_name",
    default="witness",
    show_default=True,
    metavar="NAME",
    help="Which key in the key folder.",
)
keys_option = click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Key folder; else {settings.KEYS_DIR}, else the user's configuration folder.",
)
logs_option = click.option(
    "--logs",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The logs that it knows: the `log` lines of a trust policy file.",
)
data_option = click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Its folder: what it saw. Whoever loses it must begin as another witness.",
)


@click.group(name="witness")
def command() -> None:
    """Cosign checkpoints of logs that go on from what was seen before."""


@command.command(name="init", short_help="Make the witness's key.")
@name_option
@key_option
@keys_option
def init(name: str, key_name: str, keys: Path | None) -> None:
    """Make the witness's key if it is missing, and print the lines for a trust policy file.

    With JURAT_KEYS_PASSPHRASE set, a new key is encrypted under it.
    """
    folder, secret = settings.keys_dir(keys), settings.keys_passphrase()
    try:
        note.check_name(name)  # before there is a key
        key, made = init_log_key(folder, key_name, secret)
        vkeys = key.witness_vkeys(name)
    except NoteInvalid as error:
        raise ConfigurationError(str(error)) from error
    if made and secret is None:
        click.echo(
            f"{log_key_path(folder, key_name)}: NOT encrypted, mode 0600; set {settings.KEYS_PASSPHRASE} before making"
            " it to encrypt",
            err=True,
        )
    click.echo(
        f"# {'made' if made else 'kept'}: add the URL at which the notary reaches it to the end of both lines"
    )
    kinds = [f"{name}/{kind}" for kind in ("ed25519", "mldsa44")]
    for kind, vkey in zip(kinds, vkeys, strict=True):
        click.echo(f"witness {kind} {vkey}")
    click.echo(f"group {name} any {' '.join(kinds)}")


@command.command(name="run", short_help="Cosign checkpoints over HTTP.")
@name_option
@key_option
@keys_option
@logs_option
@data_option
@click.option("--host", default=settings.LOOPBACK, show_default=True, help="Listen on this address.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Listen there; 0 for a port that is free.",
)
def run(name: str, key_name: str, *, keys: Path | None, logs: Path, data: Path, host: str, port: int) -> None:
    """Answer `POST /add-checkpoint` until SIGTERM or Ctrl-C; `GET /livez` says that it is up.

    It speaks plain HTTP: where others than this machine ask, put a proxy with TLS before it.
    """
    witness = _witness(
        name, load_log_key(settings.keys_dir(keys), key_name, settings.keys_passphrase()), logs
    )
    with WitnessStore(data, witness) as store:
        server = WitnessServer(witness, store, clock=time.time)
        asyncio.run(_serve(server, witness, host=host, port=port))


@command.command(name="show", short_help="Print what it cosigned last of each log.")
@name_option
@key_option
@keys_option
@logs_option
@data_option
def show(name: str, key_name: str, *, keys: Path | None, logs: Path, data: Path) -> None:
    """Print what it cosigned last of each log; it must not run meanwhile."""
    witness = _witness(
        name, load_log_key(settings.keys_dir(keys), key_name, settings.keys_passphrase()), logs
    )
    with WitnessStore(data, witness) as store:
        seen = store.seen
        for origin in sorted({*witness.origins, *seen}):
            head = seen.get(origin)
            click.echo(f"{origin}  {'nothing yet' if head is None else f'{head.size}  {head.root.hex()}'}")


async def _serve(server: WitnessServer, witness: Witness, *, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with server.listening(host, port) as bound:
        click.echo(
            f"{witness.name} cosigns {len(witness.origins)} logs at http://{host}:{bound}/add-checkpoint",
            err=True,
        )
        await stop.wait()


def _witness(name: str, key: LogKey, logs: Path) -> Witness:
    known = _known_logs(logs)
    try:
        return Witness(name, key, known)
    except AuditError as error:
        raise ConfigurationError(str(error)) from error


def _known_logs(path: Path) -> list[Verifier]:
    try:
        with path.open("rb") as file:
            data = file.read(tlog_policy.MAX_POLICY_BYTES + 1)
        policy = tlog_policy.parse(data)
    except (OSError, AuditError) as error:
        raise ConfigurationError(
            f"the trust policy {path} cannot be used: {error}; expected lines `log VKEY` and one `quorum none`",
            path=str(path),
        ) from error
    if not policy.logs:
        raise ConfigurationError(
            f"{path} names no log, expected lines `log VKEY`; `jurat notary init` prints them"
        )
    return [party.key for party in policy.logs]

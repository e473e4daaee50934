"""`jurat dead-letters`: what an agent could not decide; sent back once it can, or noted as dealt with.

Letters hold what anybody may have published, so all of it is escaped before it is printed, and JSON lines are ASCII;
`show --raw` alone writes the bytes as they are, and is meant for a file or a pipe.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jurat.agents.catalogue import AGENTS
from jurat.cli.keys import PIPE_WIDTH
from jurat.cli.options import connection_options
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.shown import printable
from jurat.streams import topics
from jurat.streams.dead_letter_box import How, Letter, Place, Resolution, Survey, Wanted, one_letter, survey
from jurat.streams.dead_letter_resolving import MAX_BY_CHARS, LeftOut, Resolver
from jurat.streams.dead_letters import REASON, original_headers
from jurat.streams.kafka import Connection, KafkaRecord

CONTEXT: Final = "context"
"""The context stream writes dead letters too; its inputs are other agents' inputs, so none of it is replayed."""

MAX_TABLE_ROWS: Final = 1_000
"""A longer table helps nobody; `--json` has no bound."""

REASON_CHARS: Final = 80
MAX_TEXT_CHARS: Final = 4_000
MAX_DUMP_BYTES: Final = 512
MAX_HEADERS: Final = 50
MAX_HEADER_CHARS: Final = 200
"""What `show` prints; `--raw` writes the value whole."""

DUMP_WIDTH: Final = 16


class PlaceType(click.ParamType):
    """The address of a letter, such as `2/17`."""

    name = "partition/offset"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """Parse the text."""
        try:
            return value if isinstance(value, Place) else Place.parse(str(value))
        except ValueError as error:
            self.fail(printable(str(error)), param, ctx)


_AGENT = click.argument("agent", type=click.Choice([*sorted(AGENTS), CONTEXT]), metavar="AGENT")
_PLACES = click.argument("places", metavar="[PARTITION/OFFSET]...", type=PlaceType(), nargs=-1)
_ALL = click.option("--all", "every", is_flag=True, help="All letters that wait.")
_ERROR = click.option("--error", metavar="CLASS", help="Only those with this error class.")
_BY = click.option("--by", metavar="NAME", help="Who you are, for the others; else user and machine.")


@click.group("dead-letters")
def command() -> None:
    """Inputs that an agent could not decide.

    A letter is addressed as PARTITION/OFFSET of the topic dead-letters.AGENT, as `list` shows it.
    """


@command.command("list")
@_AGENT
@_ERROR
@click.option("--all-states", is_flag=True, help="Those replayed or dropped too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@connection_options
def list_(connection: Connection, agent: str, error: str | None, *, all_states: bool, as_json: bool) -> None:
    """List the letters of AGENT that wait."""
    wanted = Wanted(error=error, also_resolved=all_states)
    found = asyncio.run(survey(connection, agent, wanted=wanted))
    if as_json:
        for letter in found.letters.values():
            click.echo(json_line(letter))
    elif found.letters:
        _print_table(connection, found)
    if not found.letters:
        click.echo(f"no letter of {agent} {'is there' if all_states else 'waits'}", err=True)
    _print_rest(found)


@command.command("show")
@_AGENT
@click.argument("place", metavar="PARTITION/OFFSET", type=PlaceType())
@click.option("--raw", is_flag=True, help="Write the value as it came, and nothing else.")
@connection_options
def show(connection: Connection, agent: str, place: Place, *, raw: bool) -> None:
    """Show one letter of AGENT: why it was rejected, and what it holds."""
    letter, record = asyncio.run(one_letter(connection, agent, place))
    if raw:
        sys.stdout.buffer.write(record.value or b"")
        sys.stdout.buffer.flush()
        if letter.truncated is not None:
            click.echo(f"only the beginning is kept; the original had {letter.truncated} bytes", err=True)
        return
    for line in story(connection, letter, record):
        click.echo(line)


@command.command("replay", short_help="Send letters back to where they came from.")
@_AGENT
@_PLACES
@_ALL
@_ERROR
@_BY
@connection_options
@click.pass_context
def replay(
    ctx: click.Context,
    connection: Connection,
    agent: str,
    places: tuple[Place, ...],
    error: str | None,
    by: str | None,
    *,
    every: bool,
) -> None:
    """Send letters of AGENT back to the topic that they came from, as they came.

    Every reader of that topic gets the event once more, other agents included. Exit code 1 when a letter was left out.
    """
    if agent == CONTEXT:
        raise ConfigurationError(
            "letters of the context stream are not replayed: its topics are inputs of agents, which have decided the"
            " event already. Look at them, and drop them"
        )
    ctx.exit(_resolve(connection, agent, How.REPLAYED, _wanted(places, error, every=every), by))


@command.command("drop", short_help="List these letters no more.")
@_AGENT
@_PLACES
@_ALL
@_ERROR
@_BY
@connection_options
@click.pass_context
def drop(
    ctx: click.Context,
    connection: Connection,
    agent: str,
    places: tuple[Place, ...],
    error: str | None,
    by: str | None,
    *,
    every: bool,
) -> None:
    """Note that somebody has dealt with letters of AGENT: they are not listed any more. Nothing is deleted."""
    ctx.exit(_resolve(connection, agent, How.DROPPED, _wanted(places, error, every=every), by))


def _wanted(places: tuple[Place, ...], error: str | None, *, every: bool) -> Wanted:
    if every == bool(places):
        raise click.UsageError("expected either addresses of letters, such as 2/17, or --all")
    if error is not None and not every:
        raise click.UsageError("--error narrows --all; it does not go with addresses")
    return Wanted(places=frozenset(places) or None, error=error)


def _resolve(connection: Connection, agent: str, how: How, wanted: Wanted, by: str | None) -> int:
    inputs = [] if agent == CONTEXT else _inputs(connection, agent)
    resolver = Resolver(
        connection, agent=agent, inputs=inputs, by=by or _operator(), clock=lambda: datetime.now(UTC)
    )

    async def run() -> tuple[int, int]:
        done = left_out = 0
        async with aclosing(resolver.resolve(how, wanted)) as outcomes:
            async for one in outcomes:
                if isinstance(one, LeftOut):
                    left_out += 1
                    click.echo(one.reason, err=True)
                else:
                    done += 1
                    click.echo(f"{one.letter} {how.value}{_as_what(connection, one)}")
        return done, left_out

    done, left_out = asyncio.run(run())
    click.echo(f"{done} {how.value}, {left_out} left out", err=True)
    if resolver.not_held:
        click.echo(f"up to {resolver.not_held} later letters were not looked at: run it again", err=True)
    return 1 if left_out else 0


def _as_what(connection: Connection, one: Resolution) -> str:
    now_at = one.now_at
    return f" as {connection.plain(now_at.topic)} {now_at.partition}/{now_at.offset}" if now_at else ""


def _inputs(connection: Connection, agent: str) -> list[str]:
    return [connection.topic(AGENTS[agent].topic), connection.topic(topics.timers(agent).name)]


def _operator() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"[:MAX_BY_CHARS]


def json_line(letter: Letter) -> str:
    """A letter as a line of ASCII JSON."""
    gone = letter.resolution
    return json.dumps(
        {
            "letter": str(letter.place),
            "written_at": _moment(letter.written_ms),
            "topic": letter.origin.topic,
            "partition": letter.origin.partition,
            "offset": letter.origin.offset,
            "error": letter.error,
            "reason": letter.reason,
            "bytes": letter.size,
            "original_bytes": letter.truncated,
            "state": gone.how.value if gone else "waiting",
            "by": gone.by if gone else None,
            "at": gone.at.astimezone(UTC).isoformat() if gone else None,
            "now_at": gone.now_at._asdict() if gone and gone.now_at else None,
        }
    )


def _print_table(connection: Connection, found: Survey) -> None:
    table = Table(box=None)
    for name in ("letter", "written", "came from", "error", "reason", "bytes", "state"):
        table.add_column(name, no_wrap=name in ("letter", "written", "bytes"), overflow="fold")
    for letter in list(found.letters.values())[:MAX_TABLE_ROWS]:
        cells = (
            str(letter.place),
            _moment(letter.written_ms)[:19].replace("T", " "),
            f"{connection.plain(letter.origin.topic)} {letter.origin.partition}/{letter.origin.offset}",
            letter.error,
            cut(letter.reason, REASON_CHARS),
            str(letter.truncated or letter.size),
            letter.resolution.how.value if letter.resolution else "waiting",
        )
        table.add_row(*(Text(cut(printable(cell), MAX_HEADER_CHARS)) for cell in cells))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def _print_rest(found: Survey) -> None:
    beyond = len(found.letters) - MAX_TABLE_ROWS
    if beyond > 0:
        click.echo(f"the table ends after {MAX_TABLE_ROWS} letters; --json prints {beyond} more", err=True)
    if found.not_held:
        click.echo(f"up to {found.not_held} later letters are not listed: resolve these first", err=True)
    if found.foreign:
        click.echo(
            f"{found.foreign} records are neither letters nor resolutions, the first at {found.first_foreign}",
            err=True,
        )


def story(connection: Connection, letter: Letter, record: KafkaRecord) -> Iterator[str]:
    """The lines of `show`; everything that came from outside is escaped, and stands behind two spaces."""
    origin, reason = letter.origin, dict(record.headers)[REASON].decode(errors="replace")
    yield f"letter   {letter.place}, written {_moment(letter.written_ms)}"
    yield f"from     {printable(connection.plain(origin.topic))} {origin.partition}/{origin.offset}"
    yield f"error    {printable(letter.error)}"
    yield f"reason   {printable(reason)}"
    yield f"state    {printable(str(letter.resolution)) if letter.resolution else 'waiting'}"
    if letter.truncated is not None:
        yield f"cut      only the first {letter.size} of {letter.truncated} bytes are kept, and no headers"
    yield "key" if record.key is not None else "no key"
    if record.key is not None:
        yield f"  {_inline(record.key)}"
    headers = original_headers(record)
    yield f"{len(headers)} headers"
    for name, value in headers[:MAX_HEADERS]:
        yield f"  {printable(cut(name, MAX_HEADER_CHARS))}: {_inline(value)}"
    if len(headers) > MAX_HEADERS:
        yield f"  and {len(headers) - MAX_HEADERS} more"
    yield from _value_lines(record.value or b"")


def _value_lines(value: bytes) -> Iterator[str]:
    text = _as_text(value)
    if text is not None:
        yield f"value, {len(value)} bytes of text"
        for line in text[:MAX_TEXT_CHARS].split("\n"):
            yield f"  {printable(line)}"
        left = len(text) - MAX_TEXT_CHARS
        if left > 0:
            yield f"and {left} more characters; --raw writes them all"
        return
    yield f"value, {len(value)} bytes, not text"
    for start in range(0, min(len(value), MAX_DUMP_BYTES), DUMP_WIDTH):
        row = value[start : start + DUMP_WIDTH]
        plain = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"  {start:08x}  {row.hex(' '):<{DUMP_WIDTH * 3 - 1}}  {plain}"
    if len(value) > MAX_DUMP_BYTES:
        yield f"and {len(value) - MAX_DUMP_BYTES} more bytes; --raw writes them all"


def _as_text(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable() else None


def _inline(raw: bytes) -> str:
    text = _as_text(raw)
    return cut(raw.hex(" ") if text is None else printable(text), MAX_HEADER_CHARS)


def cut(text: str, most: int) -> str:
    """The beginning of a text, and a sign that it goes on."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _moment(timestamp_ms: int) -> str:
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # whoever writes a record stamps it
        return f"{timestamp_ms} ms"

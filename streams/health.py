"""An HTTP server of a worker's own: `/metrics` for Prometheus, `/livez` and `/readyz` for who starts workers anew.

Rules upheld here:

* it runs in a thread with an event loop of its own, so that it answers when the worker's does not;
* **live** means: the worker's loop turned within `TURN_BOUND_S`, and no open partition that holds inputs was without
  progress for `STUCK_AFTER_S`. A worker that has not begun to turn is starting, and live: every step of the start has
  a time-out of its own. A partition all of whose inputs are parked holds none. That Kafka does not answer is no
  reason to start anew;
* **ready** means: live, joined to the group, every assigned partition open, and a broker heard of within
  `SILENCE_BOUND_S`. A worker without partitions, as there are more workers than partitions, is ready;
* a client is let go after `CLIENT_BOUND_S`, whatever it does; of more than `MAX_CLIENTS` the one that came first goes;
  what it sends is bounded and answered with a status code, never with a traceback.

Answers are about numbers and names of topics, never about events. Whoever reaches the port may read them: it listens on
the loopback interface unless told otherwise. Not here: what is counted (`metrics.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import orjson

from jurat.schemas.errors import ConfigurationError
from jurat.streams.exposition import Exposition
from jurat.streams.metrics import Meters, PartitionStatus

log = logging.getLogger(__name__)

TURN_BOUND_S: Final = 30.0
"""The loop turns ten times a second. Longer than it may wait for a broker (15 s), and several session time-outs: the
group has given the partitions to others by then."""

STUCK_AFTER_S: Final = 900.0
"""Longer than the slowest reasoner call: clients of model servers give up after ten minutes unless told otherwise."""

SILENCE_BOUND_S: Final = 15.0
"""A broker answers a fetch within a tenth of a second, events or none; after this long a request has timed out."""

MAX_CLIENTS: Final = 64
CLIENT_BOUND_S: Final = 5.0
"""A scrape is a few milliseconds of work; a probe waits a second."""

LINGER_S: Final = 0.5
"""How long to read on after the answer: closing with bytes unread would take the answer back from the client."""

MAX_REQUEST_BYTES: Final = 16 * 1024
"""Request line and headers; Prometheus sends less than one KiB."""

MAX_NAMED: Final = 20
"""Partitions named in one answer."""

TURNS_TO_BEGIN: Final = 10
"""Turns of the loop in which a connection that was just taken gets its task, which closes it."""

START_WITHIN_S: Final = 10.0
"""How long starting or stopping the thread may take."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer; `why` is empty where it is well."""

    name: str
    why: str = ""


def live(meters: Meters, *, now: float) -> tuple[Check, ...]:
    """What tells whether the worker should be started anew.

    Args:
        meters: with the worker's latest status.
        now: monotonic seconds.
    """
    status = meters.status
    if status is None:
        return (Check("event-loop"), Check("progress"))
    turned_s = now - status.at
    turning = (
        f"the event loop last turned {turned_s:.0f} s ago, expected within {TURN_BOUND_S:.0f} s"
        if turned_s > TURN_BOUND_S
        else ""
    )
    stuck = [
        one
        for one in status.partitions
        if one.open and one.held_records and now - one.progress_at > STUCK_AFTER_S
    ]
    progress = (
        f"inputs are held without progress for more than {STUCK_AFTER_S:.0f} s: {_named(stuck)}"
        if stuck
        else ""
    )
    return (Check("event-loop", turning), Check("progress", progress))


def ready(meters: Meters, *, now: float) -> tuple[Check, ...]:
    """What tells whether the worker does its work; see `live` for the arguments."""
    status = meters.status
    if status is None:
        return (Check("joined", "the worker is starting"), Check("partitions"))
    closed = [one for one in status.partitions if not one.open]
    silence_s = 0.0 if status.heard_at is None else now - status.heard_at
    silent = f"no broker has answered for {silence_s:.0f} s" if silence_s > SILENCE_BOUND_S else ""
    return (
        *live(meters, now=now),
        Check("broker", silent),
        Check("joined", "" if status.joined else "the group has not given its partitions out yet"),
        Check("partitions", f"assigned, but not open: {_named(closed)}" if closed else ""),
    )


def _named(partitions: list[PartitionStatus]) -> str:
    names = ", ".join(f"{one.topic} {one.partition}" for one in partitions[:MAX_NAMED])
    return f"{names} and {len(partitions) - MAX_NAMED} more" if len(partitions) > MAX_NAMED else names


class HealthServer:
    """Serves a worker's health for the time of a `with` block.

    Args:
        meters: what the worker counts and shows.
        host: the address or name to listen on.
        port: the port; 0 takes one that is free.
        clock: the clock of the worker's status, in seconds.

    Raises:
        ConfigurationError: on entering, when the address cannot be had.
    """

    def __init__(
        self,
        meters: Meters,
        *,
        host: str,
        port: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meters = meters
        self._exposition = Exposition(meters)
        self._asked = (host, port)
        self._clock = clock
        self._clients: dict[asyncio.Task[None], None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jurat-health", daemon=True)
        self._socket: socket.socket | None = None
        self.host = host
        self.port = port

    def __enter__(self) -> Self:
        self._socket = _listen(*self._asked)
        self.host, self.port = self._socket.getsockname()[:2]
        self._thread.start()
        self._started.wait(START_WITHIN_S)
        # A port that was left to us is nowhere else to be found.
        level = logging.INFO if self._asked[1] else logging.WARNING
        log.log(level, "health and metrics are served host=%s port=%d", self.host, self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_WITHIN_S)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._client, sock=self._socket, limit=MAX_REQUEST_BYTES)
        self._started.set()
        await self._stop.wait()
        for listening in server.sockets:
            loop.remove_reader(
                listening
            )  # a connection that is taken while the server closes would be leaked
        for _turn in range(TURNS_TO_BEGIN):
            await asyncio.sleep(0)
        server.close()
        clients = list(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        if len(self._clients) >= MAX_CLIENTS:
            first = next(iter(self._clients))
            del self._clients[first]
            first.cancel()
        self._clients[task] = None
        writer.transport.set_write_buffer_limits(high=0)  # `drain` waits until the kernel has everything
        try:
            async with asyncio.timeout(CLIENT_BOUND_S):
                writer.write(await self._answer(reader))
                await writer.drain()
                writer.write_eof()
                await _linger(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # it went away, or was let go; nobody waits for this task
        finally:
            self._clients.pop(task, None)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
            return _response(HTTPStatus.BAD_REQUEST)
        method, target, _version = words
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED)
        response = self._page(target.partition("?")[0], _accept(lines))
        return response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else response

    def _page(self, path: str, accept: str) -> bytes:
        if path == "/metrics":
            content_type, body = self._exposition.page(accept)
            return _response(HTTPStatus.OK, body, content_type=content_type)
        if path == "/livez":
            return _verdict(live(self._meters, now=self._clock()))
        if path == "/readyz":
            return _verdict(ready(self._meters, now=self._clock()))
        return _response(HTTPStatus.NOT_FOUND)


def _listen(host: str, port: int) -> socket.socket:
    try:
        (family, _kind, _protocol, _name, address), *_others = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server((address[0], port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"health and metrics cannot be served at {host}, port {port}: {error.strerror or error}; choose another"
            " with --metrics-port and --metrics-host, or 0 for a port that is free",
            host=host,
            port=port,
        ) from error


def _accept(lines: list[str]) -> str:
    for line in lines:
        name, _colon, value = line.partition(":")
        if name.lower() == "accept":
            return value.strip()
    return ""


def _verdict(checks: tuple[Check, ...]) -> bytes:
    well = not any(check.why for check in checks)
    body = {
        "status": "ok" if well else "failing",
        "checks": [{"name": check.name, "ok": not check.why, "why": check.why} for check in checks],
    }
    return _response(
        HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE,
        orjson.dumps(body) + b"\n",
        content_type="application/json",
    )


def _response(
    status: HTTPStatus, body: bytes | None = None, *, content_type: str = "text/plain; charset=utf-8"
) -> bytes:
    content = f"{status.value} {status.phrase}\n".encode() if body is None else body
    allow = "Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\nCache-Control: no-store\r\n{allow}Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + content


async def _linger(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while await reader.read(MAX_REQUEST_BYTES):
                pass

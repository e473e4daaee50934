"""Options that commands share: how to reach Kafka, where keys stand; and durations."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from jurat import settings
from jurat.schemas.moments import parse_moment, print_moment

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

F = TypeVar("F", bound=Callable[..., Any])

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DURATION = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<unit>ms|s|m|h)")


def connect_options(command: F) -> F:
    """Add `--bootstrap-servers` and `--namespace`; pass `connect`, which says how to reach Kafka when called."""

    @click.option(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help=f"Kafka; else {settings.BOOTSTRAP_SERVERS}, else the local broker that is up.",
    )
    @click.option("--namespace", metavar="NAME", help=f"Prefix of every name; else {settings.NAMESPACE}.")
    @functools.wraps(command)
    def with_connect(
        *arguments: object, bootstrap_servers: str | None, namespace: str | None, **others: object
    ) -> object:
        def connect() -> Connection:
            return settings.connection(bootstrap_servers=bootstrap_servers, namespace=namespace)

        return command(*arguments, connect=connect, **others)

    return with_connect  # type: ignore[return-value]  # the decorated command keeps its name and help


def connection_options(command: F) -> F:
    """Like `connect_options`, for commands that always need Kafka: pass `connection`."""

    @connect_options
    @functools.wraps(command)
    def with_connection(*arguments: object, connect: Callable[[], Connection], **others: object) -> object:
        return command(*arguments, connection=connect(), **others)

    return with_connection  # type: ignore[return-value]  # as above


def metrics_options(command: F) -> F:
    """Add `--metrics-port` and `--metrics-host`; pass `metrics_at`, host and port, None where nothing is served."""

    @click.option(
        "--metrics-port",
        type=click.IntRange(0, 65_535),
        metavar="PORT",
        help=f"Serve /metrics, /livez and /readyz there, 0 for a free port; else {settings.METRICS_PORT},"
        " else nowhere.",
    )
    @click.option(
        "--metrics-host",
        metavar="ADDRESS",
        help=f"Listen on this address; else {settings.METRICS_HOST}, else on 127.0.0.1.",
    )
    @functools.wraps(command)
    def with_metrics(
        *arguments: object, metrics_port: int | None, metrics_host: str | None, **others: object
    ) -> object:
        metrics_at = settings.metrics_address(port=metrics_port, host=metrics_host)
        if metrics_host and metrics_at is None:
            raise click.UsageError(
                f"got the host {metrics_host!r} for metrics, but no port: add --metrics-port or {settings.METRICS_PORT}"
            )
        return command(*arguments, metrics_at=metrics_at, **others)

    return with_metrics  # type: ignore[return-value]  # the decorated command keeps its name and help


class Duration(click.ParamType):
    """A duration such as `5s`, `200ms`, `2m`; converted to seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the text."""
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"got {value!r}, expected a duration such as 5s, 200ms or 2m", param, ctx)
        return float(match["number"]) * _UNITS_S[match["unit"]]


DURATION = Duration()


class Moment(click.ParamType):
    """A date (its first moment in UTC) or an RFC 3339 moment; converted to the form of records, which sorts by time."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse the text."""
        text = str(value)
        try:
            return print_moment(parse_moment(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text))
        except ValueError as error:
            self.fail(f"{error}, or a date such as 2026-01-31", param, ctx)


MOMENT: Final = Moment()


def moment_of(seconds: int) -> str:
    """A moment in POSIX seconds as people read it; what no calendar has, as it stands."""
    try:
        return print_moment(datetime.fromtimestamp(seconds, UTC))
    except (OverflowError, ValueError, OSError):
        return f"second {seconds} since 1970"


keys_option = click.option(
    "--keys",
    "keys",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Key folder; else {settings.KEYS_DIR}, else the user's configuration folder.",
)
"""The folder with signing keys, trusted keys and the trust log."""

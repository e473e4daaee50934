"""`jurat context`: run the context stream in the foreground.

This module only asks and tells; what is done stands in jurat.streams.context, which is imported when the
command runs, as Faust takes a second to load.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack

import click

from jurat import settings
from jurat.cli.options import DURATION, connection_options
from jurat.streams.kafka import Connection


@click.command("context")
@click.option(
    "--until-idle",
    "until_idle_s",
    type=DURATION,
    metavar="DURATION",
    help="Stop after this long without an event, for example 5s; else run until SIGTERM or Ctrl-C.",
)
@connection_options
def command(connection: Connection, until_idle_s: float | None) -> None:
    """Keep a profile of every customer on context.customers.

    Reads commerce.orders, commerce.payments and marketplace.disputes. What cannot be read goes to
    dead-letters.context. Stopping it loses nothing: the next one goes on where it left off.
    """
    from jurat.streams.context import run_context  # noqa: PLC0415 - see the module's docstring

    logging.getLogger("jurat.context").setLevel(logging.INFO)
    with ExitStack() as stack:
        registry = settings.schema_registry()
        if registry is not None:
            stack.callback(registry.close)
        run_context(connection, until_idle_s, ids=registry)

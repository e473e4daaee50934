"""The `jurat` command: its groups, loaded when they are asked for, and what becomes of errors.

Rules upheld here: an error of ours is one message on standard error and exit code 1, never a traceback; anything else
is a defect, shows itself, and ends with a code of its own, as 1 means something to who called. What runs until it
is stopped ends with 0 when it is asked to, from its first moment on.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

COMMANDS: Final = {
    "approvals": "List and answer what agents ask of people.",
    "audit": "Replay, verify and explain the audit log.",
    "broker": "Start and stop a local Kafka.",
    "context": "Run the context stream: customer profiles.",
    "dataset": "Publish a data set as events.",
    "dead-letters": "List, replay and drop inputs that could not be decided.",
    "demo": "See the whole way once.",
    "init": "Write a project with an agent of one's own.",
    "keys": "Make, trust, credit, revoke and list signing keys.",
    "memory": "Show what agents remember, and make them forget.",
    "notary": "Sign the audit logs.",
    "policy": "Check, test, compare, publish and activate policies.",
    "publish": "Publish events from JSON lines.",
    "score": "Score agents in simulated worlds.",
    "simulate": "Publish a simulated marketplace.",
    "subject": "Data subjects: their keys, and erasing them.",
    "subscribe": "Print the events of a topic.",
    "topics": "Create, compare and describe topics.",
    "witness": "Cosign the checkpoints of audit logs.",
    "worker": "Run an agent.",
}
WITHOUT_A_PROJECT: Final = frozenset(
    {"broker", "context", "dataset", "demo", "init", "notary", "score", "simulate", "witness"}
)
"""Commands that are about jurat's own agents and events, or about none: they work where a project's app does not."""

SERVERS: Final = (("worker",), ("notary", "run"), ("witness", "run"))
"""The commands that SIGTERM ends well: whoever runs them stops them so."""

EXIT_BROKEN_PIPE: Final = 141
"""What a shell shows for a command that SIGPIPE ended."""

EXIT_IO: Final = 74
EXIT_DEFECT: Final = 70
"""EX_IOERR and EX_SOFTWARE of sysexits.h: apart from the codes 0, 1 and 2, which commands give a meaning."""

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called: `jurat --help` does not load Kafka clients."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in WITHOUT_A_PROJECT:
            from jurat import app  # noqa: PLC0415 - a fifth of a second, as in `main`

            app.load(Path.cwd())  # first: a command that names agents names the project's
        module = importlib.import_module(f"jurat.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("jurat"), prog_name="jurat")
@click.option("-v", "--verbose", count=True, help="Log more; twice for everything.")
def entry(verbose: int) -> None:
    """Signed, policy-bounded decisions on Kafka."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format=LOG_FORMAT, stream=sys.stderr)
    # The clients repeat as errors what we report in our own words.
    for client in ("aiokafka", "kafka", "faust", "mode", "asyncio"):
        logging.getLogger(client).setLevel(logging.CRITICAL if not verbose else level)


def main() -> None:
    """Run the command line and end the process."""
    words = tuple([word for word in sys.argv[1:] if not word.startswith("-")])
    if any(words[: len(names)] == names for names in SERVERS):
        # Importing it takes a second or two: until it stops by itself, there is nothing yet that must be ended.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from jurat.schemas.errors import JuratError  # noqa: PLC0415 - a fifth of a second, with the handler in place

    try:
        entry(prog_name="jurat")
    except JuratError as error:
        from jurat.schemas.shown import printable  # noqa: PLC0415 - loads what most commands need, but not all

        # Our own messages may have lines; what they quote steers no terminal.
        click.echo("\n".join(map(printable, f"jurat: {error}".split("\n"))), err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output went away: end quietly, and keep Python's own flush at exit from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BROKEN_PIPE)
    except OSError as error:
        click.echo(f"jurat: the system refused: {error}", err=True)
        sys.exit(EXIT_IO)
    except Exception:  # noqa: BLE001 - a defect: shown whole, but never with a code that means a verdict
        traceback.print_exc()
        sys.exit(EXIT_DEFECT)

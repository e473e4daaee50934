"""`jurat audit`: replay the log, verify it, tell the story of one decision, bundle decisions for an auditor.

The log is read from its Kafka topic, or from an export file with no Kafka at all.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

COMMANDS: Final = ("bundle", "evidence", "replay", "show", "verify")


class AuditGroup(click.Group):
    """Imports a command when it is called: who verifies a file does not wait for agents and Kafka clients."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"jurat.cli.audit_{cmd_name}").command
        return found


@click.group(name="audit", cls=AuditGroup)
def command() -> None:
    """Replay, verify and explain the audit log."""

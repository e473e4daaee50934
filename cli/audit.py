"""`jurat audit`: replay the log, verify it, tell the story of one decision, bundle decisions for an auditor.

The log is read from its Kafka topic, or from an export file with no Kafka at all.
"""

from __future__ import annotations

import click

from jurat.cli import audit_bundle, audit_evidence, audit_replay, audit_show, audit_verify


@click.group(name="audit")
def command() -> None:
    """Replay, verify and explain the audit log."""


for subcommand in (audit_bundle, audit_evidence, audit_replay, audit_show, audit_verify):
    command.add_command(subcommand.command)

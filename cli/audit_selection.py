"""The options by which commands choose records of the log. Not here: what they mean (`jurat.audit.selection`)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from jurat.audit.record import Outcome
from jurat.audit.selection import Selection
from jurat.cli.options import MOMENT
from jurat.schemas.decision import Verdict

F = TypeVar("F", bound=Callable[..., Any])


def selection_options(command: F) -> F:
    """Add the options that choose records; pass `wanted`, the selection."""

    @click.option(
        "--from", "since", type=MOMENT, help="Only what was recorded then or later: a date or RFC 3339."
    )
    @click.option("--to", "until", type=MOMENT, help="Only what was recorded before then.")
    @click.option("--agent", help="Only this agent's records.")
    @click.option("--outcome", type=click.Choice([each.value for each in Outcome]), help="Only this outcome.")
    @click.option("--verdict", type=click.Choice([each.value for each in Verdict]), help="Only this verdict.")
    @click.option("--subject", metavar="ID", help="Only what is about this order, customer, dispute, ...")
    @click.option(
        "--policy",
        metavar="ID",
        help="Only under this policy (id), bundle (name) or digest (8 digits or more).",
    )
    @functools.wraps(command)
    def with_selection(
        *arguments: object,
        since: str | None,
        until: str | None,
        outcome: str | None,
        verdict: str | None,
        agent: str | None,
        subject: str | None,
        policy: str | None,
        **others: object,
    ) -> object:
        if since is not None and until is not None and since >= until:
            raise click.UsageError(f"got --from {since} and --to {until}, expected --from before --to")
        wanted = Selection(
            since=since,
            until=until,
            agent=agent,
            outcome=None if outcome is None else Outcome(outcome),
            verdict=None if verdict is None else Verdict(verdict),
            subject=subject,
            policy=policy,
        )
        return command(*arguments, wanted=wanted, **others)

    return with_selection  # type: ignore[return-value]  # the decorated command keeps its name and help

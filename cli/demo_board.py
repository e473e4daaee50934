"""What the demo shows while the agents decide: a live table on a terminal, a sample of lines elsewhere.

Rules upheld here: what is shown is what was read from Kafka, and nothing else; text from events cannot steer the
terminal. Not here: reading (`demo_live`).
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jurat.agents.shop_views import CUSTOMERS
from jurat.audit.record import DecisionRecord
from jurat.cli.subscribe import VERDICT_COLOURS, explained
from jurat.schemas.decision import Decision, Verdict
from jurat.schemas.shown import printable

LIVE_ROWS: Final = 14
ROWS_BELOW: Final = 20
"""Lines of a terminal that headings, notable rows and counters need; the live rows take what is left."""

NOTABLE_ROWS: Final = 6
"""Decisions that are not plainly allowed are few, and would scroll away among the others."""

SAMPLE_EVERY: Final = 20
"""Of the plainly allowed decisions, elsewhere than on a terminal."""

REFRESH_PER_S: Final = 8


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision event and the audit record that left with it."""

    decision: Decision
    record: DecisionRecord

    @property
    def was_reconsidered(self) -> bool:
        """Whether something else was proposed, and refused, before."""
        return len(self.record.proposals) > 1

    @property
    def is_notable(self) -> bool:
        """Whether it is more than a first proposal that was allowed."""
        return self.was_reconsidered or self.decision.verdict is not Verdict.ALLOW

    @property
    def knew_the_customer(self) -> bool:
        """Whether the customer's profile was there to be read."""
        return any(read.name == CUSTOMERS.name and read.uri for read in self.record.context)

    def refused(self) -> list[str]:
        """What was refused before: the action, how often, and by which policies."""
        refusals = Counter(
            (each.action, ", ".join(each.policies) or "no policy that permits it")
            for each in self.record.proposals[:-1]
        )
        return [
            f"{action}{f' ({count} times)' if count > 1 else ''} by {policies}"
            for (action, policies), count in refusals.items()
        ]


@dataclass(slots=True)
class Tally:
    """Counters of what was decided."""

    verdicts: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    reconsidered: Counter[str] = field(default_factory=Counter)

    def add(self, decided: Decided) -> None:
        """Count one decision."""
        self.verdicts[decided.decision.agent, decided.decision.verdict] += 1
        self.reconsidered[decided.decision.agent] += decided.was_reconsidered

    def of(self, verdict: Verdict) -> int:
        """How many decisions have this verdict."""
        return sum(count for (_agent, which), count in self.verdicts.items() if which is verdict)

    def table(self) -> Table:
        """The counters by agent and verdict."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("agent", min_width=18)
        for verdict in Verdict:
            table.add_column(Text(verdict.value, style=VERDICT_COLOURS[verdict]), justify="right")
        table.add_column("reconsidered", justify="right")
        for agent in sorted({agent for agent, _verdict in self.verdicts}):
            counts = (str(self.verdicts[agent, verdict]) for verdict in Verdict)
            table.add_row(agent, *counts, str(self.reconsidered[agent]))
        return table


class Board(Protocol):
    """Where decisions are shown."""

    tally: Tally

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        ...

    def add(self, decided: Decided) -> None:
        """Show a decision."""
        ...


class LiveBoard:
    """The latest decisions and the counters, drawn anew several times a second."""

    def __init__(self, console: Console) -> None:
        self.tally = Tally()
        self._rows: deque[Decided] = deque(maxlen=max(3, min(LIVE_ROWS, console.height - ROWS_BELOW)))
        self._notable: deque[Decided] = deque(maxlen=NOTABLE_ROWS)
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=REFRESH_PER_S,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw a last time and leave it there."""
        self._live.stop()

    def add(self, decided: Decided) -> None:
        """Show a decision, and forget the oldest one of its kind."""
        self.tally.add(decided)
        (self._notable if decided.is_notable else self._rows).append(decided)

    def _draw(self) -> Group:
        table = Table(box=None, expand=True, padding=(0, 1, 0, 0))
        for name, ratio in (
            ("verdict", None),
            ("agent", None),
            ("about", None),
            ("action", None),
            ("why", 1),
        ):
            table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=ratio)
        for decided in tuple(self._rows):
            table.add_row(*_cells(decided))
        if self._notable:
            table.add_row()
        for decided in tuple(self._notable):
            table.add_row(*_cells(decided))
        return Group(table, Text(), self.tally.table())


class LineBoard:
    """A line for each decision that is not plainly allowed, and for some of the others."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._plain = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print the counters."""
        if error is None:
            console = Console(width=100, highlight=False)
            console.print()
            console.print(self.tally.table())

    def add(self, decided: Decided) -> None:
        """Print a decision, or let it pass."""
        self.tally.add(decided)
        decision = decided.decision
        if not decided.is_notable:
            self._plain += 1
            if self._plain % SAMPLE_EVERY != 1:
                return
        verdict = click.style(f"{decision.verdict.value:<8}", fg=VERDICT_COLOURS[decision.verdict])
        about = f"{decision.agent:<18} {printable(decision.subject):<20} {decision.action:<16}"
        click.echo(f"  {verdict} {about} {printable(_why(decided))}")


def _cells(decided: Decided) -> tuple[Text, ...]:
    decision = decided.decision
    return (
        Text(decision.verdict.value, style=VERDICT_COLOURS[decision.verdict]),
        Text(decision.agent),
        Text(printable(decision.subject)),
        Text(decision.action),
        Text(printable(_why(decided))),
    )


def _why(decided: Decided) -> str:
    first = f"first refused: {'; '.join(decided.refused())} | " if decided.was_reconsidered else ""
    return first + "; ".join(explained(decided.decision))

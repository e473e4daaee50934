"""By what a past decision is judged again: on what was used then, or on what would have been used.

Rules upheld here:
1. **as recorded**, a bundle is asked exactly what was asked then;
2. **simulated**, it is asked the same, but for what was used of its budgets: that is what its own decisions took
   before, in the windows of one agent and one partition, as a worker has them. A bundle with other budgets than the
   recorded one can so be tried;
3. what a bundle allows takes at the moment of the decision, unless it is known to have been a dry run; what it denies
   or escalates takes nothing: what people would have said is not known;
4. a decision that people were asked about is decided once: an answer to what this bundle would not have asked is not
   judged. Where it would have asked, the answer of then counts;
5. what was not asked for takes what its record says that it took, so that windows begin as they were;
6. what cannot be told is not guessed: it is not judged, and says why.

Not here: comparing and counting (`backtest.py`), windows (`usage.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final, Protocol, TypeAlias

from jurat.policies.backtest_past import NotJudged, PastDecision, Why
from jurat.policies.backtest_report import Said, Usage
from jurat.policies.engine import PolicyEngine
from jurat.policies.request import Budget, Judgement, UsageUnknownError
from jurat.policies.usage import MAX_TAKES, Window
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import PolicyInputError
from jurat.schemas.moments import parse_moment

MAX_PARTITIONS: Final = 10_000
"""Partitions of agents with windows: a deployment has some hundred, a hostile log any number. What is beyond is not
judged."""

MAX_ENDED: Final = 100_000
"""Decisions that people were asked about and this bundle would not have, the latest: far more than wait for people at
once. An answer to an older one is judged."""

MAX_EXPIRED: Final = 500
"""Actions that leave a window in one turn, beside the one that comes."""


class Judging(Protocol):
    """Judges past decisions by one bundle, one after the other; `usage` is where what was used is from."""

    usage: ClassVar[Usage]

    def judge(self, record: PastDecision, cannot: Why) -> Said | NotJudged:
        """Judge one again; `cannot` is why it is not judged where the bundle has no words for it."""
        ...

    def pass_by(self, record: PastDecision) -> None:
        """Take note of one that was not asked for."""
        ...


JudgingBy: TypeAlias = Callable[[PolicyEngine], Judging]
"""How past decisions are judged by a bundle: `AsRecorded` or `Simulated`."""


class AsRecorded:
    """Judges on what was used then. Satisfies `Judging`; the order of the records does not matter."""

    usage: ClassVar = Usage.RECORDED

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine

    def judge(self, record: PastDecision, cannot: Why) -> Said | NotJudged:
        """Judge one again, on exactly what was asked then."""
        try:
            judgement = self._engine.rejudge(record.normalised)
        except PolicyInputError as error:
            return NotJudged(Why.MALFORMED, str(error), record.place)
        return _said(record, judgement, cannot)

    def pass_by(self, record: PastDecision) -> None:
        """Take no note: windows are as recorded."""


class Simulated:
    """Judges on what this bundle's own decisions would have used. Satisfies `Judging`.

    The records of a chain come in its order, those of an agent's partition in that of the log.
    """

    usage: ClassVar = Usage.SIMULATED

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine
        self._shares: dict[tuple[str, int], _Share] = {}
        self._ended: dict[str, None] = {}

    def judge(self, record: PastDecision, cannot: Why) -> Said | NotJudged:
        """Judge one again, told what would have been used; what it allows takes."""
        share = self._share(record)
        if not share.follows(record):
            return NotJudged(Why.OUT_OF_ORDER, f"it has the number {record.seq} of its chain", record.place)
        if record.about in self._ended:
            return NotJudged(Why.NOT_ASKED, f"it answers {record.about}", record.place)
        now = parse_moment(record.time)
        try:
            judgement = self._engine.rejudge_told(record.normalised, share, now=now)
        except PolicyInputError as error:
            return NotJudged(Why.MALFORMED, str(error), record.place)
        said = self._told(record, judgement, cannot)
        self._remember(record, said)
        if isinstance(said, Said) and said.verdict is Verdict.ALLOW and record.effective:
            for charge in judgement.charges:
                share.take(charge.budget, charge.key, charge.amount, name=record.about, at=now)
        return said

    def pass_by(self, record: PastDecision) -> None:
        """Take what the record took, of those budgets that this bundle still has."""
        share = self._share(record)
        if not share.follows(record):
            return
        budgets = self._engine.bundle.budgets.by_name
        for took in record.took:
            budget = budgets.get(took.budget)
            if budget is not None and (budget.by, budget.of, budget.window) == (
                took.by,
                took.of,
                took.window,
            ):
                share.take(budget, took.key, took.amount, name=record.about, at=parse_moment(record.time))

    def _told(self, record: PastDecision, judgement: Judgement, cannot: Why) -> Said | NotJudged:
        action = judgement.normalised["action"]
        name = action.get("id") if isinstance(action, dict) else None
        counting = self._engine.bundle.budgets.of_action.get(str(name), ())
        if len(judgement.charges) < len(counting) and "unfit" not in record.normalised:
            return NotJudged(Why.NO_USAGE, "; ".join(judgement.errors), record.place)
        return _said(record, judgement, cannot)

    def _share(self, record: PastDecision) -> _Share:
        where = (record.agent, record.partition)
        share = self._shares.get(where)
        if share is None:
            share = _Share(record.partition, is_full=len(self._shares) >= MAX_PARTITIONS)
            if not share.is_full:
                self._shares[where] = share
        return share

    def _remember(self, record: PastDecision, said: Said | NotJudged) -> None:
        """Remember that people would not have been asked about it, while their answer may still come."""
        waits = isinstance(said, Said) and said.verdict is Verdict.ESCALATE
        if record.said.verdict is Verdict.ESCALATE and not waits:
            while len(self._ended) >= MAX_ENDED:
                del self._ended[next(iter(self._ended))]
            self._ended[record.about] = None


@dataclass(slots=True)
class _Share:
    """What one agent's partition took of a bundle's budgets; satisfies `UsageSource`."""

    partition: int
    is_full: bool
    windows: dict[str, Window] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)

    def follows(self, record: PastDecision) -> bool:
        """Whether a record comes after those of its chain that were seen; it is then the latest."""
        if record.seq <= self.latest.get(record.chain, -1):
            return False
        self.latest[record.chain] = record.seq
        return True

    def used(self, budget: Budget, key: str | None, *, now: datetime) -> int:
        """What was taken of a budget here.

        Raises:
            UsageUnknownError: it cannot be told, or this partition has no share.
        """
        if self.is_full:
            raise UsageUnknownError(f"got more than {MAX_PARTITIONS} partitions of agents, expected fewer")
        if budget.shares is not None and self.partition >= budget.shares:
            raise UsageUnknownError(f"got partition {self.partition}, expected one below {budget.shares}")
        return self._window(budget).used(key, now=now)

    def take(self, budget: Budget, key: str | None, amount: int, *, name: str, at: datetime) -> None:
        """Take of a budget; `name` takes once. Nothing fits into a full window, and `used` says so."""
        window = self._window(budget)
        if amount and (len(window) < MAX_TAKES or window.gives_way(at)):
            window.take(name, key=key, amount=amount, at=at)
            window.expire(most=MAX_EXPIRED)

    def _window(self, budget: Budget) -> Window:
        return self.windows.setdefault(budget.name, Window(budget.window))


def _said(record: PastDecision, judgement: Judgement, cannot: Why) -> Said | NotJudged:
    if judgement.evaluated:
        return Said(judgement.verdict, judgement.policies, (*judgement.reasons, *judgement.errors))
    why = Why.UNFIT if "unfit" in record.normalised else cannot
    return NotJudged(why, "; ".join(judgement.errors), record.place)

"""Calls of one partition as its journal holds them in memory, and which of them answers a question.

Rules upheld here: a finished call is found again whichever attempt it was made in; an answer is never that of another
event, nor a tool's to other arguments; a call that was under way when a worker ended is told once. Not here: the
protocol (`journal.py`), the bytes (`journal_entry.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from jurat.agents.reasoner import Spent
from jurat.agents.reasoner_spending import NOTHING, together
from jurat.streams.journal_entry import CallKey, Entry, Kind

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Held:
    """One call in memory.

    Attributes:
        entry: what is known of it.
        made: whether the reasoner may have been asked.
        unwritten: the answer's bytes, while the journal is not known to hold them.
        told: whether it was counted as possibly paid twice.
    """

    entry: Entry
    made: bool = False
    unwritten: bytes | None = None
    told: bool = False

    @property
    def unanswered(self) -> bool:
        """Whether nobody knows if it was paid for."""
        return self.made and self.entry.kind in (Kind.INTENT, Kind.USE)


def finished_call(calls: Mapping[CallKey, Held], intent: Entry, *, ask: int) -> tuple[CallKey, Held] | None:
    """The call that answers a question, if one has."""
    found: tuple[CallKey, Held] | None = None
    for key, held in calls.items():
        # Of whichever attempt: an input that failed may come back with a lower count, if it was not committed.
        if key.ask != ask or not held.entry.kind.finished or not _alike(held.entry, intent):
            continue
        if held.entry.event != intent.event:
            log.warning(
                "the journal holds call=%s for another event at this offset, which is not used; was the topic made"
                " anew?",
                held.entry.call_id,
            )
        elif found is None or key.attempt >= found[0].attempt:
            found = key, held
    return found


def tell_unanswered(calls: Mapping[CallKey, Held], intent: Entry, *, ask: int) -> bool:
    """Whether a call before this one may have been paid for; each of those is told once."""
    unanswered = [
        held
        for key, held in calls.items()
        if key.ask == ask and held.unanswered and not held.told and _alike(held.entry, intent)
    ]
    for held in unanswered:
        held.told = True
        log.warning(
            "possibly paid twice: call=%s of %s was under way when a worker ended, and is made again as call=%s",
            held.entry.call_id,
            held.entry.asked_at,
            intent.call_id,
        )
    return bool(unanswered)


def wasted(calls: Mapping[CallKey, Held], *, ask: int) -> Spent:
    """What earlier attempts at a question took that got no answer."""
    took = NOTHING
    for key, held in calls.items():
        if key.ask == ask and held.entry.kind is Kind.UNAVAILABLE and held.entry.spent is not None:
            took = together(took, held.entry.spent.spent)
    return took


def _alike(entry: Entry, intent: Entry) -> bool:
    """Whether an entry answers the same: a reasoner's does whatever it was asked, a tool's by its arguments."""
    if entry.kind.of_tool != intent.kind.of_tool:
        return False
    return not entry.kind.of_tool or entry.request == intent.request

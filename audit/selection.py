"""Which records are asked for: by time, agent, end, subject and policy.

Rules upheld here: everything that is asked for must hold; a record says for itself what it is about and under which
policy it was decided, and nothing else is looked at. Times are the record's own, by the worker's clock, and never
Kafka's: those are not signed, so that whoever sets them could hide a record.

Not here: reading the log, and what cannot be read as a record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from jurat.audit.record import DecisionRecord, Outcome
from jurat.schemas.decision import Verdict

VERDICT_OF: Final = {
    Outcome.DECIDED: Verdict.ALLOW,
    Outcome.DENIED: Verdict.DENY,
    Outcome.ESCALATED: Verdict.ESCALATE,
}
"""The verdict of the decision event that a record was emitted with; the other ends have none."""

_DIGEST_START: Final = re.compile(r"[0-9a-f]{8,64}")
"""As much of a bundle's digest as names one: eight digits are what commands print."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is asked for; None for whatever there is.

    Attributes:
        since: the first moment, in the form of a record's `time`, which sorts by time.
        until: the first moment that is not asked for any more, in the same form.
        agent: the agent's name.
        outcome: how the input ended.
        verdict: the decision's; records without a decision have none.
        subject: the id of what was acted on, or the key of something that was looked up.
        policy: a policy's id in any proposal's verdict, a bundle's name, or the first 8 or more digits of its digest.
    """

    since: str | None = None
    until: str | None = None
    agent: str | None = None
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    subject: str | None = None
    policy: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == EVERYTHING

    def __call__(self, record: DecisionRecord) -> bool:
        """Tell whether a record is asked for."""
        return (
            self.agent in (None, record.agent)
            and self.outcome in (None, record.outcome)
            and (self.since is None or record.time >= self.since)
            and (self.until is None or record.time < self.until)
            and (self.verdict is None or VERDICT_OF.get(record.outcome) is self.verdict)
            and (self.subject is None or self.subject in subjects(record))
            and (self.policy is None or _is_under(record, self.policy))
        )


EVERYTHING: Final = Selection()


def resource(record: DecisionRecord) -> tuple[str, str] | None:
    """Type and id of what the proposals acted on, as the policies were told; None where they were told of none."""
    uid = record.policy.input.get("resource") if record.policy is not None else None
    if isinstance(uid, dict) and isinstance(uid.get("type"), str) and isinstance(uid.get("id"), str):
        return uid["type"], uid["id"]
    return None


def subjects(record: DecisionRecord) -> tuple[str, ...]:
    """What a record is about: the id of what was acted on first, then the keys of what was looked up."""
    acted_on = resource(record)
    return (*(acted_on[1:] if acted_on else ()), *(read.key for read in record.context))


def _is_under(record: DecisionRecord, policy: str) -> bool:
    if any(policy in judged.policies for judged in record.proposals):
        return True
    used = record.policy
    if used is None:
        return False
    return used.bundle == policy or bool(_DIGEST_START.fullmatch(policy) and used.digest.startswith(policy))

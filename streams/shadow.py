"""The other bundle: judges beside the one that decides, and changes nothing.

Rules upheld here: it is asked exactly what decided, the normalised input that stands in the record, so that whoever has
both bundles gets both verdicts again; whatever goes wrong in it is written beside and counted, and never disturbs the
decision. What it would have let a reasoner propose next, had it refused, is not asked. Not here: who is the shadow
(`policy_feed.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from jurat.audit.kept import kept_errors
from jurat.audit.shadow_verdict import ShadowVerdict
from jurat.policies.engine import PolicyEngine
from jurat.policies.request import Judgement
from jurat.schemas.decision import Verdict


class Compared(StrEnum):
    """How the shadow's judgement and the real one compare."""

    SAME = "same"
    REASONS = "reasons"
    """The same verdict, by other policies."""
    VERDICT = "verdict"
    ERROR = "error"
    """The shadow could not be evaluated."""


class ShadowMeters(Protocol):
    """Counts how shadow and decision compare."""

    def shadow_judged(self, compared: str) -> None:
        """The shadow was asked."""
        ...


@dataclass(frozen=True, slots=True)
class Shadow:
    """A bundle whose verdicts are recorded.

    Attributes:
        engine: who judges beside.
        meters: who counts.
    """

    engine: PolicyEngine
    meters: ShadowMeters

    def beside(self, real: Judgement) -> ShadowVerdict:
        """Judge what was judged; never raises."""
        try:
            judged = self.engine.rejudge(real.normalised)
            verdict = self._recorded(judged)
        except Exception as error:  # noqa: BLE001 - whatever it is, the decision must not suffer from it
            judged = Judgement(Verdict.DENY, (), (), errors=(f"{type(error).__name__}: {error}",))
            verdict = self._recorded(judged)
        self.meters.shadow_judged(_compared(judged, real).value)
        return verdict

    def _recorded(self, judged: Judgement) -> ShadowVerdict:
        return ShadowVerdict(
            digest=self.engine.digest,
            verdict=judged.verdict,
            policies=judged.policies,
            errors=kept_errors(judged.errors),
        )


def _compared(judged: Judgement, real: Judgement) -> Compared:
    if judged.errors:
        return Compared.ERROR
    if judged.verdict is not real.verdict:
        return Compared.VERDICT
    return Compared.SAME if judged.policies == real.policies else Compared.REASONS

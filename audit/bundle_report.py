"""What a bundle is worth, as the verifier tells it. Pure.

Specified in `docs/spec/bundle.md`. Not here: the checks (`bundle_verifier.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from jurat.audit.log import Fault, WitnessedHead
from jurat.audit.verifier_report import Finding, LogVerdict


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a bundle is worth.

    Attributes:
        records: how many it holds.
        proved: how many of them are in the log, under a checkpoint that the quorum saw.
        rejudged: of how many the policies said the same again.
        withheld: how many are veiled and not disclosed: what they hide was not checked.
        erased: how many are veiled and not disclosed, as a signed statement of their erasure says why.
        is_recipe: whether `VERIFY.md` is word for word what this release writes.
        findings: what was found, the worst first; none where it is valid.
        faults: what does not hold, the first of it.
        heads: by partition, the latest checkpoint that the quorum saw.
    """

    records: int
    proved: int
    rejudged: int
    withheld: int
    erased: int
    is_recipe: bool
    findings: tuple[Finding, ...]
    faults: tuple[Fault, ...]
    heads: tuple[WitnessedHead, ...]

    @property
    def verdict(self) -> LogVerdict:
        """The worst of the findings."""
        return self.findings[0].verdict if self.findings else LogVerdict.VALID

    def to_json(self) -> dict[str, object]:
        """The report as JSON types."""
        return {
            "verdict": self.verdict.value,
            "records": self.records,
            "proved": self.proved,
            "evaluatedAgain": self.rejudged,
            "notDisclosed": self.withheld,
            "erased": self.erased,
            "recipeIsKnown": self.is_recipe,
            "findings": [
                {"verdict": one.verdict.value, "count": one.count, "first": str(one.first)}
                for one in self.findings
            ],
            "faults": [{"place": str(fault.place), "reason": fault.reason} for fault in self.faults],
            "heads": [
                {"partition": head.partition, "size": head.size, "root": head.root.hex(), "time": head.time}
                for head in self.heads
            ],
        }

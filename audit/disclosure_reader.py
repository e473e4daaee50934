"""Reading a log of veiled records: each is unveiled where its disclosures are at hand. Pure.

Rules upheld here: a record whose disclosures are at hand is read by them or is at fault; one that was erased says so by
a signed statement; what else is not disclosed is withheld, and how many are is told. Not here: where disclosures come
from (`jurat.streams.evidence_reading`, `disclosure_file.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from jurat.audit.disclosure import Disclosure, unveil
from jurat.audit.record import Statement


class Disclosed(Protocol):
    """Who has disclosures."""

    def of(self, decision_id: str) -> tuple[Disclosure, ...] | None:
        """The disclosures of a record; None where there are none.

        Raises:
            DisclosureInvalid: what stands there is not what was sealed.
        """
        ...


@dataclass(frozen=True, slots=True)
class VeilCounts:
    """Veiled records of a log.

    Attributes:
        disclosed: read by their disclosures.
        erased: without any, and an erasure says why.
        withheld: without any, or with others than they commit to.
    """

    disclosed: int = 0
    erased: int = 0
    withheld: int = 0

    @property
    def veiled(self) -> int:
        """How many are veiled."""
        return self.disclosed + self.erased + self.withheld

    def to_json(self) -> dict[str, int]:
        """As JSON types."""
        return {"disclosed": self.disclosed, "erased": self.erased, "withheld": self.withheld}


@dataclass(frozen=True, slots=True)
class Unveiler:
    """Lifts veils.

    Attributes:
        disclosed: who has disclosures; None where nobody has.
        erased: ids of decisions of which verified statements say that their disclosures were destroyed.
        erasures: these statements, as they stand.
    """

    disclosed: Disclosed | None = None
    erased: Collection[str] = frozenset()
    erasures: tuple[bytes, ...] = ()

    def lift(self, statement: Statement) -> Statement:
        """The statement with its values, where they are at hand; as it is otherwise.

        Raises:
            DisclosureInvalid: its disclosures are not those that it commits to.
            RecordInvalid: its values make no record.
        """
        if not statement.is_veiled or self.disclosed is None:
            return statement
        found = self.disclosed.of(statement.predicate.decision_id)
        return statement if found is None else unveil(statement, found)

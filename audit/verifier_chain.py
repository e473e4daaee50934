"""The verifier's checks of one chain against its earlier records. Pure.

The checks, by their numbers in `verifier.py`: 7. the chain stays in one partition, `seq` and `prev` follow, and its
inputs are of the log's cluster; 8. no input of it was recorded before; 12. what decides again follows an escalation
that nothing concluded; 15. every input has a record. Memory: two bits for each input.

Not here: what one record says (`verifier_record.py`), budgets (`usage.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from jurat.audit.chain import ChainHead, check_link
from jurat.audit.input_manifest import InputsHeld
from jurat.audit.record import GENESIS, Outcome
from jurat.audit.verifier_record import Facts
from jurat.schemas.errors import ChainBroken

PAGE_BITS: Final = 4096
"""Inputs are remembered in pages of this many bits: 512 bytes, so that far-apart offsets cost little."""

MAX_TOLD: Final = 10
"""Missing inputs of one stretch that are told one by one; the others are counted."""


class OffsetSet:
    """Offsets of one chain's inputs: one bit each."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def __contains__(self, offset: int) -> bool:
        number, bit = divmod(offset, PAGE_BITS)
        page = self._pages.get(number)
        return page is not None and bool(page[bit >> 3] & 1 << (bit & 7))

    def __len__(self) -> int:
        return sum(int.from_bytes(page, "little").bit_count() for page in self._pages.values())

    def add(self, offset: int) -> None:
        """Take an offset in."""
        number, bit = divmod(offset, PAGE_BITS)
        self._pages.setdefault(number, bytearray(PAGE_BITS // 8))[bit >> 3] |= 1 << (bit & 7)

    def discard(self, offset: int) -> None:
        """Leave an offset out."""
        number, bit = divmod(offset, PAGE_BITS)
        page = self._pages.get(number)
        if page is not None:
            page[bit >> 3] &= ~(1 << (bit & 7))
            if not any(page):
                del self._pages[number]


@dataclass(slots=True)
class Chain:
    """What is known of one chain.

    Attributes:
        partition: where it stands on the audit topic.
        seen: offsets of inputs that have a record.
        escalated: offsets of inputs that were escalated and not concluded since: dry runs, which a record does not tell
            from others, never are.
    """

    partition: int
    next_seq: int = 0
    prev: str = GENESIS
    seen: OffsetSet = field(default_factory=OffsetSet)
    escalated: OffsetSet = field(default_factory=OffsetSet)

    def follow(self, partition: int, facts: Facts) -> None:
        """Go on with the next record: 7.

        Raises:
            ChainBroken: it does not go here.
        """
        if partition != self.partition:
            raise ChainBroken(
                f"the chain {facts.chain} stands in partition {self.partition}, got a record of it in another"
            )
        seq, prev = self.next_seq, self.prev
        # After a break the chain is followed from here, so that one missing record is one fault.
        self.next_seq, self.prev = facts.seq + 1, facts.digest
        if facts.seq != seq or facts.prev != prev:
            check_link(ChainHead(seq, prev), facts)

    def take(self, offset: int) -> None:
        """An input has a record: 8.

        Raises:
            ChainBroken: it had one.
        """
        if offset in self.seen:
            raise ChainBroken(
                f"the input at offset {offset} has a record already, expected one for each input"
            )
        self.seen.add(offset)


class Chains:
    """The chains of a log."""

    def __init__(self) -> None:
        self._chains: dict[str, Chain] = {}
        self._cluster: str | None = None

    def follow(self, partition: int, facts: Facts) -> Chain:
        """Go on with the chain of a record: 7.

        Raises:
            ChainBroken: the record does not go here.
        """
        chain = self._chains.get(facts.chain)
        if chain is None:
            chain = self._chains[facts.chain] = Chain(partition)
        chain.follow(partition, facts)
        self._cluster = self._cluster or facts.clusters[0]
        if facts.clusters != (self._cluster,):
            raise ChainBroken(
                f"got a record about inputs of the cluster {' and '.join(facts.clusters)}, expected all of"
                f" {self._cluster}: chains of another cluster's log bear the same names"
            )
        return chain

    def conclude(self, facts: Facts) -> None:
        """Check what a record decides again, or remember what it escalates: 12.

        Raises:
            ChainBroken: that was not escalated, or was concluded already.
        """
        if facts.about is None:
            if facts.outcome is Outcome.ESCALATED:
                self._chains[facts.chain].escalated.add(facts.offset)
            return
        if not facts.outcome.has_decision:
            return
        name, offset, uri = facts.about
        first = self._chains.get(name)
        if first is None or offset not in first.escalated:
            raise ChainBroken(
                f"got a record that decides {uri} again, which was not escalated before, or was concluded already"
            )
        if facts.outcome is not Outcome.ESCALATED:
            first.escalated.discard(offset)

    def missing(self, held: InputsHeld) -> tuple[list[int], int]:
        """Inputs that have no record: 15.

        Returns:
            The first of their offsets, and how many there are.
        """
        chain = self._chains.get(held.chain)
        told: list[int] = []
        count = 0
        for first, last in held.offsets:
            for offset in range(first, last + 1):
                if chain is None or offset not in chain.seen:
                    count += 1
                    if len(told) < MAX_TOLD:
                        told.append(offset)
        return told, count

    def names(self) -> set[str]:
        """The names of chains that have a record."""
        return set(self._chains)

    def has(self, name: str) -> bool:
        """Whether a chain of this name has a record."""
        return name in self._chains

    def open(self) -> int:
        """How many inputs were escalated and not concluded."""
        return sum(len(chain.escalated) for chain in self._chains.values())

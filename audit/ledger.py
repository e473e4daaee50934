"""Decision events against records: each has the other, once.

A record's subject is the digest of the decision event that left with it. The ledger is told of both sides in
any order and keeps only what has not met its partner: 32 bytes and a place each.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from jurat.audit.log import Fault, Place


class DecisionLedger:
    """Matches decision events with the records that name them."""

    def __init__(self) -> None:
        self._events: dict[str, Place] = {}
        self._records: dict[str, Place] = {}
        self._repeats: list[Place] = []
        self.events = 0

    def add_event(self, place: Place, value: bytes) -> None:
        """A decision event stands at this place."""
        self.events += 1
        digest = sha256(value).hexdigest()
        if self._records.pop(digest, None) is not None:
            return
        if digest in self._events:
            self._repeats.append(place)
        else:
            self._events[digest] = place

    def add_record(self, place: Place, digest: str) -> None:
        """A verified record at this place names a decision event."""
        if self._events.pop(digest, None) is None:
            self._records[digest] = place

    def faults(self) -> Iterator[Fault]:
        """What did not meet its partner, once both sides are complete."""
        for place in self._records.values():
            yield Fault(place, "its decision event is missing, or holds other bytes than were signed")
        for place in (*self._events.values(), *self._repeats):
            yield Fault(place, "a decision event that no record proves: changed, added or repeated")

"""Decision events against records: each has the other, once.

A record's subject is the digest of the decision event that left with it. The ledger is told of both sides in
any order and keeps only what has not met its partner: 32 bytes and a place each. Of a veiled record that is not
disclosed the digest is not known: as many decision events as there are such records may stand without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from jurat.audit.log import Fault, Place

_UNPROVEN = "a decision event that no record proves: changed, added or repeated"


class DecisionLedger:
    """Matches decision events with the records that name them."""

    def __init__(self) -> None:
        self._events: dict[str, Place] = {}
        self._records: dict[str, Place] = {}
        self._repeats: list[Place] = []
        self._withheld = 0
        self._erased = 0
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

    def add_withheld(self) -> None:
        """A verified record names a decision event, but it is veiled and not disclosed."""
        self._withheld += 1

    def add_erased(self) -> None:
        """The same, and what it says was erased: the decision event may be gone as well."""
        self._erased += 1

    def faults(self) -> Iterator[Fault]:
        """What did not meet its partner, once both sides are complete."""
        for place in self._records.values():
            yield Fault(place, "its decision event is missing, or holds other bytes than were signed")
        unmet, veiled = tuple(self._events.values()), self._withheld + self._erased
        if len(unmet) < self._withheld:
            yield Fault(
                Place(),
                f"{self._withheld} records are veiled and not disclosed, but only {len(unmet)} decision events have no"
                " other record: some are missing",
            )
        elif len(unmet) > veiled > 0:
            yield Fault(
                unmet[0],
                f"{len(unmet)} decision events, this among them, have no record that is disclosed, but only {veiled}"
                " are veiled: some were changed or added",
            )
        elif not veiled:
            yield from (Fault(place, _UNPROVEN) for place in unmet)
        yield from (Fault(place, _UNPROVEN) for place in self._repeats)

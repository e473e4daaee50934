"""Heads that somebody outside vouches for: noted earlier, or witnessed. Pure.

Rules upheld here: when a tree has the size of such a head, it has the head's root, or the log was rewritten or forked;
a head beyond the log's end says that the end was cut off. T of a record is the earliest moment at which a quorum had
seen a tree that holds it: the least time of all heads larger than its index.

Heads are known before the log is read, as T is asked for record by record. They take some 100 bytes each. Not here:
whose signatures a head needs (`tlog_policy.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from jurat.audit.log import Fault, Place, TreeHead, WitnessedHead
from jurat.audit.merkle import EMPTY_ROOT, Frontier
from jurat.audit.verifier_report import Check
from jurat.schemas.errors import ProofInvalid

NEVER: Final = 2**62
"""No tree has this size."""


@dataclass(slots=True)
class _Roots:
    """The heads of one partition, by size; `met` is how many of the sizes the tree has reached."""

    by_size: dict[int, set[bytes]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    met: int = 0

    @property
    def next_size(self) -> int:
        return self.sizes[self.met] if self.met < len(self.sizes) else NEVER


class Heads:
    """Heads that a log has to meet.

    Args:
        heads: partition, size and root of each.
        check: which check they belong to.
        story: says of one that is not met what is known of it; begins a sentence.
    """

    def __init__(self, heads: Iterable[TreeHead | WitnessedHead], *, check: Check, story: str) -> None:
        self._check = check
        self._story = story
        self._partitions: dict[int, _Roots] = {}
        for head in heads:
            roots = self._partitions.setdefault(head.partition, _Roots())
            roots.by_size.setdefault(head.size, set()).add(head.root)
        for roots in self._partitions.values():
            if roots.by_size.get(0) == {EMPTY_ROOT}:
                del roots.by_size[0]  # every log begins so
            roots.sizes = sorted(roots.by_size)
            roots.met = 1 if roots.sizes[:1] == [0] else 0

    def grown(self, partition: int, tree: Frontier) -> None:
        """A partition's tree has one more leaf.

        Raises:
            ProofInvalid: a head of this size has another root.
        """
        roots = self._partitions.get(partition)
        if roots is None or tree.size != roots.next_size:
            return
        roots.met += 1
        root = tree.root()
        if roots.by_size[tree.size] != {root}:
            raise ProofInvalid(
                f"the first {tree.size} records have the root {root.hex()}, but {self._story} another one: the log was"
                " rewritten or forked"
            )

    def faults(self, topic: str | None, sizes: dict[int, int]) -> Iterator[Fault]:
        """The heads that the log does not reach, at its end.

        Args:
            topic: the log's topic.
            sizes: the sizes of its trees.
        """
        for partition, roots in sorted(self._partitions.items()):
            unmet = [0] if 0 in roots.by_size else []
            for size in (*unmet, *roots.sizes[roots.met :]):
                yield Fault(
                    Place(topic, partition),
                    f"{self._story} a head of {size} records, but the log holds {sizes.get(partition, 0)}: its end"
                    " was cut off",
                    self._check.value,
                )


class Times:
    """T of records, from witnessed heads."""

    def __init__(self, heads: Iterable[WitnessedHead]) -> None:
        self._sizes: dict[int, list[int]] = {}
        self._times: dict[int, list[int | None]] = {}
        by_partition: dict[int, list[tuple[int, int | None]]] = {}
        for head in heads:
            by_partition.setdefault(head.partition, []).append((head.size, head.time))
        for partition, found in by_partition.items():
            found.sort(key=lambda one: one[0])
            least: int | None = None
            times: list[int | None] = []
            for _size, time in reversed(found):
                least = time if least is None or (time is not None and time < least) else least
                times.append(least)
            self._sizes[partition] = [size for size, _time in found]
            self._times[partition] = times[::-1]

    def covers(self, partition: int, index: int) -> bool:
        """Whether a witnessed head covers the record with this index in the tree."""
        sizes = self._sizes.get(partition)
        return sizes is not None and sizes[-1] > index

    def of(self, partition: int, index: int) -> int | None:
        """T of the record with this index; None where no head covers it, or none has a time."""
        sizes = self._sizes.get(partition)
        if sizes is None or sizes[-1] <= index:
            return None
        return self._times[partition][bisect_right(sizes, index)]

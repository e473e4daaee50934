"""What tests of notaries share: logs of made-up entries, keys, witnesses in memory, policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jurat.audit import checkpoint, cosignature, merkle, note, tlog_policy
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.log_key import LogKey
from jurat.audit.merkle import Tree, leaf_hash
from jurat.audit.note import Note, NoteSignature
from jurat.audit.origin import Origin
from jurat.schemas.errors import WitnessConflict, WitnessUnavailable

KEY = LogKey(bytes(range(32)))
ORIGIN = Origin("example.com", "MkU3OEVBNTcwNTJENDM2Qk", "audit.decisions", 0)
TIME = 1_770_000_000


def entries(count: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(count)]


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries(count)]


def tree_of(hashes: Sequence[bytes]) -> Tree:
    tree = Tree()
    for leaf in hashes:
        tree.append(leaf)
    return tree


def head_of(count: int) -> Checkpoint:
    return Checkpoint(str(ORIGIN), count, tree_of(leaves(count)).root())


def policy_of(
    witnesses: Sequence[str] = (), *, quorum: str = "none", key: LogKey = KEY
) -> tlog_policy.TlogPolicy:
    """Knows the log of each partition, and these witnesses; `quorum` may name one, or say how many."""
    logs = [
        vkey
        for number in range(6)
        for vkey in key.log_vkeys(str(Origin(ORIGIN.org, ORIGIN.cluster_id, ORIGIN.topic, number)))
    ]
    lines = [f"log {vkey}" for vkey in logs]
    lines += [f"witness {name} {InMemoryWitness(name).vkey}" for name in witnesses]
    if quorum.isdecimal():
        lines.append(f"group enough {quorum} {' '.join(witnesses)}")
        quorum = "enough"
    return tlog_policy.parse(("\n".join([*lines, f"quorum {quorum}"]) + "\n").encode())


def signed_by(head: Checkpoint, *, key: LogKey = KEY, witnesses: Sequence[tuple[str, int]] = ()) -> bytes:
    """A checkpoint with its log's signatures and those of witnesses, each with its time."""
    made = note.sign(head.print(), name=head.origin, key=key.ed25519(head.origin))
    own = cosignature.cosign_mldsa(made.text, name=head.origin, key=key.mldsa(head.origin), time=TIME)
    others = [InMemoryWitness(name).cosign(made.text, time) for name, time in witnesses]
    return Note(made.text, (*made.signatures, own, *others)).print()


@dataclass
class InMemoryWitness:
    """A witness that checks what it is asked as the specification says.

    Attributes:
        away: it does not answer.
        asked: the old size of each request.
    """

    name: str
    away: bool = False
    asked: list[int] = field(default_factory=list)
    seen: dict[str, Checkpoint] = field(default_factory=dict)

    @property
    def key(self) -> LogKey:
        return LogKey(merkle.leaf_hash(self.name.encode()))

    @property
    def vkey(self) -> str:
        return self.key.witness_vkeys(self.name)[0]

    def cosign(self, text: str, time: int) -> NoteSignature:
        return cosignature.cosign_ed25519(text, name=self.name, key=self.key.ed25519(self.name), time=time)

    async def add_checkpoint(
        self, *, old_size: int, proof: Sequence[bytes], signed: bytes
    ) -> tuple[NoteSignature, ...]:
        self.asked.append(old_size)
        if self.away:
            raise WitnessUnavailable(f"{self.name} is away")
        text = note.parse(signed).text
        head = checkpoint.parse(text)
        last = self.seen.get(head.origin, Checkpoint(head.origin, 0, merkle.EMPTY_ROOT))
        if old_size != last.size or (last.size == head.size and last.root != head.root):
            raise WitnessConflict(f"{self.name} has seen {last.size}", size=last.size)
        if last.size:
            merkle.verify_consistency(last.size, head.size, last.root, head.root, proof)
        self.seen[head.origin] = head
        return (self.cosign(text, TIME + head.size),)

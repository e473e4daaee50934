"""A log of made-up leaves that asks witnesses: its checkpoints, signed, and proofs between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from jurat.audit import note
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.log_key import LogKey
from jurat.audit.merkle import Tree, leaf_hash
from jurat.audit.witness import AddCheckpoint, Witness

ORIGIN = "audit.example.com/c1/audit.decisions/0"
LOG = LogKey(bytes(32))
WITNESS = LogKey(bytes([1]) * 32)
NAME = "witness.example.org/w1"
NOW = 1_800_000_000


def witness(*origins: str) -> Witness:
    """A witness that knows these logs, else the one of `ORIGIN`."""
    known = [note.ed25519_verifier(name, LOG.ed25519(name).public_key) for name in origins or (ORIGIN,)]
    return Witness(NAME, WITNESS, known)


@dataclass(slots=True)
class MadeLog:
    """A log whose leaves are numbers; `salt` makes another history."""

    origin: str = ORIGIN
    salt: bytes = b""
    tree: Tree = field(default_factory=Tree)

    def grow(self, size: int) -> MadeLog:
        """Append leaves until there are this many."""
        while self.tree.size < size:
            self.tree.append(leaf_hash(self.salt + b"%d" % self.tree.size))
        return self

    def checkpoint(self, size: int) -> bytes:
        """The signed checkpoint of the first leaves."""
        text = Checkpoint(self.origin, size, self.grow(size).tree.root(size)).print()
        return note.sign(text, name=self.origin, key=LOG.ed25519(self.origin)).print()

    def request(self, old: int, size: int) -> bytes:
        """The request to go on from one size to another."""
        signed = self.checkpoint(size)
        proof = () if old in (0, size) else tuple(self.tree.consistency(old, size))
        return AddCheckpoint(old, proof, signed).print()

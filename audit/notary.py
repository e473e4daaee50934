"""The notary of one log: leaves in, checkpoints out, and nothing signed that contradicts what was signed before. Pure.

Rules upheld here:

1. a notary that begins with a checkpoint of its own signs nothing until its tree has that checkpoint's size and root;
2. it never signs a smaller tree than it signed before;
3. a checkpoint with its key's signature that it did not make is a fork: `LogForked`, for whoever runs it to end;
4. a checkpoint is due after a second with new leaves, at once with 1,000 of them, and after 30 s without any, so that
   one sees that the notary lives; an empty log has one a second after it was opened: a log that is hidden has none;
5. memory: 64 bytes for each leaf beyond the base, the size from which on it proves; whoever runs it moves the base on.

Not here: Kafka (`jurat.streams.notary`), witnesses, the clock (a parameter).

Specified in `docs/spec/log.md`. Source: https://c2sp.org/tlog-checkpoint
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from jurat.audit import checkpoint, cosignature, note
from jurat.audit.checkpoint import HASH_SIZE, Checkpoint
from jurat.audit.log_key import LogKey
from jurat.audit.merkle import Tree
from jurat.audit.note import Note, Verifier
from jurat.audit.origin import Origin
from jurat.schemas import b64
from jurat.schemas.errors import LogForked, NoteInvalid

CHECKPOINT_LEAVES: Final = 1_000
CHECKPOINT_S: Final = 1.0
IDLE_S: Final = 30.0
"""When a checkpoint is due: the design's figures. The first bounds what a fork could hide, the second how long a record
is without proof, the third how long a dead notary goes unnoticed."""

MAX_REMEMBERED: Final = 10_000
"""Checkpoints that it knows to be its own: some hours of them, in two megabytes. What is smaller cannot be told."""

_RESUME: Final = re.compile(
    r"(?P<origin>[^ ]{1,255}) [0-9]{1,19} (?P<size>[0-9]{1,19}) (?P<edge>[A-Za-z0-9+/=]*) [A-Za-z0-9+/]{43}="
)


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a notary goes on reading.

    Attributes:
        size: how many leaves stand before it.
        edge: of their tree (`Tree.edge`).
        offset: of the partition.
    """

    size: int = 0
    edge: tuple[bytes, ...] = ()
    offset: int = 0

    def print(self, origin: str, key: LogKey) -> str:
        """Print it as the text beside a group's offset: at most 3,029 characters, as the edge has at most 63 hashes."""
        text = f"{origin} {self.offset} {self.size} {b64.encode(b''.join(self.edge))}"
        return f"{text} {b64.encode(key.mac(origin, text.encode()))}"


def parse_resume(text: str, *, offset: int, key: LogKey) -> tuple[str, Resume]:
    """Read what `Resume.print` prints: the log's name, and where its notary goes on.

    Args:
        text: as it stands beside the offset.
        offset: the group's.
        key: the secret of the notary.

    Raises:
        NoteInvalid: it is not of that form, not of this offset, or not of this key.
    """
    found = _RESUME.fullmatch(text)
    if found is not None:
        with suppress(ValueError, NoteInvalid):
            size, raw = checkpoint.parse_size(found["size"]), b64.decode(found["edge"])
            edge = tuple([raw[at : at + HASH_SIZE] for at in range(0, len(raw), HASH_SIZE)])
            resume = Resume(size, edge, offset)
            if len(raw) == HASH_SIZE * size.bit_count() and resume.print(found["origin"], key) == text:
                return found["origin"], resume
    raise NoteInvalid(
        f"got {text[:60]!r} beside a notary's offset {offset}, expected a log, this offset, a size and the edge of its"
        " tree, with this notary's own code over them"
    )


class Notary:
    """Signs the checkpoints of one log.

    Args:
        origin: the log.
        key: the secret that its keys are made of.
        resume: where it goes on reading.
        last: the last checkpoint that it published, None for a new log.

    Attributes:
        tree: all leaves so far.
        published: how many leaves the last published checkpoint has.

    Raises:
        LogForked: what it is to go on with does not fit the last checkpoint.
    """

    def __init__(
        self, origin: Origin, key: LogKey, *, resume: Resume | None = None, last: Checkpoint | None = None
    ) -> None:
        self.origin = str(origin)
        self._ed25519, self._mldsa = key.ed25519(self.origin), key.mldsa(self.origin)
        self.verifiers = verifiers(key, origin)
        start = resume or Resume()
        self._last = last
        self.published = 0 if last is None else last.size
        if start.size > self.published:
            raise LogForked(
                f"{self.origin}: the group's offset stands behind {start.size} leaves, but the last checkpoint has"
                f" {self.published}: checkpoints were removed from the topic. Restore it: signing on would be a fork",
                origin=self.origin,
            )
        self.tree = Tree(start.size, start.edge)
        self._own: dict[int, bytes] = {} if last is None else {last.size: last.root}
        self._own_since = self.published
        self._published_at: float | None = None
        self._empty_since: float | None = None
        self._check_restored()

    def append(self, leaf: bytes) -> None:
        """Take a leaf hash in.

        Raises:
            LogForked: with it the tree has the size of the last checkpoint, but another root.
        """
        self.tree.append(leaf)
        if self._last is not None and self.tree.size == self._last.size:
            self._check_restored()

    @property
    def is_restored(self) -> bool:
        """Whether it knows all leaves of the last checkpoint again."""
        return self.tree.size >= self.published

    def is_due(self, now: float) -> bool:
        """Whether a checkpoint is to be made.

        Args:
            now: monotonic seconds.
        """
        if not self.is_restored:
            return False
        if self._published_at is None:
            if self._empty_since is None:
                self._empty_since = now
            return self.tree.size > 0 or now - self._empty_since >= CHECKPOINT_S
        new, since_s = self.tree.size - self.published, now - self._published_at
        return new >= CHECKPOINT_LEAVES or since_s >= (CHECKPOINT_S if new else IDLE_S)

    def sign(self, time: int) -> Note:
        """Make the checkpoint of all leaves so far.

        Args:
            time: seconds since the Epoch.

        Returns:
            A note with the log's two signatures: Ed25519, and the ML-DSA-44 cosignature.

        Raises:
            LogForked: not all leaves of the last checkpoint are known again.
        """
        if not self.is_restored:
            raise LogForked(
                f"{self.origin}: got a log of {self.tree.size} leaves, expected the {self.published} that were signed",
                origin=self.origin,
            )
        head = Checkpoint(self.origin, self.tree.size, self.tree.root())
        self._own[head.size] = head.root
        if len(self._own) > MAX_REMEMBERED:
            self._own_since = next(iter(self._own))
            del self._own[self._own_since]
        signed = note.sign(head.print(), name=self.origin, key=self._ed25519)
        second = cosignature.cosign_mldsa(signed.text, name=self.origin, key=self._mldsa, time=time)
        return Note(signed.text, (*signed.signatures, second))

    def publishing(self, size: int, now: float) -> None:
        """Note that a checkpoint of so many leaves is published."""
        self.published, self._published_at = size, now

    def check_seen(self, signed: bytes) -> None:
        """Look at a checkpoint that stands on a topic of checkpoints.

        Raises:
            LogForked: this log's key signed it, but this notary did not. Of one that is smaller than those that are
                remembered nothing is said.
            NoteInvalid: it is no checkpoint.
            SignatureInvalid: this log's key did not sign it.
        """
        head = own_checkpoint(signed, self.verifiers, self.origin)
        own = self._own.get(head.size)
        if own != head.root and (own is not None or head.size > self._own_since):
            raise LogForked(
                f"{self.origin}: got a checkpoint for {head.size} leaves with the root {head.root.hex()}, signed with"
                " the key of this log, but this notary did not make it: somebody else has the key, or another notary"
                " reads another log under this name",
                origin=self.origin,
            )

    def _check_restored(self) -> None:
        last = self._last
        if last is None or self.tree.size != last.size:
            return
        root = self.tree.root()
        if root != last.root:
            raise LogForked(
                f"{self.origin}: the first {last.size} records of the log have the root {root.hex()}, but"
                f" {last.root.hex()} was signed: the log was rewritten, or it is another one. Nothing more is signed",
                origin=self.origin,
            )


def verifiers(key: LogKey, origin: Origin) -> tuple[Verifier, ...]:
    """The keys of a log's two signatures."""
    return tuple([cosignature.verifier_of(vkey) for vkey in key.log_vkeys(str(origin))])


def own_checkpoint(signed: bytes, known: tuple[Verifier, ...], origin: str) -> Checkpoint:
    """Read a checkpoint that a log signed, with one of its keys at least.

    Raises:
        NoteInvalid: it is no checkpoint of this log.
        SignatureInvalid: none of the keys signed it, or one of them did not make its signature.
    """
    head = checkpoint.parse(note.verify(signed, known)[0].text)
    if head.origin != origin:
        raise NoteInvalid(f"got a checkpoint of {head.origin[:300]!r}, expected one of {origin!r}")
    return head

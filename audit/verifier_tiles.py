"""Logs as tiles: whether their files are those of their checkpoints, and whose checkpoints these are. Pure.

Tiles hold no records, only who signed which digest. So these are the checks that need no more, by their numbers in
`verifier.py`: 2. a head noted earlier is met; 3. the checkpoint is signed by a known log and seen by enough witnesses,
and every file is that of the tree that it names; 4, as far as it goes: the key of every entry is trusted. The report
says of all others that they were not run.

Not here: the records (an export or the topic has them), folders (a function from path to bytes is a parameter).

Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from jurat.audit import checkpoint, note, origin, tiles
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.history import History
from jurat.audit.keys import Trust
from jurat.audit.log import Fault, Place, TreeHead
from jurat.audit.merkle import Tree, record_leaf
from jurat.audit.tlog_policy import TlogPolicy
from jurat.audit.verifier_report import NOT_GIVEN, Check, Findings, LogVerdict, Report, no_checkpoint
from jurat.schemas import b64, canonical
from jurat.schemas.errors import AuditError, CanonicalError, KeyNotFound, ProofInvalid, RecordInvalid

Fetch = Callable[[str], bytes]
"""Gives the bytes of a path of one log."""

NO_RECORDS: Final = "tiles hold no records"
"""Why all other checks are not run."""


class TilesVerifier:
    """Verifies logs as tiles, one after the other.

    Args:
        trust: the trusted keys.
        policy: which logs and witnesses are known; None where nobody says, and then nothing is proved.
        tree_heads: heads noted earlier.
    """

    def __init__(
        self, trust: Trust, policy: TlogPolicy | None, *, tree_heads: Iterable[TreeHead] = ()
    ) -> None:
        self._trust = trust
        self._history = None if policy is None else History(policy)
        self._noted = tuple(tree_heads)
        self._findings = Findings()
        self._agents: Counter[str] = Counter()
        self._heads: list[TreeHead] = []
        self._entries = self._covered = 0

    def add(self, fetch: Fetch) -> None:
        """Check the files of a log; what does not hold is kept for the report."""
        place = Place()
        try:
            signed = fetch(tiles.CHECKPOINT)
            head = checkpoint.parse(note.parse(signed).text)
            named = origin.parse(head.origin)
            place = replace(place, topic=named.topic, partition=named.partition)
            tree = tiles.read(fetch, head)  # 3
            self._heads.append(TreeHead(named.partition, head.size, head.root))
            self._check_entries(fetch, head, place)  # 4
            self._check_noted(tree, named.partition)  # 2
            is_witnessed = self._history is not None and self._history.add(signed) is not None  # 3
        except AuditError as error:
            self._findings.add(LogVerdict.INVALID, Fault(place, str(error), Check.WITNESSED.value))
            return
        self._entries += head.size
        if is_witnessed:
            self._covered += head.size
            return
        who = "whose checkpoint it is" if self._history is None else "whether enough witnesses saw it"
        fault = Fault(place, f"nothing tells {who}", Check.WITNESSED.value)
        self._findings.add(LogVerdict.UNPROVEN, fault, count=max(1, head.size))

    def report(self) -> Report:
        """Say what the logs are worth."""
        known = {head.partition for head in self._heads}
        for head in self._noted:  # 2
            if head.partition not in known:
                reason = (
                    f"a head of {head.size} records was noted earlier, but there are no tiles of this log"
                )
                self._findings.add(
                    LogVerdict.INVALID, Fault(Place(partition=head.partition), reason, Check.TREE.value)
                )
        for named in () if self._history is None else self._history.missing():  # 3
            self._findings.add(LogVerdict.INCOMPLETE, no_checkpoint(named))
        if not self._entries:
            self._findings.add(LogVerdict.UNPROVEN, Fault(Place(), "there are no entries: nothing to prove"))
        given = {Check.TREE: bool(self._noted), Check.WITNESSED: self._history is not None}
        return Report(
            records=self._entries,
            findings=self._findings.all(),
            outcomes={},
            agents=dict(sorted(self._agents.items())),
            tree_heads=tuple(sorted(self._heads, key=lambda head: head.partition)),
            decisions=None,
            not_run={
                check: NOT_GIVEN[check] if check in given else NO_RECORDS
                for check in Check
                if not given.get(check, False)
            },
            witnessed=None if self._history is None else self._covered,
            witnessed_until=None if self._history is None else self._history.witnessed_until(),
        )

    def _check_entries(self, fetch: Fetch, head: Checkpoint, place: Place) -> None:
        number = 0
        for path, width in tiles.bundles(head.size):
            for entry in tiles.parse_bundle(fetch(path), width):
                try:
                    key = self._trust.find(_keyid(entry))
                except (RecordInvalid, KeyNotFound) as error:
                    raise RecordInvalid(f"the entry {number} of {place.partition}: {error}") from error
                self._agents[key.agent] += 1
                number += 1

    def _check_noted(self, tree: Tree, partition: int) -> None:
        for head in self._noted:
            if head.partition != partition:
                continue
            if head.size > tree.size or tree.root(head.size) != head.root:
                raise ProofInvalid(
                    f"a head of {head.size} records was noted earlier with the root {head.root.hex()}, but the log of"
                    f" {tree.size} does not begin with it: it was cut or rewritten"
                )


def _keyid(entry: bytes) -> str:
    """The key of an entry that is in its one form.

    Raises:
        RecordInvalid: it is not.
    """
    try:
        match canonical.loads_object(entry):
            case {
                "keyid": str(keyid),
                "payloadSha256": str(digest),
                "payloadType": str(kind),
                "sig": str(sig),
            }:
                again = b64.encode(b64.decode(sig))
                made = record_leaf(keyid=keyid, payload_sha256=digest, payload_type=kind, sig=again)
                if made == entry and len(bytes.fromhex(digest)) == 32 and digest == digest.lower():
                    return keyid
    except (CanonicalError, ValueError) as error:
        raise RecordInvalid(f"got an entry that is not in its one form: {error}") from error
    raise RecordInvalid(
        "got an entry that is not in its one form, expected keyid, payloadSha256, payloadType, sig"
    )

"""The history of logs: the checkpoints that were published, read under a trust policy. Pure.

Rules upheld here: a checkpoint of a log that the policy does not name is passed over, as a topic may hold those of one
that ended; one that its log did not sign is refused, and so is a known key's wrong signature; sizes never fall; a log
that signed one size with two roots is a fork, whoever cosigned it; the known logs are the partitions of one topic. What
a checkpoint's own log says of the time counts for nothing: the time of a head is the moment at which the witnesses'
quorum was complete. A cosignature without a time (0) is none of the quorum.

Specified in `docs/spec/log.md`. Not here: whether the records are those of the heads (`verifier.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from jurat.audit import checkpoint, note, origin
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.log import WitnessedHead
from jurat.audit.origin import Origin
from jurat.audit.tlog_policy import NONE, TlogPolicy
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, LogForked, NoteInvalid

MAX_LINE_BYTES: Final = note.MAX_NOTE_BYTES + 100_000
"""A note as a JSON text: its line feeds are escaped."""

_NOTE: Final = "note"


class History:
    """Reads checkpoints in the order in which they were published.

    Args:
        policy: which logs and witnesses are known, and which of them are enough.

    Attributes:
        latest: by partition, the last head that was witnessed.
    """

    def __init__(self, policy: TlogPolicy) -> None:
        self._policy = policy
        self._named = frozenset(party.key.name for party in policy.logs)
        self._signed_by_a_log = replace(policy, quorum=NONE)
        self._last: dict[str, Checkpoint] = {}
        self._log: tuple[str, str, str] | None = None
        self.latest: dict[int, WitnessedHead] = {}

    def add(self, signed: bytes) -> WitnessedHead | None:
        """Take the next checkpoint.

        Returns:
            The head; None where too few witnesses signed it: a later one has to cover what it holds. None, too, for a
            log that the policy does not name.

        Raises:
            NoteInvalid: it is no checkpoint, of another topic's log, or smaller than the one before it.
            SignatureInvalid: its log did not sign it, or a known key's signature is wrong.
            LogForked: its log signed another root for this size.
        """
        if checkpoint.parse(note.parse(signed).text).origin not in self._named:
            return None
        witnessed = self._signed_by_a_log.check(signed)
        head, named = witnessed.head, origin.parse(witnessed.head.origin)
        self._check_log(named)
        last = self._last.get(head.origin)
        if last is not None and head.size < last.size:
            raise NoteInvalid(
                f"got a checkpoint of {head.origin} for {head.size} leaves after one for {last.size}, expected sizes"
                " that rise: the history was put in another order",
                origin=head.origin,
            )
        if last is not None and head.size == last.size and head.root != last.root:
            raise LogForked(
                f"{head.origin} signed two histories: for {head.size} leaves the root {last.root.hex()} and then"
                f" {head.root.hex()}",
                origin=head.origin,
            )
        self._last[head.origin] = head
        times = {name: time for name, time in witnessed.times.items() if time}  # 0 says nothing of when
        if not self._policy.witnessed(frozenset(times)):
            return None
        seen = WitnessedHead(named.partition, head.size, head.root, _complete(self._policy, times))
        self.latest[named.partition] = seen
        return seen

    def missing(self) -> tuple[Origin, ...]:
        """The logs of this topic that the policy names and of which no checkpoint came; even an empty one has one."""
        if self._log is None:
            return ()
        named = [
            origin.parse(name) for name in sorted(self._named - self._last.keys()) if origin.is_one(name)
        ]
        return tuple([one for one in named if (one.org, one.cluster_id, one.topic) == self._log])

    def witnessed_until(self) -> int | None:
        """How recent all of it is: the earliest of the times of the logs' latest witnessed heads; None without any."""
        times = [head.time for head in self.latest.values() if head.time is not None]
        return min(times) if times and len(times) == len(self.latest) else None

    def _check_log(self, named: Origin) -> None:
        log = (named.org, named.cluster_id, named.topic)
        self._log = self._log or log
        if log != self._log:
            raise NoteInvalid(
                f"got a checkpoint of {named}, expected one of {'/'.join(self._log)}: a history is of one topic"
            )


def _complete(policy: TlogPolicy, times: Mapping[str, int]) -> int | None:
    """The moment at which those who had signed by then were enough."""
    signed: set[str] = set()
    for name in sorted(times, key=lambda one: times[one]):
        if policy.witnessed(frozenset(signed)):
            break
        signed.add(name)
    return max((times[name] for name in signed), default=None)


def print_line(signed: bytes) -> bytes:
    """Print a checkpoint as a line of a history file, without the line feed.

    Raises:
        NoteInvalid: it is not of the form of a note.
    """
    note.parse(signed)
    return canonical.dumps({_NOTE: signed.decode()})


def parse_line(line: bytes, number: int) -> bytes:
    """Read a line of a history file.

    Args:
        line: with or without its line feed.
        number: its number in the file, from 1, for messages.

    Returns:
        The signed checkpoint, not verified.

    Raises:
        NoteInvalid: not exactly what `print_line` prints.
    """
    if len(line) > MAX_LINE_BYTES:
        raise NoteInvalid(
            f"line {number}: got {len(line)} bytes, expected at most {MAX_LINE_BYTES}", line=number
        )
    try:
        match canonical.loads_object(line.removesuffix(b"\n")):
            case {"note": str(text), **others} if not others:
                signed = text.encode()
                note.parse(signed)
                return signed
    except (CanonicalError, NoteInvalid) as error:
        raise NoteInvalid(f"line {number} is no checkpoint: {error}", line=number) from error
    raise NoteInvalid(f"line {number}: got other members than one text `{_NOTE}`", line=number)

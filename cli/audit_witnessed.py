"""The heads that a quorum of witnesses vouched for, read for `jurat audit verify`.

Rules upheld here: a checkpoint that does not hold is told, never passed over; the policy comes from whoever verifies,
never from where checkpoints stand.

Not here: which signatures are enough (`jurat.audit.tlog_policy`), comparing heads with the log
(`jurat.audit.verifier`).
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from jurat.audit import tlog_policy
from jurat.audit.history import History
from jurat.audit.log import Fault, Place, WitnessedHead
from jurat.audit.tlog_policy import TlogPolicy
from jurat.audit.verifier_report import Check
from jurat.cli.files import read_whole
from jurat.cli.log_entries import Connect, checkpoints_of
from jurat.schemas.errors import AuditError, PolicyFileInvalid


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The heads, the checkpoints that do not hold, and the history that they were read by."""

    heads: tuple[WitnessedHead, ...]
    faults: tuple[Fault, ...]
    history: History


def read_policy(file: Path) -> TlogPolicy:
    """Read a witness policy.

    Raises:
        ConfigurationError: the file cannot be read.
        PolicyFileInvalid: it is none; the message names the file and the line.
    """
    try:
        return tlog_policy.parse(read_whole(file, at_most=tlog_policy.MAX_POLICY_BYTES))
    except PolicyFileInvalid as error:
        raise PolicyFileInvalid(f"{file}: {error}", **error.details) from error


async def witnessed_heads(policy: Path, checkpoints: Path | None, connect: Connect) -> Witnessed:
    """Read the history of checkpoints under a policy: before the log, which so holds at least what they cover.

    Args:
        policy: which logs and witnesses are known, and which of them are enough: a c2sp.org/tlog-policy file.
        checkpoints: a history file; None for the topic.
        connect: says how to reach Kafka, and is called for the topic only.

    Raises:
        ConfigurationError: a file cannot be read.
        NoteInvalid: a line of the history is no checkpoint.
        PolicyFileInvalid: the policy is none.
        StreamError: the topic cannot be read.
    """
    known = History(read_policy(policy))
    where = "the topic" if checkpoints is None else checkpoints
    number = 0
    heads: list[WitnessedHead] = []
    faults: list[Fault] = []
    async with aclosing(checkpoints_of(checkpoints, connect)) as found:
        async for signed in found:
            number += 1
            try:
                head = known.add(signed)
            except AuditError as error:
                faults.append(
                    Fault(
                        Place(),
                        f"checkpoint {number} of {where} does not hold: {error}",
                        Check.WITNESSED.value,
                    )
                )
                continue
            if head is not None:
                heads.append(head)
    return Witnessed(tuple(heads), tuple(faults), known)

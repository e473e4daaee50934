"""The heads that a quorum of witnesses vouched for, read for `jurat audit verify`.

Rules upheld here: they are read before the log, which so holds at least what they cover; a checkpoint that does not
hold is told, never passed over; the policy comes from whoever verifies, never from where checkpoints stand.

Not here: which signatures are enough (`jurat.audit.tlog_policy`), comparing heads with the log
(`jurat.audit.verifier`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from jurat.audit import tlog_policy
from jurat.audit.history import MAX_LINE_BYTES, History, parse_line
from jurat.audit.log import Fault, Place, WitnessedHead
from jurat.audit.tlog_policy import MAX_POLICY_BYTES, TlogPolicy
from jurat.audit.verifier_report import Check
from jurat.cli.files import lines
from jurat.cli.log_entries import Connect
from jurat.schemas.errors import AuditError, ConfigurationError
from jurat.streams import notary_reading


def read_policy(file: Path) -> TlogPolicy:
    """Read a policy of logs and witnesses (c2sp.org/tlog-policy).

    Raises:
        ConfigurationError: it cannot be read.
        PolicyFileInvalid: it is none.
    """
    try:
        with file.open("rb") as opened:
            return tlog_policy.parse(opened.read(MAX_POLICY_BYTES + 1))
    except OSError as error:
        raise ConfigurationError(f"the witness policy {file} cannot be read: {error}") from error


async def witnessed_heads(
    policy: TlogPolicy, checkpoints: Path | None, connect: Connect
) -> tuple[list[WitnessedHead], list[Fault]]:
    """Read the history of checkpoints under a policy.

    Args:
        policy: which logs and witnesses are known, and which of them are enough.
        checkpoints: a history file; None for the topic.
        connect: says how to reach Kafka, and is called for the topic only.

    Returns:
        The heads; and the checkpoints that do not hold.

    Raises:
        ConfigurationError: the file cannot be read.
        StreamError: the topic cannot be read.
    """
    known = History(policy)
    heads: list[WitnessedHead] = []
    faults: list[Fault] = []
    async with aclosing(_signed(checkpoints, connect)) as found:
        async for place, signed in found:
            try:
                head = known.add(parse_line(signed, place.line) if place.line is not None else signed)
            except AuditError as error:
                faults.append(Fault(place, f"a checkpoint does not hold: {error}", Check.WITNESSED.value))
                continue
            if head is not None:
                heads.append(head)
    return heads, faults


async def _signed(checkpoints: Path | None, connect: Connect) -> AsyncGenerator[tuple[Place, bytes], None]:
    if checkpoints is not None:
        for number, line in lines(checkpoints, at_most=MAX_LINE_BYTES):
            yield Place(line=number), line
        return
    async with aclosing(notary_reading.history(connect())) as notes:
        async for signed in notes:
            yield Place(), signed

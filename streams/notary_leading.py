"""Leading a witness that is too far behind for a proof out of memory back to where its log is.

Rules upheld here: the log is read once from its beginning, in bounded memory; on the way the witness is given
checkpoints of the same tree, `STEP_LEAVES` apart, so that each proof is small. These are signed with the time 0, which
says that they are of this tree and not that it is the largest; they are published nowhere. Not here: when
(`notary_partition.py`).

Source: https://c2sp.org/tlog-cosignature, on the time 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from jurat.audit.log import LogEntry
from jurat.audit.log_key import LogKey
from jurat.audit.notary import Notary
from jurat.audit.origin import Origin
from jurat.audit.witnessing import Witness
from jurat.schemas.codec import SchemaIds
from jurat.streams.audit_entries import entry_of
from jurat.streams.kafka import Connection, TopicPartition
from jurat.streams.reading import Progress, read_to_end

log = logging.getLogger(__name__)

STEP_LEAVES: Final = 100_000
"""6.4 MB of hashes, and a second or two of reading between two requests."""

NO_TIME: Final = 0


async def lead(
    connection: Connection,
    witness: Witness,
    size: int,
    *,
    origin: Origin,
    key: LogKey,
    ids: SchemaIds | None,
    until: Callable[[], int],
) -> int:
    """Lead a witness on.

    Args:
        connection: the cluster.
        witness: whom to lead.
        size: how many leaves it cosigned last, one at least.
        origin: the log.
        key: the secret that its keys are made of.
        ids: a Schema Registry's ids, if one is configured.
        until: how many leaves are enough, at this moment.

    Returns:
        How many leaves it has cosigned now.

    Raises:
        AuditError: the witness refuses, or does not answer.
        StreamError: the log cannot be read.
    """
    notary, source = Notary(origin, key), TopicPartition(origin.topic, origin.partition)
    progress = Progress(f"{source.topic}, partition {source.partition}, for the witness {witness.name}")
    async with aclosing(read_to_end(connection, [source], progress=progress)) as records:
        async for record in records:
            entry = entry_of(record, ids)
            if not isinstance(entry, LogEntry):
                continue
            notary.append(entry.leaf())
            tree = notary.tree
            if tree.size <= size:
                tree.forget(tree.size)
            elif tree.size - size >= STEP_LEAVES or tree.size == until():
                signed = notary.sign(NO_TIME).print()
                await witness.add_checkpoint(old_size=size, proof=tree.consistency(size), signed=signed)
                size = tree.size
                tree.forget(size)
                log.info("witness led log=%s witness=%s leaves=%d", origin, witness.name, size)
                if size >= until():
                    break
    return size

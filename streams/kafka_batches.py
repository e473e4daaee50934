"""The client's reader, mended: a batch that compaction has emptied is passed over.

Kafka's cleaner removes the marker of an old transaction from a compacted topic, and keeps its batch, empty, for as long
as the producer's last sequence number matters. The client takes such a batch for a fault and raises: the partition
could not be read any more, by nobody. Rules upheld here: an emptied batch is no marker; every reader of this process is
mended, Faust's too. Not here: settings of readers (`kafka.py`).

Source: KAFKA-7467, mended alike in Kafka's own client (`containsAbortMarker`); aiokafka 0.14, `consumer/fetcher.py`.
"""

from __future__ import annotations

from typing import Any

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord

__all__ = ["contains_abort_marker", "pass_over_emptied_batches"]


def contains_abort_marker(_records: PartitionRecords, batch: Any) -> bool:
    """Whether a control batch says that its transaction was aborted; an emptied one says nothing.

    An aborted transaction with records that are still there keeps its marker, so nothing aborted comes to light.
    """
    marker = next(batch, None)
    return marker is not None and ControlRecord.parse(marker.key) == ABORT_MARKER


def pass_over_emptied_batches() -> None:
    """Mend the client's readers, of this process, from now on."""
    PartitionRecords._contains_abort_marker = contains_abort_marker  # noqa: SLF001 - there is no other way in

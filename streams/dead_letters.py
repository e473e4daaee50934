"""Dead letters: inputs that could not be decided, as they came, with the reason in headers.

The value, key and headers are the original ones; these headers are added:

======================  =====================================================
`jurat-error`           class of the error
`jurat-reason`          what was got, what was expected
`jurat-topic`           full name of the topic that it came from
`jurat-partition`       partition, in decimal
`jurat-offset`          offset, in decimal
======================  =====================================================
"""

from __future__ import annotations

from jurat.streams.kafka import KafkaRecord


def dead_letter_headers(record: KafkaRecord, *, error: str, reason: str) -> list[tuple[str, bytes]]:
    """The original headers and the ones that say what was wrong; older ones of ours are replaced."""
    ours = {
        "jurat-error": error,
        "jurat-reason": reason,
        "jurat-topic": record.topic,
        "jurat-partition": str(record.partition),
        "jurat-offset": str(record.offset),
    }
    kept = [(name, value) for name, value in record.headers if name not in ours]
    return [*kept, *((name, text.encode()) for name, text in ours.items())]

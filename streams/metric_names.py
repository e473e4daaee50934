"""Names of everything that a worker shows to Prometheus, with kind, help, unit and labels.

Rules upheld here: the prefix `jurat_`; base units (seconds, bytes) and the unit last, `_total` behind counters; labels
are few and bounded: the agent, topics and partitions, outcomes, and reasons, which are classes of errors; of bundles
those alone that judge now.

Not here: the numbers (`metrics.py`).

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The kinds of metrics that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name as it is scraped, what it says, its unit, and its labels besides `agent`."""

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()


_PARTITION: Final = ("topic", "partition")

INPUTS_FINISHED: Final = Metric(
    "jurat_inputs_finished_total",
    Kind.COUNTER,
    "Inputs that came to an end, by how they ended; each is committed later.",
    labels=("outcome",),
)
INPUTS_COMMITTED: Final = Metric("jurat_inputs_committed_total", Kind.COUNTER, "Inputs that are committed.")
DECISION_SECONDS: Final = Metric(
    "jurat_decision_duration_seconds",
    Kind.HISTOGRAM,
    "From an input being taken into work to its end, reasoner calls included.",
    "seconds",
)
COMMIT_SECONDS: Final = Metric(
    "jurat_commit_duration_seconds", Kind.HISTOGRAM, "Transactions that were committed.", "seconds"
)
ABORTED: Final = Metric(
    "jurat_transactions_aborted_total",
    Kind.COUNTER,
    "Transactions that were aborted, by the class of the error; nothing of them is visible, they are tried again.",
    labels=("why",),
)
REOPENED: Final = Metric(
    "jurat_partitions_reopened_total",
    Kind.COUNTER,
    "Partitions that failed and are opened anew, by the class of the error.",
    labels=("why",),
)
RETRIED: Final = Metric(
    "jurat_retries_total", Kind.COUNTER, "Failures that may pass: the input is parked and comes back."
)
DEAD_LETTERED: Final = Metric(
    "jurat_dead_letters_total", Kind.COUNTER, "Inputs that were rejected into the dead letters."
)
REUSED: Final = Metric(
    "jurat_reasoner_calls_reused_total",
    Kind.COUNTER,
    "Reasoner calls that were answered from the journal, not bought again.",
)
POSSIBLY_PAID_TWICE: Final = Metric(
    "jurat_reasoner_calls_possibly_paid_twice_total",
    Kind.COUNTER,
    "Reasoner calls and uses of tools that were begun before a crash, have no journalled answer, and were made again.",
)
RESTORED: Final = Metric(
    "jurat_restored_records_total", Kind.COUNTER, "Records that were read to open partitions."
)
RESTORE_SECONDS: Final = Metric(
    "jurat_restore_duration_seconds",
    Kind.HISTOGRAM,
    "Reading state and journal when a partition was opened.",
    "seconds",
)
OPEN: Final = Metric(
    "jurat_partition_open",
    Kind.GAUGE,
    "1 where an assigned partition is served, 0 while it is being opened.",
    labels=_PARTITION,
)
LAG: Final = Metric(
    "jurat_partition_lag_records",
    Kind.GAUGE,
    "Records of the partition that are not taken in yet.",
    "records",
    _PARTITION,
)
IN_FLIGHT: Final = Metric(
    "jurat_partition_in_flight_inputs", Kind.GAUGE, "Inputs in work at this moment.", "inputs", _PARTITION
)
OLDEST_SECONDS: Final = Metric(
    "jurat_partition_oldest_in_flight_seconds",
    Kind.GAUGE,
    "How long the oldest input in work has been in work; 0 without one.",
    "seconds",
    _PARTITION,
)
HELD_RECORDS: Final = Metric(
    "jurat_partition_held_records",
    Kind.GAUGE,
    "Inputs taken in and not finished, in work or waiting; without the parked ones.",
    "records",
    _PARTITION,
)
HELD_BYTES: Final = Metric(
    "jurat_partition_held_bytes",
    Kind.GAUGE,
    "Keys, values and headers of the inputs that are held, and 1,000 bytes for each.",
    "bytes",
    _PARTITION,
)
PARKED: Final = Metric(
    "jurat_partition_parked_records",
    Kind.GAUGE,
    "Inputs that wait for their next attempt, or behind one that does.",
    "records",
    _PARTITION,
)
TIMERS: Final = Metric(
    "jurat_partition_timers", Kind.GAUGE, "Timers that are set and not due.", labels=_PARTITION
)
SPAN: Final = Metric(
    "jurat_partition_offset_span_records",
    Kind.GAUGE,
    "Offsets from the lowest one not done to the last one taken in.",
    "records",
    _PARTITION,
)
PROGRESS_AGE_SECONDS: Final = Metric(
    "jurat_partition_progress_age_seconds",
    Kind.GAUGE,
    "Time since the partition last went on; says something only where inputs are held.",
    "seconds",
    _PARTITION,
)
JOINED: Final = Metric("jurat_worker_joined", Kind.GAUGE, "1 once the worker belongs to its group.")
TURN_AGE_SECONDS: Final = Metric(
    "jurat_worker_turn_age_seconds",
    Kind.GAUGE,
    "Time since the worker's loop last turned; below one second while all is well.",
    "seconds",
)

BROKER_SILENCE_SECONDS: Final = Metric(
    "jurat_worker_broker_silence_seconds",
    Kind.GAUGE,
    "Time since a broker last answered a fetch; below one second while all is well.",
    "seconds",
)

POLICY_REFUSED: Final = Metric(
    "jurat_policy_refused_total",
    Kind.COUNTER,
    "Records of the topic of policies, and activations, that were not obeyed, by the class of the error.",
    labels=("why",),
)
POLICY_BEHIND: Final = Metric(
    "jurat_policy_behind",
    Kind.GAUGE,
    "1 while another bundle decides than the one activated last, as that one could not be taken.",
)
POLICY_BUNDLE: Final = Metric(
    "jurat_policy_bundle_info", Kind.GAUGE, "1 for each bundle that judges.", labels=("mode", "digest")
)
SHADOW_JUDGED: Final = Metric(
    "jurat_shadow_judgements_total",
    Kind.COUNTER,
    "Decisions that a shadow judged beside, by how both compare: same, reasons, verdict, error.",
    labels=("outcome",),
)

METRICS: Final = (
    INPUTS_FINISHED,
    INPUTS_COMMITTED,
    DECISION_SECONDS,
    COMMIT_SECONDS,
    ABORTED,
    REOPENED,
    RETRIED,
    DEAD_LETTERED,
    REUSED,
    POSSIBLY_PAID_TWICE,
    RESTORED,
    RESTORE_SECONDS,
    OPEN,
    LAG,
    IN_FLIGHT,
    OLDEST_SECONDS,
    HELD_RECORDS,
    HELD_BYTES,
    PARKED,
    TIMERS,
    SPAN,
    PROGRESS_AGE_SECONDS,
    JOINED,
    TURN_AGE_SECONDS,
    BROKER_SILENCE_SECONDS,
    POLICY_REFUSED,
    POLICY_BEHIND,
    POLICY_BUNDLE,
    SHADOW_JUDGED,
)
"""Every metric of ours; beside them stand those of the process (`process_...`: CPU, memory, files)."""

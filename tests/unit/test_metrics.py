"""What is counted comes out as Prometheus reads it, names keep its rules, and the documentation names every one."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jurat.streams import metric_names
from jurat.streams.exposition import Exposition
from jurat.streams.metric_names import METRICS, Kind, Metric
from jurat.streams.metrics import MAX_REASONS, Meters, PartitionStatus, WorkerStatus
from tests.tree import ROOT

NOW = 1_000.0


def a_partition(**changes: object) -> PartitionStatus:
    values: dict[str, object] = {
        "topic": "commerce.orders",
        "partition": 3,
        "open": True,
        "lag": 11,
        "in_flight": 12,
        "oldest_in_flight_s": 13.5,
        "held_records": 14,
        "held_bytes": 15,
        "parked": 16,
        "timers": 17,
        "span": 18,
        "progress_at": NOW - 19,
    }
    return PartitionStatus(**(values | changes))  # type: ignore[arg-type]


def scraped(meters: Meters) -> dict[tuple[str, ...], float]:
    """Name and label values (sorted by label, `agent` left out) -> number, through Prometheus' own parser."""
    _content_type, page = Exposition(meters).page("")
    return {
        (
            sample.name,
            *(value for name, value in sorted(sample.labels.items()) if name != "agent"),
        ): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_what_is_counted_is_scraped() -> None:
    meters = Meters("fulfilment-router", clock=lambda: NOW)
    meters.finished("decided", 0.2)
    meters.finished("decided", 700.0)
    meters.finished("rejected", 0.001)
    meters.committed(3, 0.02)
    meters.aborted("BrokerUnreachable")
    meters.retried()
    meters.dead_lettered()
    meters.reused_call()
    meters.possibly_paid_twice()
    meters.reopened("PartitionFenced")
    meters.restored(100, 0.3)
    found = scraped(meters)
    assert found["jurat_inputs_finished_total", "decided"] == 2
    assert found["jurat_inputs_finished_total", "rejected"] == 1
    assert found["jurat_inputs_finished_total", "duplicate"] == 0
    assert found["jurat_decision_duration_seconds_bucket", "0.001"] == 1  # a bound is part of its bucket
    assert found["jurat_decision_duration_seconds_bucket", "0.25"] == 2
    assert found["jurat_decision_duration_seconds_bucket", "600.0"] == 2
    assert found["jurat_decision_duration_seconds_bucket", "+Inf"] == 3
    assert found[("jurat_decision_duration_seconds_count",)] == 3
    assert found[("jurat_decision_duration_seconds_sum",)] == pytest.approx(700.201)
    assert found[("jurat_inputs_committed_total",)] == 3
    assert found[("jurat_commit_duration_seconds_count",)] == 1
    assert found["jurat_transactions_aborted_total", "BrokerUnreachable"] == 1
    assert found["jurat_partitions_reopened_total", "PartitionFenced"] == 1
    assert found[("jurat_restored_records_total",)] == 100
    assert found[("jurat_restore_duration_seconds_sum",)] == pytest.approx(0.3)
    for name in (
        "jurat_retries_total",
        "jurat_dead_letters_total",
        "jurat_reasoner_calls_reused_total",
        "jurat_reasoner_calls_possibly_paid_twice_total",
    ):
        assert found[(name,)] == 1


def test_gauges_are_of_the_moment_of_the_scrape() -> None:
    now = NOW
    meters = Meters("fulfilment-router", clock=lambda: now)
    assert scraped(meters)[("jurat_worker_joined",)] == 0
    both = (a_partition(), a_partition(partition=4, open=False))
    meters.status = WorkerStatus(NOW, True, both, heard_at=NOW - 1)
    now = NOW + 2
    found = scraped(meters)
    where = ("3", "commerce.orders")
    assert found[("jurat_worker_joined",)] == 1
    assert found[("jurat_worker_turn_age_seconds",)] == 2
    assert found[("jurat_worker_broker_silence_seconds",)] == 3
    assert found["jurat_partition_open", *where] == 1
    assert found["jurat_partition_open", "4", "commerce.orders"] == 0
    assert [
        found[f"jurat_partition_{name}", *where]
        for name in (
            "lag_records",
            "in_flight_inputs",
            "oldest_in_flight_seconds",
            "held_records",
            "held_bytes",
            "parked_records",
            "timers",
            "offset_span_records",
            "progress_age_seconds",
        )
    ] == [11, 12, 13.5, 14, 15, 16, 17, 18, 21]
    meters.status = WorkerStatus(now, True)
    assert not [name for name in scraped(meters) if name[0].startswith("jurat_partition_")]


def test_reasons_are_bounded() -> None:
    meters = Meters("a")
    for n in range(MAX_REASONS * 2):
        meters.aborted(f"Reason{n}")
    meters.aborted("Reason0")
    found = {
        name[1]: value for name, value in scraped(meters).items() if name[0] == metric_names.ABORTED.name
    }
    assert len(found) == MAX_REASONS + 1
    assert found["other"] == MAX_REASONS
    assert found["Reason0"] == 2


def test_counting_while_somebody_scrapes() -> None:
    meters = Meters("a")
    exposition = Exposition(meters)
    faults: list[BaseException] = []

    def scrape() -> None:
        try:
            for _ in range(30):
                exposition.page("")
        except Exception as error:  # noqa: BLE001 - told below
            faults.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    done = 0
    while thread.is_alive() or done < 1_000:
        meters.finished("decided", 0.01)
        meters.reopened(f"Reason{done % 60}")  # adds labels while they are read
        done += 1
    thread.join()
    assert not faults
    assert scraped(meters)["jurat_inputs_finished_total", "decided"] == done


def test_metrics_of_the_process_stand_beside_ours() -> None:
    assert scraped(Meters("a"))[("process_resident_memory_bytes",)] > 0


def test_open_metrics_is_spoken_where_it_is_asked_for() -> None:
    content_type, page = Exposition(Meters("a")).page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_keep_prometheus_rules(metric: Metric) -> None:
    assert re.fullmatch(r"jurat_[a-z]+(_[a-z]+)*", metric.name)
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    assert not metric.unit or metric.name.removesuffix("_total").endswith(f"_{metric.unit}")
    assert metric.kind is not Kind.HISTOGRAM or metric.unit
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mb)(_|$)", metric.name)
    assert metric.help.endswith(".")
    # The bundles that judge now are two at most; what judged before is not shown.
    of_bundles = {"mode", "digest"} if metric is metric_names.POLICY_BUNDLE else set()
    assert set(metric.labels) <= {"outcome", "why", "topic", "partition"} | of_bundles


def test_every_metric_is_listed_and_printed() -> None:
    constants = {name: one for name, one in vars(metric_names).items() if isinstance(one, Metric)}
    assert sorted(one.name for one in constants.values()) == sorted({one.name for one in METRICS})
    _content_type, page = Exposition(Meters("a")).page("")
    assert {metric.name for metric in METRICS} <= set(
        re.findall(r"^# HELP (\S+)", page.decode(), flags=re.MULTILINE)
    )


def test_the_documentation_names_every_metric() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(jurat_\w+)`(?: \(([^)]*)\))? \| (\w+) \| (.+) \|$", text, flags=re.MULTILINE)
    listed = {name: (kind, labels.replace("`", ""), told) for name, labels, kind, told in rows}
    assert listed == {
        metric.name: (metric.kind.value, ", ".join(metric.labels), metric.help) for metric in METRICS
    }


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_the_documentation_names_no_metric_that_there_is_not(page: Path) -> None:
    printed = {metric.name for metric in METRICS}
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            printed |= {f"{metric.name}_{part}" for part in ("bucket", "count", "sum")}
    named = re.findall(r"\bjurat_[a-z_]*[a-z]\b", page.read_text(encoding="utf-8"))
    assert set(named) <= printed

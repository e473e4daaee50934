"""A worker's metrics as Prometheus reads them. The one module that imports prometheus_client.

Rules upheld here: every metric is printed with its help, also where there is no number yet; beside ours stand those of
the process (CPU, memory, open files). Not here: what is counted (`metrics.py`), who asks (`health.py`).

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from jurat.streams.metric_names import METRICS, Kind
from jurat.streams.metrics import Distribution, Meters

OPEN_METRICS: Final = "application/openmetrics-text"
"""What Prometheus asks for first; whoever does not name it gets the plain text format."""

_FAMILY_OF: Final = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


class Exposition:
    """Prints what a worker counts; safe to call from any thread.

    Args:
        meters: what it counts.
    """

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def page(self, accept: str) -> tuple[str, bytes]:
        """Everything that is known now.

        Args:
            accept: the request's `Accept` header, as it came.

        Returns:
            Content type and body.
        """
        # The library's own reading of the header fails on what is malformed, and sends parts of it back.
        encode, content_type = choose_encoder(
            f"{OPEN_METRICS}; version=1.0.0" if OPEN_METRICS in accept else ""
        )
        return content_type, encode(self._registry)

    def collect(self) -> Iterable[Family]:
        """The metric families; called by prometheus_client for each page."""
        families = {
            metric.name: _FAMILY_OF[metric.kind](metric.name, metric.help, labels=("agent", *metric.labels))
            for metric in METRICS
        }
        for sample in self._meters.samples():
            family = families[sample.metric.name]
            labels = (self._meters.agent, *sample.labels)
            if isinstance(sample.value, Distribution):
                buckets = [
                    ("+Inf" if math.isinf(bound) else repr(bound), float(count))
                    for bound, count in sample.value.buckets
                ]
                family.add_metric(labels, buckets, sample.value.sum_s)
            else:
                family.add_metric(labels, sample.value)
        return families.values()

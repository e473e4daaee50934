"""A short benchmark run on a real Kafka: it ends well and prints every figure. How large they are is not asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.__main__ import BY_NAME_ONLY, NAMES
from tests.retail_data import DB
from tests.tree import ROOT

if TYPE_CHECKING:
    from tests.broker_fixture import Kafka

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]
LIMIT_S = 500
"""Some 35 s on two idle cores; this is for a machine that does seven other things."""


def benchmarks(*words: str, address: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"JURAT_BOOTSTRAP_SERVERS": address}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_a_short_run_prints_every_figure_of_complete_runs(kafka: Kafka) -> None:
    done = benchmarks(*NAMES, *BY_NAME_ONLY, "--short", address=kafka.bootstrap_servers)
    assert done.returncode == 0, done.stderr
    machine, *parts = done.stdout.strip().split("\n\n")
    assert re.search(r"machine +\d+ cores", machine)
    assert "Kafka" in machine
    assert re.search(r"load +\d+\.\d+ \d+\.\d+ \d+\.\d+ at the start", machine)
    titles = [part.partition(":")[0] for part in parts]
    assert sorted(titles) == sorted((*NAMES, *BY_NAME_ONLY))
    figures = dict(zip(titles, parts, strict=True))
    throughput, startup = figures["throughput"], figures["startup"]
    # An incomplete run has no figure: see `run_worker` and `run_bare`, which count what was written.
    assert "1000 orders" in throughput
    for part in (throughput, startup):
        assert "jurat worker" in part
        assert "bare loop" in part
        assert re.search(r"ratio \d+\.\d", part)
    assert len(re.findall(r"\d us +-?\d+%", figures["breakdown"])) >= 14
    assert len(re.findall(r"\d% of the \d+\.\d us of Ed25519 alone$", figures["audit"], re.MULTILINE)) == 3
    assert len(re.findall(r"^  jurat audit verify --jobs .* MiB$", figures["audit"], re.MULTILINE)) == 3
    after_sales = figures["after-sales"]
    assert "200 requests" in after_sales if DB.is_file() else "SKIPPED" in after_sales
    assert "2000 state entries" in figures["restore"]
    assert len(re.findall(r" MiB$", figures["restore"], re.MULTILINE)) == 3
    assert len(re.findall(r"\d\.\d\d s$", figures["parallelism"], re.MULTILINE)) == 4
    for way in ("journalled", "not journalled"):
        assert re.search(rf"^  {way} +\d+ .* MiB$", figures["in-flight"], re.MULTILINE)
    assert len(re.findall(r"\d ms$", figures["latency"], re.MULTILINE)) == 6
    assert re.findall(r"^ +(\d+) +\d+\.\d\d ", figures["partitions"], re.MULTILINE) == ["1", "4"]
    assert re.search(r"504 policies over 12: \d\.\d\dx$", figures["policies"], re.MULTILINE)
    assert len(re.findall(r"\d\.\d\d$", figures["policies-space"], re.MULTILINE)) == 4
    assert len(re.findall(r"us: ratio \d\.\d\d$", figures["veiling"], re.MULTILINE)) == 2
    assert re.search(r"100% +0 ", figures["backlog"])
    assert re.search(r"\d times the least$", figures["backlog"])
    assert len(re.findall(r"\d +\d+ MiB$", figures["disputes"], re.MULTILINE)) == 2
    assert re.search(r"times the goal of 10000 an hour$", figures["disputes"])


def test_a_broker_that_is_not_there_is_no_figure() -> None:
    done = benchmarks("throughput", "--short", address="127.0.0.1:1")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "ratio" not in done.stdout


def test_judging_is_measured_without_a_broker() -> None:
    done = benchmarks("policies", "--short", address="127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "no Kafka" in done.stdout
    rows = re.findall(r"^  (.+?) +\d+\.\d +\d+\.\d +(\d+\.\d\d)x$", done.stdout, re.MULTILINE)
    assert rows[0][0] == "bare cedarpy, all of it parsed"
    assert len(rows) == 7


def test_action_spaces_are_measured_without_a_broker() -> None:
    done = benchmarks("policies-space", "--short", address="127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "no Kafka" in done.stdout
    rows = re.findall(r"^  (\w+) +\d+ +\d+ +\d+ +\d+\.\d+$", done.stdout, re.MULTILINE)
    assert set(rows) == {"refund_buyer", "partial_refund", "request_evidence", "retry_charge"}


def test_an_unknown_name_is_said() -> None:
    done = benchmarks("thruput", address="127.0.0.1:1")
    assert done.returncode == 2
    assert "thruput" in done.stderr

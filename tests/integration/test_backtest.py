"""`jurat policy backtest` on a real log: the topic and an export of it make the same report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jurat.policies import shipped_bundle
from tests.command import Shell

pytestmark = pytest.mark.integration

AGENTS = ("payment-retrier", "dispute-mediator")
LIMIT, LOWER = 50_000, 5_000


@pytest.fixture
def decided(shell: Shell) -> Shell:
    """A shop whose payments and disputes were decided."""
    shell.run("simulate", "--seed", "7", "--orders", "150", "--rate", "0")
    for agent in AGENTS:
        shell.run("worker", agent, "--until-idle", "200ms")
    return shell


def test_the_topic_and_an_export_make_the_same_report(decided: Shell, tmp_path: Path) -> None:
    bundle = tmp_path / "shop-next"
    shutil.copytree(shipped_bundle("shop"), bundle)
    rules = bundle / "disputes.cedar"
    rules.write_text(rules.read_text().replace(f"> {LIMIT}", f"> {LOWER}"))
    log = tmp_path / "log.jsonl"
    decided.run("audit", "replay", "--output", str(log))
    words = ("policy", "backtest", str(bundle), "--old", "shop", "--json", "--examples", "100")

    report = json.loads(decided.run(*words).stdout)
    assert report == json.loads(decided.run(*words, "--input", str(log)).stdout)

    decisions = [
        json.loads(line)
        for agent in AGENTS
        for line in decided.run(
            "subscribe",
            f"decisions.{agent}",
            "--from-beginning",
            "--until-idle",
            "200ms",
            "--format",
            "jsonl",
        ).stdout.splitlines()
    ]
    assert report["judged"] == len(decisions) > len(AGENTS)
    assert report["records"] == len(log.read_bytes().splitlines())
    assert report["notReproduced"]["decisions"] == 0
    # Known from the decision events alone: what was paid back, above the limit that is tried.
    refunds = [one for one in decisions if one["action"] in ("refund_buyer", "partial_refund")]
    expected = [
        one for one in refunds if one["verdict"] == "allow" and one["parameters"]["amount_minor"] > LOWER
    ]
    escalated = report["newlyEscalated"]
    assert {example["decisionId"] for example in escalated["examples"]} == {one["id"] for one in expected}
    assert expected
    assert escalated["decisions"] == len(expected)
    assert escalated["moneyMinor"] == {"EUR": sum(one["parameters"]["amount_minor"] for one in expected)}
    assert report["newlyAllowed"]["decisions"] == report["newlyDenied"]["decisions"] == 0

    alone: dict[str, Any] = json.loads(decided.run(*words, "--agent", "payment-retrier").stdout)
    assert alone["outside"] == sum(one["agent"] == "dispute-mediator" for one in decisions)
    assert alone["newlyEscalated"]["decisions"] == 0

"""`jurat notary run`: wrong usage is told before anything is asked of Kafka."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from jurat.cli.notary import command


def test_a_host_for_metrics_without_a_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JURAT_METRICS_PORT", raising=False)
    words = ["run", "--org", "example.com", "--bootstrap-servers", "nowhere:1", "--metrics-host", "::1"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 2
    assert "add --metrics-port or JURAT_METRICS_PORT" in result.output

"""`jurat notary run`: wrong usage is told before anything is asked of Kafka, and what it begins to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.audit.log_key_store import init_log_key
from jurat.cli import notary
from jurat.cli.notary import command


def test_a_host_for_metrics_without_a_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JURAT_METRICS_PORT", raising=False)
    words = ["run", "--org", "example.com", "--bootstrap-servers", "nowhere:1", "--metrics-host", "::1"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 2
    assert "add --metrics-port or JURAT_METRICS_PORT" in result.output


class _Nothing:
    published = 0

    def __init__(self, *_given: object) -> None: ...

    def stop(self) -> None: ...

    async def run(self) -> None: ...


def test_it_says_whose_logs_it_signs_and_whom_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JURAT_METRICS_PORT", "JURAT_KEYS_PASSPHRASE", "JURAT_LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(notary, "NotaryWorker", _Nothing)
    init_log_key(tmp_path, notary.NAME, None)
    words = [
        "run",
        "--org",
        "example.com",
        "--bootstrap-servers",
        "nowhere:1",
        "--keys",
        str(tmp_path),
        "--namespace",
        "test",
    ]
    told = CliRunner().invoke(command, words, catch_exceptions=False).stderr
    begins = (
        "signs the logs of test.audit.decisions at nowhere:1 for example.com; no witness is asked: its word"
    )
    assert told.startswith(begins)

"""The whole tutorial on a real Kafka, as somebody who reads it would type it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broker_fixture import Kafka
from tests.command import beside, new_shell
from tests.tutorial import Walk, part

pytestmark = pytest.mark.integration


def test_a_stranger_gets_from_nothing_to_a_signed_decision(kafka: Kafka, tmp_path: Path) -> None:
    shell = beside(new_shell(kafka.bootstrap_servers, "tutorial", tmp_path / "unused"), "tutorial")
    walk = Walk(
        tmp_path,
        {name: value for name, value in shell.environment.items() if name.startswith("JURAT_")}
        | {"JURAT_KEYS_DIR": str(tmp_path / "keys")},
    )
    walk.through([block for block in part(on_kafka=False) if block.language in {"console", "cedar", "yaml"}])
    walk.through(part(on_kafka=True))

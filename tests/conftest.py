"""Fixtures that every test may ask for."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.command import Shell, new_shell

if TYPE_CHECKING:
    from tests.broker_fixture import Kafka

pytest_plugins = ["tests.broker_fixture"]

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture
def shell(kafka: Kafka, tmp_path: Path, request: pytest.FixtureRequest) -> Shell:
    """A user's shell in a namespace of this test's own, so that tests never meet."""
    name = re.sub(r"[^A-Za-z0-9-]", "-", request.node.name)[:50]
    return new_shell(kafka.bootstrap_servers, f"{name}-{uuid.uuid4().hex[:8]}", tmp_path / "keys")


@pytest.fixture
async def quiet_loop() -> AsyncIterator[None]:
    """Nothing may be said to the event loop: futures nobody heard, tasks that were forgotten."""
    said: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _loop, context: said.append(f"{context['message']} {context.get('exception')!r}")
    )
    yield
    await asyncio.sleep(0.1)
    assert said == []

"""A notary that ends between two steps of its protocol: whoever goes on signs the same history."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from jurat.streams import topics
from jurat.streams.committing import Output, Transactions
from jurat.streams.kafka import TopicPartition
from jurat.streams.topic_admin import ensure_topics
from tests.command import Shell
from tests.notary_kafka import check, heads_of, notary_of, policy_for, trees, write
from tests.notary_stage import KEY, InMemoryWitness, policy_of
from tests.runtime_stage import until

pytestmark = pytest.mark.integration


class Killed(BaseException):
    """The end of the process, as far as this one can have it."""


async def dies(shell: Shell, monkeypatch: pytest.MonkeyPatch, when: str, witness: InMemoryWitness) -> None:
    """A notary that ends in or after the transaction that publishes."""
    commit = Transactions.commit

    async def ends(_producer: object) -> None:
        raise Killed

    async def killed(
        self: Transactions, outputs: Sequence[Output], offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        holds_something = any((one.key or b"").endswith(b"/0") for one in outputs)  # the other logs are empty
        if holds_something and when == "in":
            patched.setattr(self, "_end", ends)
        await commit(self, outputs, offsets)
        if holds_something:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Transactions, "commit", killed)
        worker = notary_of(shell, policy=policy_of(["w1"], quorum="w1"), witnesses=(witness,))
        running = asyncio.create_task(worker.run())
        try:
            await until(lambda: any(task.done() for task in worker._tasks.values()))
        finally:
            worker.stop()
            await asyncio.wait({running}, timeout=30)


@pytest.mark.parametrize("when", ["in", "after"])
async def test_whoever_goes_on_signs_the_same_history(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    await ensure_topics(shell.connection, [topics.AUDIT])
    logs, witness = await policy_for(shell, KEY), InMemoryWitness("w1")
    policy = replace(policy_of(["w1"], quorum="w1"), logs=logs.logs)
    await write(shell, range(7))
    await dies(shell, monkeypatch, when, witness)
    assert [head.size for head in witness.seen.values() if head.size] == [7], (
        "it has cosigned what may not be published"
    )
    await write(shell, range(7, 9))
    await notary_of(shell, policy=policy, witnesses=(witness,), until_idle_s=0.2).run()
    heads = await heads_of(shell, policy)
    check(heads, await trees(shell))
    assert [head.size for head in heads if head.size] == ([7, 9] if when == "after" else [9])

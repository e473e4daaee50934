"""What an agent remembers of a subject, read from its changelog: a copy, as of now.

Rules upheld here: read without a group and with `read_committed`, so that nobody's work is disturbed and nothing shows
that did not commit. Not here: writing it (`remembering.py`).
"""

from __future__ import annotations

from contextlib import aclosing

from pydantic import ValidationError

from jurat.agents.memory import NOTHING, Memory
from jurat.schemas.errors import StreamError
from jurat.streams import topics
from jurat.streams.kafka import Connection
from jurat.streams.reading import replay
from jurat.streams.state import MEMORY


async def read_memory(connection: Connection, agent: str, input_topic: str, key: str) -> Memory:
    """What an agent remembers of an event key; of several partitions that do, what was learned last.

    Args:
        connection: the cluster.
        agent: the agent's name.
        input_topic: full name of the topic that it listens to.
        key: the event key, the subject.

    Raises:
        StreamError: the changelog cannot be read, or holds something else there.
    """
    memories = await read_memories(connection, agent, input_topic, key)
    return max(memories.values(), key=lambda memory: memory.facts[-1].learned_at, default=NOTHING)


async def read_memories(connection: Connection, agent: str, input_topic: str, key: str) -> dict[int, Memory]:
    """What an agent remembers of an event key, by the number of the partition that does; the rest as `read_memory`."""
    wanted, held = f"{MEMORY}{input_topic}/{key}".encode(), dict[int, bytes | None]()
    async with aclosing(replay(connection, [connection.topic(topics.state(agent).name)])) as records:
        async for record in records:
            if record.key == wanted:
                held[record.partition] = record.value
    try:
        read = {
            number: Memory.model_validate_json(value) for number, value in held.items() if value is not None
        }
    except ValidationError as error:
        raise StreamError(
            f"the memory of {key!r} in the changelog of {agent} cannot be read by this release; it was written by"
            " another one or by somebody else"
        ) from error
    return {number: memory for number, memory in read.items() if memory.facts}

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
    """What an agent remembers of an event key.

    Args:
        connection: the cluster.
        agent: the agent's name.
        input_topic: full name of the topic that it listens to.
        key: the event key, the subject.

    Raises:
        StreamError: the changelog cannot be read, or holds something else there.
    """
    wanted, value = f"{MEMORY}{input_topic}/{key}".encode(), None
    async with aclosing(replay(connection, [connection.topic(topics.state(agent).name)])) as records:
        async for record in records:
            if record.key == wanted:
                value = record.value
    if value is None:
        return NOTHING
    try:
        return Memory.model_validate_json(value)
    except ValidationError as error:
        raise StreamError(
            f"the memory of {key!r} in the changelog of {agent} cannot be read by this release; it was written by"
            " another one or by somebody else"
        ) from error

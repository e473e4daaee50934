"""A server of chat completions for tests: real HTTP on the loopback interface, with every way to fail, and it counts.

What it answers is said call by call; it keeps what it was asked. It never judges what it was sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import Loopback, read_request

HANG_S = 30.0
"""Longer than any caller waits."""

FLOOD_CHUNK = b" " * 64 * 1024
FLOOD_CHUNKS = 4_096
"""256 MB: far more than a caller may read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        body: its body.
        status: HTTP's.
        headers: further headers.
        delay_s: seconds before the first byte.
        drip_s: seconds before each byte of the body; 0 sends it at once.
        cut_at: the connection ends after so many bytes of the body, though more were announced.
        reset: the connection is reset instead of an answer.
        flood: a body without an end.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    delay_s: float = 0.0
    drip_s: float = 0.0
    cut_at: int | None = None
    reset: bool = False
    flood: bool = False


def completion(content: object, *, finish: str = "stop", **message: object) -> bytes:
    """A body of a chat completion; what is no text is written as JSON."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "mock-1",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": text, **message},
                }
            ],
            "usage": {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050},
        }
    ).encode()


def says(name: str, **parameters: object) -> dict[str, object]:
    """What a model says that proposes this action."""
    return {
        "action": {"name": name, "parameters": parameters},
        "rationale": "The case says so.",
        "confidence": 70,
        "alternatives": [],
    }


@dataclass(frozen=True, slots=True)
class Got:
    """One request as it came."""

    headers: Mapping[str, str]
    sent: dict[str, Any]


class LLMock(Loopback):
    """Serves `POST /v1/chat/completions`."""

    def __init__(self, reply: Callable[[int, Got], Reply]) -> None:
        super().__init__()
        self.reply = reply
        self.got: list[Got] = []

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` is set to."""
        return f"{self.address}/v1"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one call as it is told to."""
        line, headers, sent = await read_request(reader)
        assert line == "POST /v1/chat/completions HTTP/1.1", line
        got = Got(headers, json.loads(sent))
        self.got.append(got)
        reply = self.reply(len(self.got), got)
        await asyncio.sleep(reply.delay_s)
        if reply.reset:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        named = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        size = len(FLOOD_CHUNK) * FLOOD_CHUNKS if reply.flood else len(reply.body)
        writer.write(f"HTTP/1.1 {reply.status} X\r\n{named}Content-Length: {size}\r\n\r\n".encode())
        if reply.flood:
            for _ in range(FLOOD_CHUNKS):
                writer.write(FLOOD_CHUNK)
                await writer.drain()
            return True
        body = reply.body[: reply.cut_at]
        for place in range(0, len(body), 1 if reply.drip_s else max(1, len(body))):
            await asyncio.sleep(reply.drip_s)
            writer.write(body[place : place + 1] if reply.drip_s else body)
            await writer.drain()
        return reply.cut_at is None

"""A model server that takes its time: real HTTP on the loopback interface, the same answer to everybody.

Rules upheld here: it is a process of its own, so that what it takes is nobody else's; it answers all who ask at once.
`python -m benchmarks.slow_model SECONDS` prints its address and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.stage import ROOT, BenchmarkFailedError

HOST: Final = "127.0.0.1"
BACKLOG: Final = 4_096
"""Connections that may wait to be taken: all callers begin at once."""

SAYS: Final = {
    "action": {"name": "request_evidence", "parameters": {"from_party": "seller"}},
    "rationale": "Neither side has handed in anything yet, so the seller is asked first.",
    "confidence": 70,
    "alternatives": ["offer_settlement"],
}
BODY: Final = json.dumps(
    {
        "object": "chat.completion",
        "model": "slow-1",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": json.dumps(SAYS)},
            }
        ],
        "usage": {"prompt_tokens": 1_500, "completion_tokens": 60, "total_tokens": 1_560},
    }
).encode()
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
)


@contextmanager
def slow_model(answer_s: float) -> Iterator[str]:
    """Serve it in a process of its own; the address of its `/v1`.

    Raises:
        BenchmarkFailedError: it did not start.
    """
    command = [sys.executable, "-m", "benchmarks.slow_model", str(answer_s)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        address = child.stdout.readline().strip() if child.stdout else ""
        if not address:
            raise BenchmarkFailedError("the model server did not start")
        try:
            yield address
        finally:
            if child.stdin:
                child.stdin.close()


async def _serve(answer_s: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [
                    line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                ]
                await reader.readexactly(int(lengths[0].partition(b":")[2]))
                await asyncio.sleep(answer_s)
                writer.write(ANSWER)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()  # the caller is done

    server = await asyncio.start_server(answer, HOST, 0, backlog=BACKLOG)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))

"""Ask a Kafka broker over a bare socket whether it serves: no client library, no retries, one bounded wait.

Rules upheld here: a probe sends one request and reads one answer within its time; whatever goes wrong is
"no". Not here: anything that publishes or reads records (kafka.py).

Source: Kafka protocol guide, ApiVersions (key 18, version 0) and Metadata (key 3, version 1), request header
v1.
"""

from __future__ import annotations

import socket
import struct

_API_VERSIONS = 18
_METADATA = 3
_CLIENT_ID = b"jurat-probe"
_MAX_ANSWER_BYTES = 1 << 20  # the answers asked for here take some hundred bytes a broker


def answers(host: str, port: int, *, within_s: float) -> bool:
    """Tell whether something that speaks the Kafka protocol answers at this address.

    Args:
        host: a name or an address.
        port: of the broker's plaintext listener.
        within_s: the longest wait for the connection and for the answer, each.
    """
    answer = _ask(host, port, _API_VERSIONS, 0, b"", within_s=within_s)
    return answer is not None and len(answer) >= 2 and answer[:2] == b"\x00\x00"


def live_brokers(host: str, port: int, *, within_s: float) -> frozenset[int]:
    """The ids of the brokers that this one knows to be in service; empty when it does not answer."""
    no_topics = struct.pack(">i", 0)
    answer = _ask(host, port, _METADATA, 1, no_topics, within_s=within_s)
    if answer is None:
        return frozenset()
    try:
        return _broker_ids(answer)
    except struct.error:
        return frozenset()


def connects(host: str, port: int, *, within_s: float) -> bool:
    """Tell whether a TCP connection can be made: all that can be asked of a broker behind TLS or SASL."""
    try:
        with socket.create_connection((host, port), timeout=within_s):
            return True
    except OSError:
        return False


def _broker_ids(answer: bytes) -> frozenset[int]:
    """Brokers of a Metadata answer v1: [node_id int32, host string, port int32, rack nullable string]."""
    (count,) = struct.unpack_from(">i", answer, 0)
    position, ids = 4, set()
    for _ in range(count):
        node_id, host_length = struct.unpack_from(">ih", answer, position)
        position += 6 + host_length + 4
        (rack_length,) = struct.unpack_from(">h", answer, position)
        position += 2 + max(rack_length, 0)
        ids.add(node_id)
    return frozenset(ids)


def _ask(host: str, port: int, key: int, version: int, body: bytes, *, within_s: float) -> bytes | None:
    """One request and its answer without size and correlation id; None when there is none."""
    request = struct.pack(">hhih", key, version, 1, len(_CLIENT_ID)) + _CLIENT_ID + body
    try:
        with socket.create_connection((host, port), timeout=within_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _exactly(connection, 4))
            if not 4 <= size <= _MAX_ANSWER_BYTES:
                return None
            return _exactly(connection, size)[4:]
    except OSError:
        return None


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise ConnectionError("the other side closed the connection in the middle of an answer")
        parts += part
    return bytes(parts)

"""A witness over HTTP: the server and the client, against each other and against those that behave badly."""

from __future__ import annotations

import asyncio
import errno
import gzip
import io
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from jurat.audit import cosignature, note, tlog_policy
from jurat.audit.note import NoteSignature
from jurat.audit.tlog_policy import Party, TlogPolicy
from jurat.audit.witness import Cosigned
from jurat.audit.witness_store import WitnessStore
from jurat.schemas.errors import ConfigurationError, WitnessConflict, WitnessUnavailable
from jurat.streams import witness_http
from jurat.streams.witness_http import HttpWitness, WitnessServer
from tests.loopback import HOST, Loopback, read_request
from tests.witness_log import NAME, NOW, ORIGIN, WITNESS, MadeLog, witness

KEYS = [cosignature.verifier_of(vkey) for vkey in WITNESS.witness_vkeys(NAME)]


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[str, WitnessStore, aiohttp.ClientSession]]:
    with WitnessStore(folder, witness()) as store:
        server = WitnessServer(witness(), store, clock=lambda: NOW + 0.7)
        async with server.listening(HOST, 0) as port, aiohttp.ClientSession() as session:
            yield f"http://{HOST}:{port}", store, session


def client(session: aiohttp.ClientSession, url: str) -> HttpWitness:
    return HttpWitness(session, name="w1", url=url + "/", keys=KEYS)


async def ask(asked: HttpWitness, log: MadeLog, old: int, size: int) -> tuple[NoteSignature, ...]:
    proof = () if old in (0, size) else log.grow(size).tree.consistency(old, size)
    return await asked.add_checkpoint(old_size=old, proof=proof, signed=log.checkpoint(size))


async def test_client_and_server_agree(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, store, session):
        asked, log = client(session, url), MadeLog()
        assert len(await ask(asked, log, 0, 3)) == 2
        assert len(await ask(asked, log, 3, 9)) == 2
        assert store.seen[ORIGIN].size == 9
        with pytest.raises(WitnessConflict, match="the size 9 last, got the old size 3") as caught:
            await ask(asked, log, 3, 12)
        assert caught.value.size == 9
        assert len(await ask(asked, log, caught.value.size, 12)) == 2
        with pytest.raises(WitnessUnavailable, match="status 404"):
            await ask(asked, MadeLog("another/log"), 0, 3)
    async with served(tmp_path) as (url, store, session):
        assert store.seen[ORIGIN].size == 12
        async with session.get(url + "/livez") as response:
            assert response.status == 200


def forks(folder: Path) -> list[bytes]:
    return [one.read_bytes() for one in folder.glob("*.fork")]


async def test_a_fork_is_refused_and_kept(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, store, session):
        asked, other = client(session, url), MadeLog(salt=b"x")
        await ask(asked, MadeLog(), 0, 5)
        with pytest.raises(WitnessConflict):
            await ask(asked, other, 5, 5)
        with pytest.raises(WitnessUnavailable, match="status 422"):
            await ask(asked, other, 5, 8)
        assert store.seen[ORIGIN].size == 5
    assert forks(tmp_path) == [other.checkpoint(5)]


async def test_answers_have_the_statuses_and_types_of_the_protocol(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, _store, session):

        async def post(body: bytes) -> tuple[int, str, bytes]:
            async with session.post(url + "/add-checkpoint", data=io.BytesIO(body)) as response:
                return response.status, response.content_type, await response.read()

        log = MadeLog()
        status, kind, lines = await post(log.request(0, 3))
        assert (status, kind) == (200, "text/plain")
        assert lines.startswith("\u2014 ".encode())
        assert await post(log.request(0, 3)) == (409, "text/x.tlog.size", b"3\n")
        assert (await post(b"nonsense"))[0] == 400
        assert (await post(MadeLog("other").request(0, 3)))[0] == 404
        assert (await post(MadeLog(salt=b"x").request(3, 8)))[0] == 422
        assert (await post(b"x" * 1_100_000))[0] == 413
        async with session.get(url + "/add-checkpoint") as response:
            assert response.status == 405


async def test_what_cannot_be_written_is_not_cosigned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with served(tmp_path) as (url, store, session):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(WitnessUnavailable, match="status 503"):
                await ask(client(session, url), MadeLog(), 0, 3)
            assert store.seen == {}
        assert len(await ask(client(session, url), MadeLog(), 0, 3)) == 2


async def test_a_clock_that_was_set_back_cosigns_nothing(tmp_path: Path) -> None:
    """A time before the last one would say that this was the largest tree at a moment at which it was not."""
    now = [float(NOW)]
    for asked_at, old, size in ((NOW, 0, 3), (NOW + 5, 3, 4)):
        with WitnessStore(tmp_path, witness()) as store:
            server = WitnessServer(witness(), store, clock=lambda: now[0])
            async with server.listening(HOST, 0) as port, aiohttp.ClientSession() as session:
                asked = client(session, f"http://{HOST}:{port}")
                if old:
                    now[0] = NOW - 1.0
                    with pytest.raises(WitnessUnavailable, match="status 503: 'the clock"):
                        await ask(asked, MadeLog(), old, size)
                now[0] = asked_at
                assert {
                    cosignature.timed(one.signature)[0] for one in await ask(asked, MadeLog(), old, size)
                } == {asked_at}


async def test_requests_that_wait_for_the_disk_count_as_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_http, "MAX_CLIENTS", 1)
    busy, go_on = threading.Event(), threading.Event()
    keep = WitnessStore.keep

    def slow(self: WitnessStore, cosigned: Cosigned) -> None:
        busy.set()
        assert go_on.wait(10)
        keep(self, cosigned)

    monkeypatch.setattr(WitnessStore, "keep", slow)
    async with served(tmp_path) as (url, _store, session):
        first = asyncio.create_task(ask(client(session, url), MadeLog(), 0, 3))
        try:
            assert await asyncio.to_thread(busy.wait, 10)
            with pytest.raises(WitnessUnavailable, match="too many requests"):
                await ask(client(session, url), MadeLog(), 0, 4)
        finally:
            go_on.set()
        assert len(await first) == 2


@pytest.mark.parametrize("unpacked", [b"old 0\n", b"x" * 5_000_000])
async def test_nothing_is_unpacked(tmp_path: Path, unpacked: bytes) -> None:
    body = gzip.compress(unpacked)
    async with served(tmp_path) as (url, _store, session):
        sent = session.post(url + "/add-checkpoint", data=body, headers={"Content-Encoding": "gzip"})
        async with sent as response:
            assert response.status == 400
    named = policy(f"witness w {WITNESS.witness_vkeys(NAME)[0]} {{}}", "quorum w")
    async with Says(http("200 OK", body, "text/plain", "Content-Encoding: gzip")) as server:
        at = replace(named, witnesses={"w": Party(named.witnesses["w"].key, server.address)})
        async with witness_http.witnesses_of(at) as (only,):
            with pytest.raises(WitnessUnavailable, match="other than its cosignatures"):
                await ask(only, MadeLog(), 0, 3)


async def test_of_many_at_once_one_history_comes_out(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, store, session):
        logs = [MadeLog(salt=b"%d" % number) for number in range(10)]
        ends = await asyncio.gather(
            *(ask(client(session, url), log, 0, 3) for log in logs), return_exceptions=True
        )
        signed = [number for number, end in enumerate(ends) if not isinstance(end, BaseException)]
        assert len(signed) == 1
        assert all(isinstance(end, WitnessConflict) for end in ends if isinstance(end, BaseException))
        assert store.seen[ORIGIN].root == logs[signed[0]].tree.root(3)


async def test_a_client_that_stalls_is_let_go_and_more_than_a_bound_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_http, "MAX_CLIENTS", 1)
    monkeypatch.setattr(witness_http, "BODY_S", 0.3)
    async with served(tmp_path) as (url, _store, session):
        reader, writer = await asyncio.open_connection(HOST, int(url.rpartition(":")[2]))
        writer.write(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 10\r\n\r\nold")
        await asyncio.sleep(0.05)
        with pytest.raises(WitnessUnavailable, match="status 503"):
            await ask(client(session, url), MadeLog(), 0, 3)
        assert b" 408 " in await reader.readuntil(b"\r\n")
        writer.close()
        assert len(await ask(client(session, url), MadeLog(), 0, 3)) == 2


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as (url, store, _session):
        second = WitnessServer(witness(), store, clock=lambda: NOW)
        with pytest.raises(ConfigurationError, match="--port"):
            async with second.listening(HOST, int(url.rpartition(":")[2])):
                pass


class Says(Loopback):
    """Answers whatever it was given."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await read_request(reader)
        writer.write(self._answer)
        await writer.drain()
        return False


def http(status: str, body: bytes, kind: str = "text/plain", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode() + body


def lines(log: MadeLog, size: int) -> bytes:
    return witness(log.origin).cosign(log.request(0, size), seen={}, time=NOW).answer()


def above(log: MadeLog, size: int) -> bytes:
    """A line above its signature, so that it holds for another text than the checkpoint."""
    text = note.parse(log.checkpoint(size)).text + "\nmore\n"
    line = note.NoteSignature(
        NAME,
        KEYS[0].key_id,
        NOW.to_bytes(8, "big") + WITNESS.ed25519(NAME).sign(f"cosignature/v1\ntime {NOW}\n{text}".encode()),
    ).line()
    assert note.verify(f"{text}\n{line}".encode(), KEYS)
    return f"more\n\n{line}".encode()


def without_time(log: MadeLog, size: int) -> bytes:
    return witness(log.origin).cosign(log.request(0, size), seen={}, time=0).answer()


def flipped(line: bytes) -> bytes:
    """The same key's signature with another last byte."""
    one = note.parse(b"x\n\n" + line).signatures[0]
    wrong = one.signature[:-1] + bytes([one.signature[-1] ^ 1])
    return note.NoteSignature(one.name, one.key_id, wrong).line().encode()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (http("200 OK", above(MadeLog(), 3)), "lines above the signatures"),
        (http("200 OK", without_time(MadeLog(), 3)), "without a time"),
        (http("200 OK", lines(MadeLog(), 3) + flipped(lines(MadeLog(), 3))), "other than its cosignatures"),
        (http("409 Conflict", b"07\n", "text/x.tlog.size"), "but not which"),
        (http("409 Conflict", b"9223372036854775808\n", "text/x.tlog.size"), "but not which"),
        (b"", "did not answer"),
        (b"not HTTP at all\r\n\r\n", "did not answer"),
        (http("200 OK", b""), "other than its cosignatures"),
        (http("200 OK", "\u2014 w AAAAAAA=\n".encode()), "other than its cosignatures"),
        (http("200 OK", lines(MadeLog(), 4)), "other than its cosignatures"),
        (http("200 OK", b"x" * 200_000), "more than 100000 bytes"),
        (http("302 Found", b"", "text/plain", "Location: http://127.0.0.1:1/"), "status 302"),
        (http("409 Conflict", b"seven\n", "text/x.tlog.size"), "but not which"),
        (http("409 Conflict", b"7\n"), "status 409"),
        (http("500 Oops", b"\x1b[31m trouble"), "status 500"),
    ],
)
async def test_a_witness_that_does_not_answer_as_it_should_is_unavailable(answer: bytes, told: str) -> None:
    async with Says(answer) as server, aiohttp.ClientSession() as session:
        with pytest.raises(WitnessUnavailable, match=told) as caught:
            await ask(client(session, server.address), MadeLog(), 0, 3)
        assert "\x1b" not in str(caught.value)


async def test_a_witness_that_is_silent_or_gone_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Loopback):
        async def answer(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> bool:
            await read_request(reader)
            await asyncio.sleep(60)
            return False

    monkeypatch.setattr(witness_http, "ASK_S", 0.1)
    async with Silent() as server, aiohttp.ClientSession() as session:
        with pytest.raises(WitnessUnavailable, match="did not answer: TimeoutError"):
            await ask(client(session, server.address), MadeLog(), 0, 3)
        gone = server.address
    async with aiohttp.ClientSession() as session:
        with pytest.raises(WitnessUnavailable, match="did not answer"):
            await ask(client(session, gone), MadeLog(), 0, 3)


async def test_cosignatures_of_strangers_are_left_out() -> None:
    stranger = "\u2014 stranger.example AAAAAAAA\n".encode()
    async with (
        Says(http("200 OK", stranger + lines(MadeLog(), 3))) as server,
        aiohttp.ClientSession() as session,
    ):
        got = await ask(client(session, server.address), MadeLog(), 0, 3)
    assert [one.name for one in got] == [NAME, NAME]


@pytest.mark.parametrize("url", ["http://a..b", f"http://{'a' * 300}", "http://a:99999", "http://[::1"])
async def test_a_name_that_no_host_has_is_unavailable(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(WitnessUnavailable, match="did not answer"):
            await ask(client(session, url), MadeLog(), 0, 3)


def policy(*lines: str) -> TlogPolicy:
    return tlog_policy.parse("".join(f"{line}\n" for line in lines).encode())


async def test_the_witnesses_of_a_policy_are_asked_with_all_their_keys(tmp_path: Path) -> None:
    first, second = WITNESS.witness_vkeys(NAME)
    async with served(tmp_path) as (url, _store, _session):
        named = policy(f"witness a {first} {url}", f"witness b {second}", "group w any a b", "quorum w")
        async with witness_http.witnesses_of(named) as (only,):
            assert only.name == NAME
            assert len(await ask(only, MadeLog(), 0, 3)) == 2
    async with witness_http.witnesses_of(policy("quorum none")) as nobody:
        assert nobody == ()


async def test_a_policy_that_cannot_be_met_is_refused() -> None:
    first, second = WITNESS.witness_vkeys(NAME)
    for lines, told in (
        ((f"witness a {first}", "quorum a"), "URLs of no witness, which is less than the quorum a"),
        *(
            ((f"witness a {first} {url}", "quorum a"), "expected http:// or")
            for url in ("a", "//a", "http://", "ftp://a/")
        ),
        ((f"witness a {first} http://a/", f"witness b {second} http://b/", "quorum a"), "two URLs"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            async with witness_http.witnesses_of(policy(*lines)):
                pass

"""Witnesses over HTTP: the server that `jurat witness` runs, and the client that the notary asks with.

Rules upheld here: one request at a time is checked, written down and answered, also when its client has gone; nothing
is answered 200 before it is on the disk, nor with a time before the last one; bodies, answers, clients and waiting are
bounded, and nothing is unpacked; no redirect is followed; what a witness answers counts as far as its known keys signed
this checkpoint. TLS is a proxy's.

Not here: what is checked (`audit/witness.py`), when a witness is asked (the notary).

Specified in `docs/spec/witness.md`. Source: https://c2sp.org/tlog-witness
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import web

from jurat.audit import checkpoint, cosignature, note
from jurat.audit.note import NoteSignature, Verifier
from jurat.audit.tlog_policy import TlogPolicy
from jurat.audit.witness import MAX_REQUEST_BYTES, AddCheckpoint, Witness
from jurat.audit.witness_store import WitnessStore
from jurat.schemas.errors import (
    AuditError,
    ConfigurationError,
    NoteInvalid,
    WitnessConflict,
    WitnessRefused,
    WitnessUnavailable,
)

log = logging.getLogger(__name__)

PATH: Final = "/add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
MAX_CLIENTS: Final = 100
"""Requests in work at once; a witness serves a handful of notaries, each once a second."""

BODY_S: Final = 20.0
"""How long a client may take to send its request: a megabyte at 50 KB/s."""

SYNC_S: Final = 20.0
"""How long requests that are being answered may take when it stops."""

ASK_S: Final = 5.0
"""How long a witness may take to answer: a notary publishes each second, and does not wait for the slow."""

MAX_ANSWER_BYTES: Final = 100_000
"""A witness has few keys, and a signature of the longest kind takes 3.3 KB."""


_URL: Final = re.compile(r"https?://[^/?#]+(/[^?#]*)?")


class WitnessServer:
    """Answers requests for one witness.

    Args:
        witness: what is checked and signed.
        store: what was seen; entered.
        clock: seconds since the Epoch.
    """

    def __init__(self, witness: Witness, store: WitnessStore, *, clock: Callable[[], float]) -> None:
        self._witness = witness
        self._store = store
        self._clock = clock
        self._one = threading.Lock()
        self._clients = 0

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Listen while the context lasts.

        Yields:
            The port; a free one where 0 was given.

        Raises:
            ConfigurationError: the address cannot be had.
        """
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post(PATH, self._add_checkpoint)
        app.router.add_get("/livez", _alive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SYNC_S, auto_decompress=False)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                raise ConfigurationError(
                    f"the witness cannot listen at {host}, port {port}: {error.strerror or error}; choose another with"
                    " --host and --port",
                    host=host,
                    port=port,
                ) from error
            address = runner.addresses[0]
            yield address[1]
        finally:
            await runner.cleanup()

    async def _add_checkpoint(self, request: web.Request) -> web.Response:
        if self._clients >= MAX_CLIENTS:
            return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once")
        self._clients += 1
        try:
            async with asyncio.timeout(BODY_S):
                body = await request.read()
            return await asyncio.to_thread(self._answer, body)
        except TimeoutError:
            return _refuse(HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {BODY_S:.0f} s")
        finally:
            self._clients -= 1

    def _answer(self, body: bytes) -> web.Response:
        with self._one:
            time, told = int(self._clock()), self._store.told
            if time < told:
                log.error(
                    "the clock was set back: now=%d last=%d; nothing is cosigned until then", time, told
                )
                return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the clock is behind what was cosigned last")
            try:
                cosigned = self._witness.cosign(body, seen=self._store.seen, time=time)
                self._store.keep(cosigned)
            except WitnessRefused as error:
                return self._refused(error, body)
            except OSError as error:
                log.error("what was seen cannot be written down, so nothing is cosigned: %s", error)  # noqa: TRY400
                return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "what was seen cannot be written down")
        head = cosigned.head
        log.info("cosigned origin=%s size=%d", head.origin, head.size)
        return web.Response(body=cosigned.answer(), content_type="text/plain", charset="utf-8")

    def _refused(self, error: WitnessRefused, body: bytes) -> web.Response:
        if error.fork:
            try:
                kept = self._store.keep_fork(body.partition(b"\n\n")[2])
            except OSError as why:
                log.error("a fork cannot be written down: %s", why)  # noqa: TRY400
                kept = None
            log.error("a log shows two histories error=%s kept=%s", error, kept)
        if error.size is not None:
            return web.Response(status=error.status, body=b"%d\n" % error.size, content_type=SIZE_TYPE)
        return _refuse(error.status, str(error))


class HttpWitness:
    """A witness that is asked over HTTP.

    Args:
        session: carries the requests; several witnesses may share one.
        name: what it is called here.
        url: its submission prefix.
        keys: its known keys.
    """

    def __init__(
        self, session: aiohttp.ClientSession, *, name: str, url: str, keys: Sequence[Verifier]
    ) -> None:
        self.name = name
        self._session = session
        self._url = url.rstrip("/") + PATH
        self._keys = tuple(keys)

    async def add_checkpoint(
        self, *, old_size: int, proof: Sequence[bytes], signed: bytes
    ) -> tuple[NoteSignature, ...]:
        """Ask it to cosign a checkpoint.

        Args:
            old_size: the size that it cosigned last, as far as is known.
            proof: that the checkpoint goes on from there.
            signed: the checkpoint.

        Returns:
            Cosignatures of its known keys; they are verified.

        Raises:
            WitnessConflict: it cosigned another size last.
            WitnessUnavailable: it did not answer, refused, or answered something else.
        """
        body = AddCheckpoint(old_size, tuple(proof), signed).print()
        try:
            async with (
                asyncio.timeout(ASK_S),
                self._session.post(self._url, data=io.BytesIO(body), allow_redirects=False) as response,
            ):
                status, kind = response.status, response.content_type
                answer = await response.content.read(MAX_ANSWER_BYTES + 1)
                while len(answer) <= MAX_ANSWER_BYTES and (
                    more := await response.content.read(MAX_ANSWER_BYTES + 1)
                ):
                    answer += more
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            UnicodeError,
        ) as error:  # the last of names that are none
            raise WitnessUnavailable(
                f"the witness {self.name} did not answer: {str(error) or type(error).__name__}"
            ) from error
        if len(answer) > MAX_ANSWER_BYTES:
            raise WitnessUnavailable(
                f"the witness {self.name} answered more than {MAX_ANSWER_BYTES} bytes, expected signature lines"
            )
        if status == HTTPStatus.CONFLICT and kind == SIZE_TYPE:
            raise self._conflict(answer, old_size)
        if status != HTTPStatus.OK:
            told = answer[:200].decode(errors="replace").strip()
            raise WitnessUnavailable(f"the witness {self.name} refused with status {status}: {told!r}")
        return self._signatures(answer, signed)

    def _conflict(self, answer: bytes, old_size: int) -> AuditError:
        try:
            size = checkpoint.parse_size(answer.decode("ascii", errors="replace").removesuffix("\n"))
        except NoteInvalid as error:
            return WitnessUnavailable(f"the witness {self.name} told of another size, but not which: {error}")
        return WitnessConflict(
            f"the witness {self.name} cosigned the size {size} last, got the old size {old_size}", size=size
        )

    def _signatures(self, answer: bytes, signed: bytes) -> tuple[NoteSignature, ...]:
        try:
            text = note.parse(signed).text
            whole, _signers = note.verify(text.encode() + b"\n" + answer, self._keys)
            if whole.text != text:
                raise NoteInvalid(
                    "got lines above the signatures, which would be signed in the checkpoint's place"
                )
            known = {(key.name, key.key_id) for key in self._keys}
            lines = {
                (one.name, one.key_id): one for one in whole.signatures if (one.name, one.key_id) in known
            }
            if not all(cosignature.timed(one.signature)[0] for one in lines.values()):
                raise NoteInvalid("got a cosignature without a time")
        except AuditError as error:
            raise WitnessUnavailable(
                f"the witness {self.name} answered with other than its cosignatures: {error}"
            ) from error
        return tuple(lines.values())


@asynccontextmanager
async def witnesses_of(policy: TlogPolicy) -> AsyncIterator[tuple[HttpWitness, ...]]:
    """The witnesses of a policy, to be asked while the context lasts: one for each name of keys, with all its keys.

    Raises:
        ConfigurationError: too few of them have a URL for the policy's quorum, or one has two, or what is none.
    """
    urls: dict[str, str] = {}
    for party in policy.witnesses.values():
        if party.url is not None and not _URL.fullmatch(party.url):
            raise ConfigurationError(
                f"got the URL {party.url[:200]!r} of the witness {party.key.name}, expected http:// or https:// with a"
                " host"
            )
        if party.url is not None and urls.setdefault(party.key.name, party.url) != party.url:
            raise ConfigurationError(
                f"got two URLs for the witness {party.key.name}, expected one: {urls[party.key.name]}, {party.url}"
            )
    asked = frozenset(name for name, party in policy.witnesses.items() if party.key.name in urls)
    if not policy.witnessed(asked):
        raise ConfigurationError(
            f"got URLs of {', '.join(sorted(asked)) or 'no witness'}, which is less than the quorum {policy.quorum};"
            " add a URL to the lines of the others"
        )
    async with aiohttp.ClientSession(
        auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), headers={"Accept-Encoding": "identity"}
    ) as session:
        yield tuple(
            [
                HttpWitness(
                    session,
                    name=name,
                    url=url,
                    keys=[party.key for party in policy.witnesses.values() if party.key.name == name],
                )
                for name, url in urls.items()
            ]
        )


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _refuse(status: int, why: str) -> web.Response:
    return web.Response(status=status, text=f"{why}\n")

"""The wire to a server that speaks OpenAI's chat completions; the one module that imports openai and its HTTP client.

Rules upheld here: one call is one request, never tried again here; it has one time for everything, as the client's own
time-outs start anew with every read; no more than `MAX_BODY_BYTES` are read, and nothing compressed, which could grow
without a bound; no redirect is followed, which could carry the key away; no cookie is kept, so that nothing grows; what
comes back is bytes, whatever the status; the key is in no representation and no message; the headers that go out are
those named here: the client would add what it finds in `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID` and
`OPENAI_CUSTOM_HEADERS`, another key among it, and tell of the machine.

Not here: what the bytes mean (`model_answer.py`), and what a status leads to (`openai_reasoner.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx2
import openai

from jurat.schemas.errors import ConfigurationError, ReasonerUnavailable

MAX_BODY_BYTES: Final = 1024 * 1024
"""A body: a thousand times an answer of ours; servers that echo prompts and probabilities stay below it."""

MAX_CONNECTIONS: Final = 10_000
"""As many as decisions can be in flight (`streams/intake.py`): how many are is the runtime's business."""

CALL_ID: Final = "Idempotency-Key"

MAX_PORT: Final = 65_535
MAX_KEPT: Final = 100
"""Connections that stay open with nothing to do."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back.

    Attributes:
        status: HTTP's.
        body: as it came.
        retry_after: the header, where the server sent one.
        date: likewise; the server's own clock.
    """

    status: int
    body: bytes
    retry_after: str | None
    date: str | None = None


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error where it goes on for too long."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        got = 0
        async for chunk in self._inner:
            got += len(chunk)
            if got > MAX_BODY_BYTES:
                raise httpx2.ReadError(f"got more than {MAX_BODY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedTransport(httpx2.AsyncHTTPTransport):
    def __init__(self, *, limits: httpx2.Limits, key: str) -> None:
        super().__init__(limits=limits)
        self._key = key

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "jurat",
        }
        if (call_id := request.headers.get(CALL_ID)) is not None:
            headers[CALL_ID] = call_id
        # Made anew: the client looks for headers of its own in the one that it made.
        sent = httpx2.Request(
            request.method,
            request.url,
            headers=headers,
            content=await request.aread(),
            extensions=request.extensions,
        )
        response = await super().handle_async_request(sent)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.ReadError("got a compressed body, asked for a plain one")
        # The client decodes the body of an error by the charset that this names: some of Python's raise, and one takes
        # half a minute for a body within our bound. What counts is bytes.
        response.headers.pop("content-type", None)
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Bounded(response.stream)
        return response


class OpenAIClient:
    """Asks one server.

    Args:
        base_url: where it is, up to and with `/v1`.
        api_key: what it knows us by.
        within_s: seconds that one call may take in all.

    Raises:
        ConfigurationError: the address is none, or the key cannot stand in a header.
    """

    def __init__(self, *, base_url: str, api_key: str, within_s: float) -> None:
        if api_key != api_key.strip():  # its refusal would quote the key, at every call
            raise ConfigurationError("got OPENAI_API_KEY with white space around it, expected the key alone")
        try:
            address = httpx2.URL(base_url)
        except httpx2.InvalidURL as error:
            raise ConfigurationError(f"got an OPENAI_BASE_URL that is no address: {error}") from error
        if not address.host or (address.port or 0) > MAX_PORT:
            raise ConfigurationError(
                f"got an OPENAI_BASE_URL of the host {address.host!r} and port {address.port}, expected a host and a"
                f" port of at most {MAX_PORT}"
            )
        limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEPT)
        self._within_s = within_s
        self._client = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            max_retries=0,
            timeout=within_s,
            http_client=httpx2.AsyncClient(
                transport=_BoundedTransport(limits=limits, key=api_key),
                trust_env=False,
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            ),
        )

    async def complete(self, sent: Mapping[str, Any], *, call_id: str) -> Answered:
        """Ask once.

        Args:
            sent: the parameters of a chat completion.
            call_id: goes out as the idempotency key; no header where it is empty.

        Raises:
            ReasonerUnavailable: no whole answer came; it may have been paid for.
        """
        headers = {CALL_ID: call_id or openai.omit}
        create = self._client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self._within_s):
                try:
                    raw = await create(**sent, extra_headers=headers)
                    response = raw.http_response
                except openai.APIStatusError as error:
                    response = error.response
                body = await response.aread()
        except TimeoutError as error:
            raise ReasonerUnavailable(f"the model did not answer within {self._within_s:g} s") from error
        except (
            Exception
        ) as error:  # whatever its layers raise, groups of errors too, is not the input's fault
            cause = error.__cause__ or error
            raise ReasonerUnavailable(f"no whole answer of the model came: {type(cause).__name__}") from error
        headers_got = response.headers
        return Answered(response.status_code, body, headers_got.get("retry-after"), headers_got.get("date"))

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

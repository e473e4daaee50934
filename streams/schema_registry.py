"""A client for a Confluent-compatible Schema Registry: ids of our schemas, registered on first use.

Subjects follow the RecordNameStrategy (one subject per event type), as several types share a topic. Reading knows only
schemas that equal one of this release; an id of another schema is refused by name.

Source: https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final

import httpx

from jurat.schemas import avro, catalogue
from jurat.schemas.errors import ConfigurationError, RegistryUnreachable, StreamError, UnknownSchema
from jurat.schemas.model import Event

TIMEOUT_S: Final = 5.0
MAX_SCHEMA_ID: Final = 2**31 - 1
"""Ids are 32-bit signed integers on the wire and in the registry."""

MAX_UNKNOWN: Final = 1_000
"""Unknown ids remembered, so that a flood of them does not become a flood of requests."""

UNKNOWN_FOR_S: Final = 30.0
"""So long an unknown id stays unknown: a publisher may register its schema a moment after its first event is read."""


class SchemaRegistry:
    """Ids of event schemas, asked once each and kept; that an id is unknown is kept for a while.

    Args:
        url: the registry's http:// or https:// address.
        clock: monotonic seconds.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"got the Schema Registry {url!r}, expected an http:// or https:// address"
            )
        try:
            named = httpx.URL(url).host
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"got a Schema Registry address that cannot be used: {error}") from error
        if not named:
            raise ConfigurationError(f"got the Schema Registry {url!r}, expected an address with a host")
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=TIMEOUT_S)
        self._ids: dict[type[Event], int] = {}
        self._events: dict[int, avro.Written] = {}
        self._clock = clock
        self._unknown: dict[int, tuple[float, str]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def id_of(self, event: type[Event]) -> int:
        """The id of an event's schema; registers it when it is not there yet.

        Raises:
            StreamError: the registry refused or did not answer.
        """
        if event not in self._ids:
            answer = self._ask(
                "POST",
                f"/subjects/{event.event_type()}/versions",
                {"schemaType": "AVRO", "schema": json.dumps(avro.schema_of(event))},
            )
            schema_id = answer.get("id")
            if type(schema_id) is not int or not 0 <= schema_id <= MAX_SCHEMA_ID:
                raise StreamError(
                    f"the Schema Registry at {self._url} registered a schema without giving an id"
                )
            self._ids[event] = schema_id
            self._events[schema_id] = avro.Written(event)
        return self._ids[event]

    def event_of(self, schema_id: int) -> avro.Written:
        """The event type whose schema, the present or an earlier one, has this id.

        Raises:
            UnknownSchema: there is no such id, or it is not a schema of this release.
            StreamError: the registry did not answer.
        """
        self._forget_old()
        if schema_id in self._unknown:
            raise UnknownSchema(self._unknown[schema_id][1])
        if schema_id not in self._events:
            try:
                answer = self._ask("GET", f"/schemas/ids/{schema_id}", None)
                self._events[schema_id] = catalogue.by_fingerprint(
                    avro.fingerprint_of_text(str(answer.get("schema")))
                )
            except UnknownSchema as error:
                if len(self._unknown) < MAX_UNKNOWN:
                    self._unknown[schema_id] = (self._clock(), f"schema id {schema_id}: {error}")
                raise
        return self._events[schema_id]

    def _forget_old(self) -> None:
        # In the order in which they were learned: the oldest is the first.
        now = self._clock()
        while self._unknown:
            oldest = next(iter(self._unknown))
            if now - self._unknown[oldest][0] < UNKNOWN_FOR_S:
                return
            del self._unknown[oldest]

    def _ask(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, object]:
        try:
            response = self._client.request(
                method,
                self._url + path,
                json=body,
                headers={"Accept": "application/vnd.schemaregistry.v1+json"},
            )
        except httpx.HTTPError as error:
            raise RegistryUnreachable(
                f"the Schema Registry at {self._url} did not answer: {error}"
            ) from error
        if response.status_code == httpx.codes.NOT_FOUND:
            raise UnknownSchema(f"the Schema Registry at {self._url} has nothing at {path}")
        if response.is_error:
            raise StreamError(f"the Schema Registry at {self._url} refused {path}: {response.status_code}")
        try:
            answer = response.json()
        except ValueError as error:
            raise StreamError(f"the Schema Registry at {self._url} answered {path} with no JSON") from error
        if not isinstance(answer, dict):
            raise StreamError(
                f"the Schema Registry at {self._url} answered {path} with something else than an object"
            )
        return answer

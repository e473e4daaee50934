"""Which models are asked, from the environment: the reasoner `openai`, put together.

Rules upheld here: what is missing or malformed is said at the start, not at the first event; the key is in no message;
connections are closed when whoever asks is done. The models of `JURAT_MODEL` are asked in turn, each within the limits,
with retries and a circuit breaker: one that fails gives way to the next, and so does one with `?N` whose confidence is
below N. `heuristic` may stand last, or with `?N` before. A server elsewhere that is asked over http:// is warned of.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import random
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from jurat.agents.catalogue import REASONERS
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.model_answer import MILLION, Price
from jurat.agents.model_limits import REQUESTS, TOKENS, Limit, Per
from jurat.agents.reasoner import Reasoner
from jurat.agents.reasoner_circuit import CircuitBroken
from jurat.agents.reasoner_fallback import Fallback
from jurat.agents.reasoner_limited import Limited
from jurat.agents.reasoner_retrying import Retrying
from jurat.agents.reasoner_tiered import Tiered
from jurat.schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from jurat.agents.openai_client import OpenAIClient

log = logging.getLogger(__name__)

BASE_URL: Final = "OPENAI_BASE_URL"
API_KEY: Final = "OPENAI_API_KEY"
MODEL: Final = "JURAT_MODEL"
PRICES: Final = "JURAT_MODEL_PRICES"
LIMITS: Final = "JURAT_MODEL_LIMITS"

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
OPENAI: Final = "openai"
HEURISTIC: Final = "heuristic"

NAMES: Final = (*sorted(REASONERS), OPENAI)
"""The reasoners that a worker can have."""

MAX_MODELS: Final = 4
"""Models in turn: with three tries of a minute each, more would hold up an event for a quarter of an hour."""

_STEP: Final = re.compile(r"(?P<name>[A-Za-z0-9._:/@+-]{1,150})(\?(?P<least>[1-9][0-9]?|100))?")
_LIMIT: Final = re.compile(
    r"(?P<unit>requests|tokens|[A-Z]{3})/(?P<per>min|day)=(?P<amount>[0-9]{1,12}(\.[0-9]{1,6})?)"
)
_PRICE: Final = re.compile(
    r"(?P<model>\S+) (?P<input>\d{1,6}(\.\d{1,6})?) (?P<output>\d{1,6}(\.\d{1,6})?) (?P<currency>[A-Z]{3})"
)
_URL: Final = re.compile(r"https?://[^\s@?#]+")


@asynccontextmanager
async def reasoner(name: str) -> AsyncIterator[Reasoner]:
    """The reasoner of this name, for the length of an `async with` block.

    Raises:
        ConfigurationError: a setting that it needs is missing or malformed.
    """
    if name != OPENAI:
        yield REASONERS[name]()
        return
    settings = Settings.read(os.environ)
    if (host := _readable_way_to(settings.base_url)) is not None:
        log.warning(
            "the key and what prompts hold of events go to host=%s in plain text, and can be read on the way; set %s to"
            " an https:// address, unless nobody else is on that network",
            host,
            BASE_URL,
        )
    # Half a second of imports that other reasoners need not pay.
    from jurat.agents.openai_client import OpenAIClient  # noqa: PLC0415
    from jurat.agents.openai_reasoner import WITHIN_S  # noqa: PLC0415

    client = OpenAIClient(base_url=settings.base_url, api_key=settings.key, within_s=WITHIN_S)
    try:
        yield put_together(settings, client)
    finally:
        await client.close()


class Step(NamedTuple):
    """One model of `JURAT_MODEL`; `least` is the confidence below which the next is asked, None for none."""

    name: str
    least: int | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says; `key` is in no message and no representation."""

    steps: Sequence[Step]
    prices: Mapping[str, Price]
    limits: Sequence[Limit]
    base_url: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read it.

        Raises:
            ConfigurationError: a setting is missing or malformed.
        """
        steps = _steps(environment.get(MODEL, ""))
        prices = _prices(environment.get(PRICES, ""))
        limits = _limits(environment.get(LIMITS, ""))
        for limit in limits:
            unpriced = [
                name
                for name, _least in steps
                if name != HEURISTIC and _priced_in(prices.get(name)) != limit.unit
            ]
            if limit.unit not in (REQUESTS, TOKENS) and unpriced:
                raise ConfigurationError(
                    f"got a limit in {limit.unit} in {LIMITS}, and no price in it of {', '.join(unpriced)}, expected"
                    f" one of each model in {PRICES}"
                )
        key = environment.get(API_KEY, "")
        if not key or not key.isascii() or not key.isprintable():
            raise ConfigurationError(
                f"got {'no' if not key else 'a malformed'} {API_KEY}, expected the key of the model server; where it"
                " takes none, any word"
            )
        base_url = environment.get(BASE_URL) or DEFAULT_BASE_URL
        if not _URL.fullmatch(base_url):
            raise ConfigurationError(
                f"got a malformed {BASE_URL}, expected an address such as {DEFAULT_BASE_URL}, without a user or a query"
            )
        return cls(steps, prices, limits, base_url, key)


def put_together(settings: Settings, client: OpenAIClient) -> Reasoner:
    """The models in turn, from the last to the first."""
    rest: list[Reasoner] = []
    for name, least in reversed(settings.steps):
        one = HeuristicReasoner() if name == HEURISTIC else _model(name, settings, client)
        rest = [one, *rest] if least is None else [Tiered(one, least=least, dear=_in_turn(rest))]
    return _in_turn(rest)


def _readable_way_to(base_url: str) -> str | None:
    """The host, where what is sent to it can be read on the way; None over TLS, and on this machine."""
    address = urlsplit(base_url)
    host = address.hostname or ""
    if address.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return None
    try:
        return None if ipaddress.ip_address(host).is_loopback else host
    except ValueError:  # a name
        return host


def _in_turn(reasoners: Sequence[Reasoner]) -> Reasoner:
    return reasoners[0] if len(reasoners) == 1 else Fallback(*reasoners)


def _model(name: str, settings: Settings, client: OpenAIClient) -> Reasoner:
    from jurat.agents.openai_reasoner import OpenAIReasoner  # noqa: PLC0415 - as above

    asked = OpenAIReasoner(client, model=name, price=settings.prices.get(name))
    limited = Limited(asked, settings.limits) if settings.limits else asked
    retrying = Retrying(limited, sleep=asyncio.sleep, draw=random.random)
    return CircuitBroken(retrying, clock=time.monotonic)


def _priced_in(price: Price | None) -> str | None:
    return price.currency if price else None


def _steps(text: str) -> Sequence[Step]:
    found = [_STEP.fullmatch(part.strip()) for part in text.split(",")]
    steps = [Step(one["name"], int(one["least"]) if one["least"] else None) for one in found if one]
    if (
        len(steps) < len(found)
        or len(steps) > MAX_MODELS
        or all(name == HEURISTIC for name, _least in steps)
        or any(step == Step(HEURISTIC, None) for step in steps[:-1])
        or steps[-1].least is not None
    ):
        raise ConfigurationError(
            f"got {MODEL}={text!r}, expected the names of 1 to {MAX_MODELS} models as the server knows them, in their"
            f" turn, separated by commas; `{HEURISTIC}` may be the last after a model; all but the last may have a"
            f" confidence below which the next has its turn, such as `{HEURISTIC}?60`"
        )
    return steps


def _limits(text: str) -> Sequence[Limit]:
    limits: dict[tuple[str, str], Limit] = {}
    for part in text.split():
        told = _LIMIT.fullmatch(part)
        amount = Decimal(told["amount"]) if told else Decimal(0)
        money = told is not None and told["unit"] not in (REQUESTS, TOKENS)
        if told is None or not amount or (not money and "." in told["amount"]) or told.group(1, 2) in limits:
            raise ConfigurationError(
                f"got {part!r} in {LIMITS}, expected limits separated by spaces, each once and above 0, such as"
                " `requests/min=60 tokens/day=2000000 EUR/day=20.00`"
            )
        limits[told["unit"], told["per"]] = Limit(
            told["unit"], Per(told["per"]), int(amount * MILLION) if money else int(amount)
        )
    return [*limits.values()]


def _prices(text: str) -> Mapping[str, Price]:
    prices: dict[str, Price] = {}
    for part in text.split(",") if text else ():
        told = _PRICE.fullmatch(part.strip())
        if told is None or told["model"] in prices:
            raise ConfigurationError(
                f"got {part.strip()!r} in {PRICES}, expected each model once, with the price of a million tokens in and"
                " out, and the currency, such as `gpt-5-mini 0.25 2 USD`"
            )
        micros = [int(Decimal(told[way]) * MILLION) for way in ("input", "output")]
        prices[told["model"]] = Price(micros[0], micros[1], told["currency"])
    return prices

"""Which models are asked, from the environment: the reasoner `openai`, put together.

Rules upheld here: what is missing or malformed is said at the start, not at the first event; the key is in no message.
The models of `JURAT_MODEL` are asked in turn, each with retries and a circuit breaker; `heuristic` may stand last.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from jurat.agents.catalogue import REASONERS
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.model_answer import MILLION, Price
from jurat.agents.reasoner import Reasoner
from jurat.agents.reasoner_circuit import CircuitBroken
from jurat.agents.reasoner_fallback import Fallback
from jurat.agents.reasoner_retrying import Retrying
from jurat.schemas.errors import ConfigurationError

BASE_URL: Final = "OPENAI_BASE_URL"
API_KEY: Final = "OPENAI_API_KEY"
MODEL: Final = "JURAT_MODEL"
PRICES: Final = "JURAT_MODEL_PRICES"

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
OPENAI: Final = "openai"
HEURISTIC: Final = "heuristic"

NAMES: Final = (*sorted(REASONERS), OPENAI)
"""The reasoners that a worker can have."""

MAX_MODELS: Final = 4
"""Models in turn: with three tries of a minute each, more would hold up an event for a quarter of an hour."""

_MODEL: Final = re.compile(r"[A-Za-z0-9._:/@+-]{1,150}")
_PRICE: Final = re.compile(
    r"(?P<model>\S+) (?P<input>\d{1,6}(\.\d{1,6})?) (?P<output>\d{1,6}(\.\d{1,6})?) (?P<currency>[A-Z]{3})"
)
_URL: Final = re.compile(r"https?://[^\s@?#]+")


def reasoner(name: str) -> Reasoner:
    """The reasoner of this name.

    Raises:
        ConfigurationError: a setting that it needs is missing or malformed.
    """
    return _openai(os.environ) if name == OPENAI else REASONERS[name]()


def _openai(environment: Mapping[str, str]) -> Reasoner:
    models = _models(environment.get(MODEL, ""))
    prices = _prices(environment.get(PRICES, ""))
    key = environment.get(API_KEY, "")
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigurationError(
            f"got {'no' if not key else 'a malformed'} {API_KEY}, expected the key of the model server; where it takes"
            " none, any word"
        )
    base_url = environment.get(BASE_URL) or DEFAULT_BASE_URL
    if not _URL.fullmatch(base_url):
        raise ConfigurationError(
            f"got a malformed {BASE_URL}, expected an address such as {DEFAULT_BASE_URL}, without a user or a query"
        )
    # Half a second of imports that other reasoners need not pay.
    from jurat.agents.openai_client import OpenAIClient  # noqa: PLC0415
    from jurat.agents.openai_reasoner import WITHIN_S, OpenAIReasoner  # noqa: PLC0415

    client = OpenAIClient(base_url=base_url, api_key=key, within_s=WITHIN_S)
    asked: list[Reasoner] = [
        HeuristicReasoner()
        if model == HEURISTIC
        else CircuitBroken(
            Retrying(
                OpenAIReasoner(client, model=model, price=prices.get(model)),
                sleep=asyncio.sleep,
                draw=random.random,
            ),
            clock=time.monotonic,
        )
        for model in models
    ]
    return asked[0] if len(asked) == 1 else Fallback(*asked)


def _models(text: str) -> list[str]:
    models = [part.strip() for part in text.split(",")] if text else []
    whole = all(_MODEL.fullmatch(model) for model in models) and HEURISTIC not in models[:-1]
    if not models or not whole or len(models) > MAX_MODELS or models == [HEURISTIC]:
        raise ConfigurationError(
            f"got {MODEL}={text!r}, expected the names of 1 to {MAX_MODELS} models as the server knows them, the best"
            f" first, separated by commas; `{HEURISTIC}` may be the last after a model"
        )
    return models


def _prices(text: str) -> Mapping[str, Price]:
    prices: dict[str, Price] = {}
    for part in text.split(",") if text else ():
        told = _PRICE.fullmatch(part.strip())
        if told is None:
            raise ConfigurationError(
                f"got {part.strip()!r} in {PRICES}, expected a model, the price of a million tokens in and out, and the"
                " currency, such as `gpt-5-mini 0.25 2 USD`"
            )
        micros = [int(Decimal(told[way]) * MILLION) for way in ("input", "output")]
        prices[told["model"]] = Price(micros[0], micros[1], told["currency"])
    return prices

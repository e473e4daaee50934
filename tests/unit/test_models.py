"""The reasoner `openai` from the environment: what is missing is said at the start, and the key nowhere."""

from __future__ import annotations

import pytest

from jurat import models
from jurat.agents.model_limits import Limit, Per
from jurat.agents.openai_client import OpenAIClient
from jurat.agents.reasoner_circuit import CircuitBroken
from jurat.agents.reasoner_fallback import Fallback
from jurat.agents.reasoner_tiered import Tiered
from jurat.schemas.errors import ConfigurationError

KEY = "sk-a-key-that-nobody-may-see"
WHOLE = {models.MODEL: "large,small,heuristic", models.API_KEY: KEY, models.BASE_URL: "http://127.0.0.1:1/v1"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (models.PRICES, models.LIMITS):
        monkeypatch.delenv(name, raising=False)
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)


async def test_models_are_asked_in_turn() -> None:
    async with models.reasoner("openai") as got:
        assert isinstance(got, Fallback)
        assert got.name == "openai/large"
        assert not got.deterministic


async def test_one_model_needs_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.MODEL, "gpt-5-mini")
    async with models.reasoner("openai") as got:
        assert isinstance(got, CircuitBroken)


async def test_the_unsure_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.MODEL, "heuristic?60, small?80, large, heuristic")
    async with models.reasoner("openai") as got:
        assert isinstance(got, Tiered)
        assert got.name == "openai/large"


async def test_the_others_need_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(models.MODEL)
    async with models.reasoner("heuristic") as got:
        assert got.name == "heuristic"


async def test_connections_are_closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[OpenAIClient] = []

    async def close(client: OpenAIClient) -> None:
        closed.append(client)

    monkeypatch.setattr(OpenAIClient, "close", close)
    async with models.reasoner("openai"):
        assert closed == []
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (models.MODEL, ""),
        (models.MODEL, "heuristic"),
        (models.MODEL, "heuristic,large"),
        (models.MODEL, "a,b,c,d,e"),
        (models.MODEL, "a,,b"),
        (models.MODEL, "a,b?60"),
        (models.MODEL, "a?0,b"),
        (models.MODEL, "a?101,b"),
        (models.MODEL, "heuristic?60,heuristic"),
        (models.LIMITS, "requests/min=0"),
        (models.LIMITS, "requests/hour=5"),
        (models.LIMITS, "requests/min=1.5"),
        (models.LIMITS, "requests/min=5 requests/min=6"),
        (models.LIMITS, "USD/day=20"),
        (models.API_KEY, ""),
        (models.API_KEY, f"{KEY}\n"),
        (models.BASE_URL, "127.0.0.1:1"),
        (models.BASE_URL, "http://user:sk@127.0.0.1/v1"),
        (models.PRICES, "large 2"),
        (models.PRICES, "large -2 3 USD"),
        (models.PRICES, "large 2 3 USD, large 0.2 0.3 USD"),
    ],
)
async def test_what_is_missing_or_malformed_names_its_setting_and_no_key(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        async with models.reasoner("openai"):
            pass
    assert "sk" not in str(caught.value).replace("asked", "")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://10.0.0.7:8000/v1", "10.0.0.7"),
        ("http://vllm.models.svc:8000/v1", "vllm.models.svc"),
        ("http://localhost.example.org/v1", "localhost.example.org"),
        ("http://[2001:db8::1]/v1", "2001:db8::1"),
        ("http://127.0.0.1:8080/v1", None),
        ("http://localhost:8080/v1", None),
        ("http://[::1]:8080/v1", None),
        ("https://10.0.0.7/v1", None),
    ],
)
async def test_a_key_that_goes_elsewhere_in_plain_text_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str, host: str | None
) -> None:
    monkeypatch.setenv(models.BASE_URL, address)
    with caplog.at_level("WARNING", logger="jurat"):
        async with models.reasoner("openai"):
            pass
    told = [record.getMessage() for record in caplog.records]
    assert [f"host={host} in plain text" in one for one in told] == ([] if host is None else [True])
    assert KEY not in caplog.text


def test_limits_are_read() -> None:
    text = "requests/min=60 tokens/day=2000000  EUR/day=20.05"
    prices = {models.PRICES: "large 1 1 EUR, small 1 1 EUR"}
    got = models.Settings.read({**WHOLE, **prices, models.LIMITS: text})
    assert [*got.limits] == [
        Limit("requests", Per.MINUTE, 60),
        Limit("tokens", Per.DAY, 2_000_000),
        Limit("EUR", Per.DAY, 20_050_000),
    ]
    with pytest.raises(ConfigurationError, match="of small, expected one of each model"):
        models.Settings.read({**WHOLE, models.PRICES: "large 1 1 EUR, small 1 1 USD", models.LIMITS: text})


def test_settings_do_not_show_the_key() -> None:
    settings = models.Settings.read(WHOLE)
    assert settings.key == KEY
    assert KEY not in f"{settings!r} {settings}"


def test_prices_are_read_to_the_millionth(monkeypatch: pytest.MonkeyPatch) -> None:
    got = models._prices("large 1.25 10 USD, small 0.000001 2 EUR")
    assert {
        name: (price.input_micros, price.output_micros, price.currency) for name, price in got.items()
    } == {
        "large": (1_250_000, 10_000_000, "USD"),
        "small": (1, 2_000_000, "EUR"),
    }

"""The reasoner `openai` from the environment: what is missing is said at the start, and the key nowhere."""

from __future__ import annotations

import pytest

from jurat import models
from jurat.agents.reasoner_circuit import CircuitBroken
from jurat.agents.reasoner_fallback import Fallback
from jurat.schemas.errors import ConfigurationError

KEY = "sk-a-key-that-nobody-may-see"
WHOLE = {models.MODEL: "large,small,heuristic", models.API_KEY: KEY, models.BASE_URL: "http://127.0.0.1:1/v1"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(models.PRICES, raising=False)
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)


def test_models_are_asked_in_turn() -> None:
    got = models.reasoner("openai")
    assert isinstance(got, Fallback)
    assert got.name == "openai/large"
    assert not got.deterministic


def test_one_model_needs_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.MODEL, "gpt-5-mini")
    assert isinstance(models.reasoner("openai"), CircuitBroken)


def test_the_others_need_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(models.MODEL)
    assert models.reasoner("heuristic").name == "heuristic"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (models.MODEL, ""),
        (models.MODEL, "heuristic"),
        (models.MODEL, "heuristic,large"),
        (models.MODEL, "a,b,c,d,e"),
        (models.MODEL, "a,,b"),
        (models.API_KEY, ""),
        (models.API_KEY, f"{KEY}\n"),
        (models.BASE_URL, "127.0.0.1:1"),
        (models.BASE_URL, "http://user:sk@127.0.0.1/v1"),
        (models.PRICES, "large 2"),
        (models.PRICES, "large -2 3 USD"),
    ],
)
def test_what_is_missing_or_malformed_names_its_setting_and_no_key(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        models.reasoner("openai")
    assert "sk" not in str(caught.value).replace("asked", "")


def test_prices_are_read_to_the_millionth(monkeypatch: pytest.MonkeyPatch) -> None:
    got = models._prices("large 1.25 10 USD, small 0.000001 2 EUR")
    assert {
        name: (price.input_micros, price.output_micros, price.currency) for name, price in got.items()
    } == {
        "large": (1_250_000, 10_000_000, "USD"),
        "small": (1, 2_000_000, "EUR"),
    }

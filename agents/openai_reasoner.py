"""The reasoner that asks a language model over OpenAI's chat completions, whoever serves them.

Rules upheld here: a call is made once (`retrying.py` tries again) and every way in which it can end is one of: a
proposal, a wish for a tool, `ReasonerUnavailable` (may pass), `ProposalInvalid` (an answer, but none to use) or
`ConfigurationError` (the key, the address or the model's name is wrong: the worker ends, the input stays). What the
call took is in the proposal, or as `call` or `spent` in the error's details: a refused setting took nothing.

Not here: the words (`model_prompt.py`), the wire (`openai_client.py`), reading (`model_answer.py`).
"""

from __future__ import annotations

import hashlib
import math
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from jurat.agents import model_calls
from jurat.agents.model_answer import MILLION, Asked, Price, read_answer
from jurat.agents.model_prompt import answer_schema, messages, sent
from jurat.agents.openai_client import Answered
from jurat.agents.reasoner import Proposal, ProposalRequest, Spent, ToolCall
from jurat.schemas import canonical
from jurat.schemas.errors import ConfigurationError, ProposalInvalid, ReasonerUnavailable

MAX_ANSWER_TOKENS: Final = 2_000
"""Tokens of one answer: four times the longest of ours, with room for servers that count reasoning."""

TEMPLATE_TOKENS: Final = 256
"""Tokens that a chat template adds to our two messages: a few dozen, where it does not repeat the schema."""

WITHIN_S: Final = 60.0
"""Seconds for one call: large models take ten to thirty; whoever takes longer holds up an order's next event."""

NOT_SPENT: Final = Spent(calls=0, input_tokens=0, output_tokens=0)
MAYBE_SPENT: Final = Spent(calls=1, input_tokens=0, output_tokens=0)
"""What a call took that got no answer: nobody said."""

_PASSING: Final = frozenset({408, 409, 425, 429})
_SETTINGS: Final = {
    401: "the key is not taken; set OPENAI_API_KEY",
    403: "the key may not use this model; set OPENAI_API_KEY or JURAT_MODEL",
    404: "there is no such model or address; set JURAT_MODEL, or OPENAI_BASE_URL up to and with /v1",
}
_MAX_WAIT_DIGITS: Final = 6


class Completes(Protocol):
    """Who asks a server; `OpenAIClient` does."""

    async def complete(self, sent: canonical.JsonObject, *, call_id: str) -> Answered:
        """Ask once.

        Raises:
            ReasonerUnavailable: no whole answer came.
        """
        ...


class OpenAIReasoner:
    """Proposes what a model says.

    Args:
        client: who asks.
        model: the model's name, as the server knows it.
        price: what its tokens cost; None where it is not known.
    """

    deterministic = False

    def __init__(self, client: Completes, *, model: str, price: Price | None = None) -> None:
        self._client, self._model, self._price = client, model, price

    @property
    def name(self) -> str:
        """`openai/` and the model's name as it is asked for; what the server called it is in each record's call."""
        return f"openai/{self._model}"

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Ask the model, once; nothing is asked where nothing is left to propose."""
        question = self._question(request)
        if question is None:
            return None
        beside, asking = question
        model_calls.check_allowed(self._model)
        prompt = canonical.dumps(asking)
        prompt_sha256 = hashlib.sha256(prompt).hexdigest()
        asked = Asked(self._model, canonical.digest(beside), prompt_sha256, self._price)
        try:
            # One key for one body: another model asked for the same call must not be given this one's answer.
            call_id = f"{request.call_id}/{self._model}" if request.call_id else ""
            answered = await self._client.complete({**beside, "messages": asking}, call_id=call_id)
        except ReasonerUnavailable as error:
            raise ReasonerUnavailable(str(error), spent=MAYBE_SPENT) from error
        if answered.status == 200:
            request.keep(prompt)
            request.keep(answered.body)
            return read_answer(request.agent, asked, answered.body)
        raise _refused(answered, self._model)

    def at_most(self, request: ProposalRequest) -> Spent | None:
        """What one call takes at most; None where nothing would be asked.

        No token is shorter than a byte, and a template adds a few to each message. A server that does not keep to
        `max_completion_tokens` may take more.
        """
        question = self._question(request)
        if question is None:
            return None
        beside, asking = question
        tokens = len(canonical.dumps(beside)) + len(canonical.dumps({"messages": asking})) + TEMPLATE_TOKENS
        price = self._price
        cost = None
        if price is not None:
            cost = math.ceil(
                (tokens * price.input_micros + MAX_ANSWER_TOKENS * price.output_micros) / MILLION
            )
        return Spent(
            calls=1,
            input_tokens=tokens,
            output_tokens=MAX_ANSWER_TOKENS,
            cost_micros=cost,
            currency=price.currency if price else None,
        )

    def _question(
        self, request: ProposalRequest
    ) -> tuple[canonical.JsonObject, list[canonical.JsonValue]] | None:
        """Everything sent beside the messages, and these; None where nothing is left to propose."""
        schema = answer_schema(request)
        if schema is None:
            return None
        settings: canonical.JsonObject = {
            "model": self._model,
            "max_completion_tokens": MAX_ANSWER_TOKENS,
        }
        return sent(request, schema, settings), messages(request)


def _refused(answered: Answered, model: str) -> Exception:
    """What a status that is not 200 means; the body is not quoted, as it may quote the prompt or the key."""
    status = answered.status
    if status in _PASSING or status >= 500:
        return ReasonerUnavailable(
            f"the model's server answered with status {status}, expected 200",
            spent=NOT_SPENT if status == 429 else MAYBE_SPENT,
            retry_after_s=_seconds(answered.retry_after, answered.date),
        )
    if status in _SETTINGS:
        return ConfigurationError(
            f"the server of the model {model!r} answered with status {status}: {_SETTINGS[status]}",
            spent=NOT_SPENT,
        )
    why = "it does not take what was asked; see which response formats it supports"
    if 300 <= status < 400:
        why = "redirects are not followed, as the key would go along; set OPENAI_BASE_URL to where it is"
    return ProposalInvalid(
        f"the server of the model {model!r} answered with status {status}, expected 200: {why}",
        spent=NOT_SPENT if status >= 300 else MAYBE_SPENT,
    )


def _seconds(header: str | None, date: str | None) -> int | None:
    """Retry-After in seconds, None for nonsense; a date counts from the server's own `Date`, as we have no clock.

    Source: RFC 9110, section 10.2.3
    """
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return int(text) if len(text) <= _MAX_WAIT_DIGITS else None
    try:
        waits = parsedate_to_datetime(text) - parsedate_to_datetime(date or "")
    except (TypeError, ValueError, OverflowError):  # one with a zone and one without among them
        return None
    return max(0, round(waits.total_seconds()))

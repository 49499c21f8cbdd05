"""A response while it comes about and when it is over: what it says of itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from msgspec import Raw

from plugins.openai.errors import error_object
from plugins.openai.logprobs import num_bytes
from plugins.responses.echoed_fields import echoed_fields
from plugins.responses.events import Completed, Created, Error, Failed, Incomplete, InProgress, ResponseEvent
from plugins.responses.listed import new_id
from plugins.responses.namespaces import namespaces_of
from plugins.responses.output import Output
from plugins.responses.requests import ResponseBody
from plugins.responses.shapes import Outcome, OutcomeStatus, ResponseUsage
from plugins.responses.translate import style_of
from plugins.submission import Update
from transports.errors import InvalidImage, MlxdError
from transports.messages import Done, Usage

_encode = msgspec.json.Encoder().encode


class Response:
    """One response.

    Args:
        body: What was asked for.
        is_stored: It can be asked for later.
    """

    def __init__(self, body: ResponseBody, *, is_stored: bool) -> None:
        self.id = new_id("resp")
        self._output = Output(style_of(body), namespaces_of(body.tools))
        self._is_begun = False
        # Encoded once: the same in each event that holds the response, and clients send tools of 40 kB.
        self._echoed = _encode(echoed_fields(body, self.id, int(time.time()), is_stored=is_stored))[:-1]
        # JSON; b"" until it is over.
        self.whole = b""
        # About as many as the logprobs in it have.
        self.num_bytes = 0

    @property
    def item_ids(self) -> list[str]:
        """Of what it says."""
        return [item.id for item in self._output.items]

    def take(self, updates: Sequence[Update]) -> list[ResponseEvent]:
        """Add what is new.

        Returns:
            The events that say so, for a stream; the first ones of all tell of the response itself.
        """
        begun = self._begun()
        events: list[ResponseEvent] = []
        self.num_bytes += num_bytes(updates)
        for update in updates:
            events += self._end(update) if isinstance(update, Done) else self._output.take(update)
        return [*begun, *events]

    def failed(self, error: MlxdError) -> list[ResponseEvent]:
        """The last events of a stream that fails: as documented, and so that OpenAI's SDKs raise it."""
        begun = self._begun()
        outcome = self._outcome("failed")
        outcome["error"] = {"code": _openai_code(error), "message": error.message}
        found = error_object(error)
        last = Error(code=found.code, message=found.message, param=found.param, error=found)
        return [*begun, Failed(response=self._snapshot(outcome)), last]

    def _begun(self) -> list[ResponseEvent]:
        if self._is_begun:
            return []
        self._is_begun = True
        snapshot = self._snapshot(self._outcome("in_progress"))
        return [Created(response=snapshot), InProgress(response=snapshot)]

    def _end(self, done: Done) -> list[ResponseEvent]:
        is_cut = done.finish_reason == "length"
        events = self._output.end(is_cut=is_cut)
        outcome = self._outcome("incomplete" if is_cut else "completed")
        outcome["usage"] = _usage(done.usage)
        if is_cut:
            outcome["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            outcome["completed_at"] = int(time.time())
        whole = self._snapshot(outcome)
        self.whole = bytes(whole)
        return [*events, Incomplete(response=whole) if is_cut else Completed(response=whole)]

    def _outcome(self, status: OutcomeStatus) -> Outcome:
        return {
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": self._output.items,
            "usage": None,
        }

    def _snapshot(self, outcome: Outcome) -> Raw:
        return Raw(self._echoed + b"," + _encode(outcome)[1:])


def _openai_code(error: MlxdError) -> str:
    if error.http_status == 429:
        return "rate_limit_exceeded"
    if isinstance(error, InvalidImage):
        return "invalid_image"
    return "server_error" if error.http_status >= 500 else "invalid_prompt"


def _usage(usage: Usage) -> ResponseUsage:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }

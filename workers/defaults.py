"""What a request gets that does not say it, before the engine's own defaults. Knows no engine."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from transports.envelope import Message
from transports.loading import Defaults
from transports.messages import Generate

NO_DEFAULTS = Defaults()

T = TypeVar("T", bound=Message)


def fill_in(body: T, defaults: Defaults) -> T:
    """*body* with the defaults that an administrator gave the model; what it says itself stays.

    They go before the defaults that a frontend's API has.
    """
    if not isinstance(body, Generate) or defaults == NO_DEFAULTS:
        return body
    given = {
        field: getattr(defaults, field)
        for field in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
        if getattr(body.sampling, field) is None
    }
    return msgspec.structs.replace(
        body,
        sampling=msgspec.structs.replace(body.sampling, **given),
        default_max_tokens=defaults.max_tokens or body.default_max_tokens,
    )

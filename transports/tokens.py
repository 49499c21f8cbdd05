"""What a prompt is made of: the item that answers a request which only wants to know that."""

from __future__ import annotations

from transports.envelope import Message, RequestId


class Tokens(Message, tag="tokens", frozen=True, kw_only=True):
    """An item of events: the tokens of a prompt. Followed by Done."""

    id: RequestId
    # Shape (num_tokens,).
    ids: tuple[int, ...]
    # What each stands for; a character may be cut in two.
    pieces: tuple[bytes, ...]

"""Chats of `mlxd stdio`, where their words differ from a worker's; the test plays the kernel."""

from __future__ import annotations

import json
from typing import cast

import pytest
from http_harness import FakeClient, chat_body, fail
from lsp_harness import FakeLink
from msgspec import Raw

from plugins.stdio.connection import Connection
from plugins.stdio.jsonrpc import Request
from plugins.stdio.kernel_link import KernelLink
from plugins.stdio.raw.personality import RawPersonality
from transports.errors import ContextLengthExceeded
from transports.settings import Settings


@pytest.mark.parametrize("sent", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_too_long_is_said_of_the_field_that_was_sent(sent: str) -> None:
    client = FakeClient()
    client.script = fail(ContextLengthExceeded("max_tokens: too many", param="max_tokens"))
    # None: an answer that is not streamed tells nothing on its way.
    connection, link = cast("Connection", None), cast("KernelLink", FakeLink(client))
    content = json.dumps(chat_body(**{sent: 5})).encode()

    with pytest.raises(ContextLengthExceeded, match=f"^{sent}: too many") as caught:
        await RawPersonality(connection, link, Settings()).call(
            Request(Raw(b"1"), 1, "chat.completions.create", Raw(content))
        )
    assert caught.value.param == sent

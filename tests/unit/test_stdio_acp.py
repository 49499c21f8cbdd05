"""ACP: the blocks of a prompt as a model takes them, and what a conversation remembers."""

from __future__ import annotations

import msgspec
import pytest

from plugins.media.picture import Picture, Source
from plugins.stdio.acp.conversation import Conversation, read_blocks
from plugins.stdio.acp.shapes import Audio, Contents, Image, Prompt, Resource, ResourceLink, Text
from transports.errors import RequestError
from transports.messages import ChatMessage, ImagePart, TextPart


def picture(digest: bytes = b"1") -> Picture:
    return Picture(width=1, height=1, digest=digest * 32, pixels=b"rgb")


def test_blocks_become_words_and_pictures_in_their_order() -> None:
    parts = read_blocks(
        [
            Text(text="see "),
            Image(data="AA==", mime_type="image/png"),
            ResourceLink(uri="file:///a", name="a"),
            Resource(resource=Contents(uri="file:///b", text="x = 1")),
        ]
    )

    assert "see " == parts[0]
    assert Source(content="data:image/png;base64,AA==", path="prompt[1].data") == parts[1]
    assert "[a](file:///a)" == parts[2]
    assert "\nfile:///b:\n```\nx = 1\n```\n" == parts[3]


@pytest.mark.parametrize("block", [Audio(), Resource(resource=Contents(uri="file:///b"))])
def test_what_no_model_takes_is_refused_by_its_place(block: Audio | Resource) -> None:
    with pytest.raises(RequestError, match=r"prompt\[1\]"):
        read_blocks([Text(text="x"), block])


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(RequestError, match="at least one block"):
        read_blocks([])


def test_pictures_of_later_turns_are_counted_on() -> None:
    conversation = Conversation("m")
    first = conversation.question(["a", Source(content=b"", path="")], [2])
    conversation.add(first, [picture(b"1"), picture(b"2")], "answer")
    second = conversation.question([Source(content=b"", path=""), "b"], [1])

    assert (TextPart(text="a"), ImagePart(image=0), ImagePart(image=1)) == first.content
    assert (ImagePart(image=2), TextPart(text="b")) == second.content
    assert [first, ChatMessage(role="assistant", content="answer")] == conversation.messages


def test_words_alone_are_a_text() -> None:
    assert "a b" == Conversation("m").question(["a ", "b"], []).content


def test_fields_that_we_do_not_know_are_no_error() -> None:
    """Editors are ahead of us: annotations, _meta, later versions."""
    params = msgspec.json.decode(
        b'{"sessionId":"s","_meta":{},"prompt":[{"type":"text","text":"x","annotations":null,"new":1}]}',
        type=Prompt,
    )

    assert [Text(text="x")] == params.prompt

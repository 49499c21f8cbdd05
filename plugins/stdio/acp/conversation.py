"""A conversation of the ACP personality: its turns and pictures. Knows no connection and no kernel."""

from __future__ import annotations

from collections.abc import Sequence

from plugins.media.picture import Picture, Source
from plugins.stdio.acp.shapes import Audio, Block, Image, Resource, ResourceLink, Text
from transports.errors import RequestError
from transports.messages import ChatMessage, ImagePart, TextPart


class Conversation:
    """What was said so far, and with which model it goes on."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.messages: list[ChatMessage] = []
        # Those that the messages count.
        self.pictures: list[Picture] = []

    def add(self, question: ChatMessage, pictures: Sequence[Picture], answer: str) -> None:
        """Remember a turn; an answer that was stopped counts as far as it came."""
        self.messages += [question, ChatMessage(role="assistant", content=answer)]
        self.pictures += pictures

    def question(self, parts: Sequence[str | Source], num_pictures: Sequence[int]) -> ChatMessage:
        """The next turn.

        Args:
            parts: As `read_blocks` gave them.
            num_pictures: How many came of each source.
        """
        counts = iter(num_pictures)
        first = len(self.pictures)
        content: list[TextPart | ImagePart] = []
        for part in parts:
            if isinstance(part, str):
                content.append(TextPart(text=part))
            else:
                num = next(counts)
                content += [ImagePart(image=image) for image in range(first, first + num)]
                first += num
        if not num_pictures:
            return ChatMessage(role="user", content="".join(part for part in parts if isinstance(part, str)))
        return ChatMessage(role="user", content=tuple(content))


def read_blocks(blocks: Sequence[Block]) -> list[str | Source]:
    """The blocks of a prompt as a model takes them: words, and pictures that are still to be decoded.

    Raises:
        RequestError: Nothing is there, or something that cannot be sent to a model.
    """
    if not blocks:
        raise RequestError("prompt: expected at least one block", param="prompt")
    return [_part(block, f"prompt[{i}]") for i, block in enumerate(blocks)]


def _part(block: Block, path: str) -> str | Source:
    match block:
        case Text():
            return block.text
        case Image():
            return Source(content=f"data:{block.mime_type};base64,{block.data}", path=f"{path}.data")
        case ResourceLink():
            return f"[{block.name or block.uri}]({block.uri})"
        case Resource():
            if block.resource.text is None:
                raise RequestError(f"{path}.resource: expected text", param=f"{path}.resource")
            return f"\n{block.resource.uri}:\n```\n{block.resource.text}\n```\n"
        case Audio():
            raise RequestError(f"{path}: sound is not supported", param=path)

"""The pictures of a chat: looked at by whoever may, decoded, and put with the turns that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plugins.client import KernelClient
from plugins.image_models import ImageModels, KnowsModels
from plugins.media.intake import MediaIntake
from plugins.packing import pack_for
from plugins.turns import Turn, chat_messages
from plugins.validation import aside
from transports.errors import MlxdError
from transports.messages import ChatMessage
from transports.pixels import Packed

# To make one for a worker is as much work as to read so many bytes.
TURN_BYTES = 128


class Pictured(NamedTuple):
    """A chat as a worker takes it."""

    messages: tuple[ChatMessage, ...]
    packed: Packed


async def with_pictures(
    client: KernelClient,
    models: KnowsModels,
    intake: MediaIntake,
    image_models: ImageModels,
    model: str,
    turns: Sequence[Turn],
) -> Pictured:
    """Decode what a chat shows, if its model can look at it.

    Files of the pictures are the caller's until they are submitted.

    Args:
        client: To the kernel that they go to.
        models: Asked for those that may be used.
        intake: Decodes them.
        image_models: What is known of models already.
        model: As the request names it.
        turns: Of the chat.

    Raises:
        RequestError: The model takes no pictures, or one of them cannot be used.
    """
    sources = [source for turn in turns for source in turn.sources]
    if not sources:
        messages = await aside(len(turns) * TURN_BYTES, chat_messages, turns, ())
        return Pictured(messages, Packed((), ()))
    await image_models.check(models, model, sources[0].path)
    found = await intake.pictures(sources)
    pictures = [picture for pictures in found for picture in pictures]
    try:
        packed = pack_for(client, pictures)
    except MlxdError:
        intake.discard(pictures)
        raise
    return Pictured(chat_messages(turns, [len(pictures) for pictures in found]), packed)

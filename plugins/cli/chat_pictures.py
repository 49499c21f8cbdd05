"""Pictures of a conversation in `mlxd chat`: from files, URLs and the clipboard to its next message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from plugins.cli.attachments import as_path, is_url
from plugins.cli.clipboard import ClipboardError, paste_image
from plugins.cli.conversation import CommandError, Conversation
from plugins.cli.pasted import find_files
from plugins.cli.pictures import Named, open_intake, take_in
from plugins.client import KernelClient
from plugins.image_models import check_takes_images
from plugins.media.picture import Picture, Source
from transports.config import resolve

if TYPE_CHECKING:
    from plugins.media.intake import MediaIntake


class ChatPictures:
    """Attaches pictures to a conversation.

    Args:
        client: Where they go.
        conversation: That they are for.
        stack: Left when the conversation ends.
    """

    def __init__(self, client: KernelClient, conversation: Conversation, stack: AsyncExitStack) -> None:
        self._client = client
        self._conversation = conversation
        self._stack = stack
        self._settings = resolve().settings.media
        self._intake: MediaIntake | None = None

    async def command(self, line: str) -> str:
        """Do /image or /paste; what to tell the person.

        Raises:
            CommandError: It was not understood.
            MlxdError: A picture cannot be used, or the model takes none.
        """
        word, _, argument = line.partition(" ")
        if word == "/paste":
            await self._check_model("/paste")
            try:
                content = await asyncio.to_thread(paste_image)
            except ClipboardError as e:
                raise CommandError(str(e)) from None
            return await self._attach([Source(content=content, path="clipboard")])
        return await self.attach(Named(images=_names(argument.strip())))

    async def attach(self, named: Named) -> str:
        """Take in files and URLs for the next message; what to tell the person.

        Raises:
            MlxdError: One of them cannot be used, or the model takes no pictures.
        """
        await self._check_model(named.names[0])
        return await self._attach(await named.sources(self._settings.max_file_bytes))

    async def take_out(self, line: str) -> tuple[str, str]:
        """Attach the pictures whose paths stand in a message.

        Returns:
            What else it says, and what to tell the person.

        Raises:
            MlxdError: One of them cannot be used.
        """
        text, names = find_files(line)
        if not names or not await self._takes_images():
            return line, ""
        return text, await self.attach(Named(images=tuple(names)))

    async def _attach(self, sources: Sequence[Source]) -> str:
        pictures = await take_in(await self._opened(), sources)
        held, limit = len(self._conversation.pictures), self._settings.max_images
        if held + len(pictures) > limit:
            raise CommandError(
                f"a conversation has at most {limit} pictures (media.max_images), this one would have "
                f"{held + len(pictures)}; /clear begins anew"
            )
        self._conversation.attach(pictures)
        names = ", ".join(source.path for source in sources)
        return f"{names}: {_told(pictures)} for the next message."

    async def _opened(self) -> MediaIntake:
        if self._intake is None:
            opened = open_intake(self._client, self._settings, is_kept=True)
            self._intake = await self._stack.enter_async_context(opened)
        return self._intake

    async def _check_model(self, what: str) -> None:
        await check_takes_images(self._client, self._conversation.model, what)

    async def _takes_images(self) -> bool:
        models = await self._client.models()
        return any(info.name == self._conversation.model and "image" in info.modalities for info in models)


def _names(argument: str) -> tuple[str, ...]:
    """The files or the URL that /image is given; a path may be quoted, or have spaces."""
    if not argument:
        raise CommandError("/image needs a file or a URL")
    if is_url(argument) or as_path(argument).exists():
        return (argument,)
    rest, names = find_files(argument)
    if rest:
        raise CommandError(f"{argument}: no such file")
    return tuple(names)


def _told(pictures: Sequence[Picture]) -> str:
    sizes = ", ".join(f"{picture.width}x{picture.height}" for picture in pictures)
    return f"1 picture ({sizes})" if len(pictures) == 1 else f"{len(pictures)} pictures ({sizes})"
